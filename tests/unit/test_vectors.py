"""Vectors: every search equals a brute force in numpy, whatever was deleted or filtered."""

import numpy as np
import pytest
from haystack.dataclasses import Document
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_system.errors import ConfigError, EmbeddingError, MissingDependencyError
from qa_system.stores.embedded.derived import vector_view as vectors_module
from qa_system.stores.embedded.derived import vectors as vector_files
from qa_system.stores.embedded.derived.ann import FEWEST, chosen_kind
from qa_system.stores.embedded.derived.vector_view import VectorView, normalized
from qa_system.stores.faiss import FAISSDocumentStore
from qa_system.ties import tie_breaker

SIMILARITIES = ("dot_product", "cosine", "l2")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Small trainings on a busy machine spend their time in OpenMP's barriers."""
    faiss = pytest.importorskip("faiss")
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(threads)


def brute_force(matrix, query, similarity):
    matrix, query = matrix.astype(np.float64), query.astype(np.float64)
    if similarity == "dot_product":
        return matrix @ query
    if similarity == "l2":
        return -((matrix - query) ** 2).sum(axis=1)
    lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(query)
    return np.where(lengths == 0, 0, (matrix @ query) / np.where(lengths == 0, 1, lengths))


def expect(hits, matrix, query, similarity, allowed, top_k):
    """Hold hits (positions and scores) against the scores of everything allowed."""
    scores = brute_force(matrix, query, similarity)
    assert len(hits) == min(top_k, len(allowed))
    assert len({place for place, _ in hits}) == len(hits)
    assert {place for place, _ in hits} <= set(allowed)
    best = np.sort(scores[allowed])[::-1][: len(hits)]
    np.testing.assert_allclose([score for _, score in hits], best, rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(
        [score for _, score in hits], scores[[place for place, _ in hits]], rtol=2e-5, atol=2e-5
    )


def documents_of(matrix, start=0):
    return [
        Document(id=str(n), meta={"item_id": f"B{n % 5}", "n": n}, embedding=row.tolist())
        for n, row in enumerate(matrix, start)
    ]


@pytest.mark.parametrize("similarity", SIMILARITIES)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_view_is_a_brute_force(similarity, data):
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    count, in_file = data.draw(st.integers(1, 60)), data.draw(st.integers(0, 60))
    dimension, top_k = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 70))
    raw = draw.integers(-3, 4, (count, dimension)).astype(np.float32)
    matrix = normalized(raw) if similarity == "cosine" else raw
    in_file = min(in_file, count)
    view = VectorView(
        store_id="x",
        generation=1,
        space=0,
        epoch=0,
        since=0,
        similarity=similarity,
        rows=np.arange(count) * 3 + 5,
        matrix=matrix[:in_file],
        tail=matrix[in_file:],
        live=draw.random(count) < 0.8,
    )
    queries = draw.integers(-3, 4, (3, dimension)).astype(np.float32)
    live = np.flatnonzero(view.live)
    filtered = live[draw.random(len(live)) < 0.5]
    for allowed_rows, allowed in ((None, live), (view.rows[filtered], filtered)):
        for limit in (0, 4_000):
            gathered, vectors_module.GATHERED = vectors_module.GATHERED, limit
            try:
                found = view.search(queries, top_k, allowed_rows)
            finally:
                vectors_module.GATHERED = gathered
            for query, hits in zip(queries, found, strict=True):
                places = [((row - 5) // 3, score) for row, score, _ in hits]
                expect(places, raw, query, similarity, allowed, top_k)


@pytest.mark.parametrize("similarity", SIMILARITIES)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_row_of_passages_is_as_near_as_its_nearest(similarity, data):
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    counts = np.array(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=20)))
    top_k, in_file = data.draw(st.integers(1, 25)), data.draw(st.integers(0, 100))
    rows = np.arange(len(counts)) * 3 + 5
    raw = draw.integers(-3, 4, (counts.sum(), 4)).astype(np.float32)
    matrix = normalized(raw) if similarity == "cosine" else raw
    is_live = draw.random(len(counts)) < 0.8
    view = VectorView(
        store_id="x",
        generation=1,
        space=0,
        epoch=0,
        since=0,
        similarity=similarity,
        rows=np.repeat(rows, counts),
        matrix=matrix[:in_file],
        tail=matrix[in_file:],
        live=np.repeat(is_live, counts),
    )
    query = draw.integers(-3, 4, 4).astype(np.float32)
    scores = brute_force(raw, query, similarity)
    ends = np.cumsum(counts)
    of_row = [scores[end - count : end] for end, count in zip(ends, counts, strict=True)]
    filtered = is_live & (draw.random(len(counts)) < 0.5)
    for allowed_rows, allowed in ((None, is_live), (rows[filtered], filtered)):
        best = sorted((of_row[place].max() for place in np.flatnonzero(allowed)), reverse=True)
        for limit in (0, 4_000):
            gathered, vectors_module.GATHERED = vectors_module.GATHERED, limit
            try:
                [hits] = view.search(query[None], top_k, allowed_rows)
            finally:
                vectors_module.GATHERED = gathered
            found = [(row - 5) // 3 for row, _, _ in hits]
            assert len(set(found)) == len(found) == min(top_k, allowed.sum())
            assert allowed[found].all()
            assert [score for _, score, _ in hits] == pytest.approx(best[:top_k], abs=2e-5)
            for place, (_, score, passage) in zip(found, hits, strict=True):
                assert of_row[place][passage] == pytest.approx(score, abs=2e-5)


def test_ties_go_by_the_hash_of_the_id(tmp_path):
    with FAISSDocumentStore(tmp_path) as store:
        store.write_documents(documents_of(np.ones((9, 2))))
        best = sorted(map(str, range(9)), key=tie_breaker)[:3]
        assert [hit.id for hit in store.search_by_embedding([1.0, 0.0], 3)] == best


def test_golden_scores(tmp_path):
    """(3, 4) against (6, 8), (0, 5) and (-4, 3), by hand."""
    matrix = np.array([[6.0, 8.0], [0.0, 5.0], [-4.0, 3.0]])
    for similarity, expected in (
        ("dot_product", {"0": 50.0, "1": 20.0, "2": 0.0}),
        ("cosine", {"0": 1.0, "1": 0.8, "2": 0.0}),
        ("l2", {"0": -25.0, "1": -10.0, "2": -50.0}),
    ):
        with FAISSDocumentStore(tmp_path / similarity, similarity=similarity) as store:
            store.write_documents(documents_of(matrix))
            hits = store.search_by_embedding([3.0, 4.0])
            assert {hit.id: round(hit.score, 6) for hit in hits} == expected
            assert [hit.score for hit in hits] == pytest.approx(sorted(expected.values())[::-1])
            assert all(hit.embedding is None for hit in hits)


@pytest.mark.slow
@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("index", ["flat", "hnsw", "ivf_flat", "ivf_pq", "sq8"])
def test_every_index_over_the_life_of_a_store(tmp_path, index, similarity, monkeypatch):
    """Written, deleted, overwritten and filtered: hits are never short, and scored exactly."""
    monkeypatch.setitem(FEWEST, "ivf_pq", 1_000)
    monkeypatch.setattr(vectors_module, "GATHERED", 100)
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((30, 16)) * 3
    matrix = (centres[draw.integers(0, 30, 4_000)] + draw.standard_normal((4_000, 16))).astype("f4")
    with FAISSDocumentStore(tmp_path, similarity=similarity, index=index) as store:
        store.write_documents(documents_of(matrix[:3_000]))
        store.build_index()
        assert (tmp_path / "ann.faiss").exists() == (index != "flat")
        store.write_documents(documents_of(matrix[3_000:], 3_000))
        gone = draw.choice(4_000, 900, replace=False)
        store.delete_documents([str(n) for n in gone])
        live = np.setdiff1d(np.arange(4_000), gone)
        recalls = []
        for query in matrix[draw.choice(4_000, 20)]:
            for filters, allowed in (
                (None, live),
                ({"field": "meta.n", "operator": ">=", "value": 500}, live[live >= 500]),
                ({"field": "meta.item_id", "operator": "==", "value": "B2"}, live[live % 5 == 2]),
                ({"field": "meta.n", "operator": "<", "value": 7}, live[live < 7]),
            ):
                hits = store.search_by_embedding(query, 10, filters)
                found = [(int(hit.id), hit.score) for hit in hits]
                assert len(found) == min(10, len(allowed))
                assert {place for place, _ in found} <= set(allowed)
                scores = brute_force(matrix, query, similarity)
                np.testing.assert_allclose(
                    [score for _, score in found],
                    scores[[n for n, _ in found]],
                    rtol=2e-4,
                    atol=2e-4,
                )
                best = set(allowed[np.argsort(-scores[allowed])[:10]])
                recalls.append(len(best & {place for place, _ in found}) / len(best))
                if index == "flat" or (filters and filters["field"] == "meta.item_id"):
                    expect(found, matrix, query, similarity, allowed, 10)
        assert np.mean(recalls) > 0.95
        everything = store.search_by_embedding(matrix[5], top_k=10_000)
        assert len(everything) == len(live)
        assert store.verify() == []


def test_deleted_rows_are_compacted_away(tmp_path, monkeypatch):
    monkeypatch.setattr(vector_files, "FEWEST_DEAD", 10)
    draw = np.random.default_rng(0)
    matrix = draw.standard_normal((400, 4)).astype("f4")
    with FAISSDocumentStore(tmp_path) as store:
        store.write_documents(documents_of(matrix))
        store.search_by_embedding(matrix[0])
        with FAISSDocumentStore(tmp_path) as reader:
            assert len(reader.search_by_embedding(matrix[0], 400)) == 400
            store.delete_documents([str(n) for n in range(300)])
            assert len(store.search_by_embedding(matrix[0], 400)) == 100
            store.verify()
            assert len(reader.search_by_embedding(matrix[0], 400)) == 100
        store.close()
        assert [path.name for path in tmp_path.glob("*.f32")] == ["vectors-0-1.f32"]
        assert (tmp_path / "vectors-0-1.f32").stat().st_size == 100 * 4 * 4
        assert store.verify() == []


@pytest.mark.parametrize("damage", ["missing", "truncated", "stamp", "older", "all"])
def test_damaged_files_are_built_anew(tmp_path, damage, caplog):
    draw = np.random.default_rng(0)
    matrix = draw.standard_normal((50, 4)).astype("f4")
    with FAISSDocumentStore(tmp_path) as store:
        store.write_documents(documents_of(matrix[:30]))
        store.search_by_embedding(matrix[0])
        store.close()
        older = {path.name: path.read_bytes() for path in tmp_path.glob("vectors-*")}
        store.write_documents(documents_of(matrix[30:], 30))
    vectors_path = tmp_path / "vectors-0-0.f32"
    if damage == "missing":
        vectors_path.unlink()
    elif damage == "truncated":
        vectors_path.write_bytes(vectors_path.read_bytes()[:100])
    elif damage == "stamp":
        (tmp_path / "vectors-0.json").write_bytes(b"{")
    elif damage == "older":
        for name, held in older.items():
            (tmp_path / name).write_bytes(held)
    else:
        for path in tmp_path.glob("vectors-*"):
            path.unlink()
    with FAISSDocumentStore(tmp_path) as store:
        assert len(store.search_by_embedding(matrix[0], 50)) == 50
        assert store.verify() == []
    assert ("built anew" in caplog.text) == (damage in ("missing", "truncated", "stamp"))


def test_verify_tells_of_changed_numbers(tmp_path):
    with FAISSDocumentStore(tmp_path) as store:
        store.write_documents(documents_of(np.eye(4)))
    path = tmp_path / "vectors-0-0.f32"
    path.write_bytes(b"\x01" * 4 + path.read_bytes()[4:])
    with FAISSDocumentStore(tmp_path) as store:
        assert store.verify() == ["the vector files hold other numbers than the ledger in 1 row"]


def test_a_wrong_query_is_refused(tmp_path):
    with FAISSDocumentStore(tmp_path) as store:
        assert store.search_by_embedding([1.0, 2.0]) == []
        store.write_documents(documents_of(np.eye(3)))
        for wrong in ([1.0, 2.0], [1.0, float("nan"), 0.0], ["a", "b", "c"], [[1.0, 2.0, 3.0]] * 2):
            with pytest.raises(EmbeddingError):
                store.search_by_embedding(wrong)
        assert [len(hits) for hits in store.search_by_embeddings(np.eye(3), 2)] == [2, 2, 2]


def test_a_gpu_that_is_not_there(tmp_path):
    faiss = pytest.importorskip("faiss")
    if getattr(faiss, "get_num_gpus", lambda: 0)():
        pytest.skip("there is a GPU")
    with FAISSDocumentStore(tmp_path, gpu=True) as store:
        store.write_documents(documents_of(np.eye(3)))
        with pytest.raises(MissingDependencyError, match="gpu: false"):
            store.search_by_embedding([1.0, 0.0, 0.0])


def test_settings_that_do_not_exist(tmp_path):
    with pytest.raises(ConfigError, match="ivf_flat"):
        FAISSDocumentStore(tmp_path, index="ivf")
    with pytest.raises(ConfigError, match="cosine"):
        FAISSDocumentStore(tmp_path, similarity="cos")
    assert chosen_kind("auto", 199_999) == "flat"
    assert chosen_kind("auto", 200_000) == "ivf_flat"
