"""Nearest labels: FAISS against a brute force scan and scikit-learn, ties, choices, files."""

import json

import numpy as np
import pytest
from haystack import Pipeline
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from qa_system.errors import DataError, EmptyQuestionError, ModelError
from qa_system.nearest import NearestLabels
from qa_system.nearest.examples import ANSWER, Example, examples_of
from qa_system.nearest.fitting import fit
from qa_system.nearest.kept import load, save
from qa_system.nearest.search import Nearest, unit_vectors
from qa_system.nearest.votes import Chosen, Neighbour, choose, votes_of
from qa_system.records import Label

ASKED = [
    Example("Is it loud?", ("noise",)),
    Example("Does the motor make much noise?", ("noise",)),
    Example("How heavy is it?", ("weight",)),
    Example("What does it weigh?", ("weight",)),
]


def scan(vectors, sought, k):
    """The oracle: every similarity, rounded; equal ones by their rows."""
    scores = (vectors.astype(np.float64) @ unit_vectors(sought).astype(np.float64).T).round(6)
    return [np.lexsort((np.arange(len(vectors)), -column))[:k] for column in scores.T]


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(1, 120),
    distinct=st.integers(1, 40),
    k=st.integers(1, 60),
)
def test_the_nearest_are_those_of_a_scan_whatever_is_equal(seed, rows, distinct, k):
    random = np.random.default_rng(seed)
    kinds = unit_vectors(random.normal(size=(distinct, 8)).astype(np.float32))
    vectors = kinds[random.integers(0, distinct, rows)]
    sought = random.normal(size=(3, 8)).astype(np.float32)
    found, similarities = Nearest(vectors).search(sought, k)
    for own, right in zip(found, scan(vectors, sought, k), strict=True):
        assert own.tolist() == right.tolist()
    for own, one in zip(found, similarities, strict=True):
        assert len(one) == len(own) == min(k, rows)
        assert (np.diff(one) <= 0).all()


def test_a_search_among_some_is_a_search_of_those():
    random = np.random.default_rng(3)
    vectors = unit_vectors(random.normal(size=(90, 8)).astype(np.float32))
    sought = random.normal(size=(4, 8)).astype(np.float32)
    groups = [("a", "b", "c")[row % 3] for row in range(90)]
    about = ["b", None, "c", "nobody"]
    found, _ = Nearest(vectors, groups).search(sought, 40, about)
    of_b = np.arange(1, 90, 3)
    assert found[0].tolist() == of_b[scan(vectors[of_b], sought[:1], 40)[0]].tolist()
    assert found[1].tolist() == scan(vectors, sought[1:2], 40)[0].tolist()
    assert len(found[2]) == 30
    assert found[3].tolist() == []


@pytest.mark.parametrize("k", [1, 5, 13])
def test_neighbours_and_labels_are_those_of_scikit_learn(k):
    random = np.random.default_rng(k)
    vectors = unit_vectors(random.normal(size=(200, 16)).astype(np.float32))
    labels = [f"label {each}" for each in random.integers(0, 5, 200)]
    sought = unit_vectors(random.normal(size=(50, 16)).astype(np.float32))
    found, similarities = Nearest(vectors).search(sought, k)
    distances, rows = (
        NearestNeighbors(n_neighbors=k, metric="cosine").fit(vectors).kneighbors(sought)
    )
    # Its distances are of float32: what is equal to six digits stands in any order.
    assert [set(own.tolist()) for own in found] == [set(own.tolist()) for own in rows]
    np.testing.assert_allclose(np.array(similarities), 1 - distances, atol=2e-6)

    def positive(distances):
        return np.maximum(1 - distances, 0)

    oracle = KNeighborsClassifier(k, metric="cosine", weights=positive).fit(vectors, labels)
    for own, alike, right, shares in zip(
        found, similarities, oracle.predict(sought), oracle.predict_proba(sought), strict=True
    ):
        near = [Neighbour(0, "", (labels[row],), one) for row, one in zip(own, alike, strict=True)]
        votes = votes_of(near, k)
        if votes[0].score > 0:
            assert votes[0].label == right
            total = sum(vote.score for vote in votes)
            assert votes[0].score / total == pytest.approx(shares.max(), abs=1e-4)


def test_votes_are_counted_by_hand_and_equal_ones_go_to_the_nearest():
    near = [
        Neighbour(4, "", ("b",), 0.8),
        Neighbour(1, "", ("a", "c"), 0.5),
        Neighbour(2, "", ("a",), 0.3),
        Neighbour(3, "", ("d",), -0.2),
    ]
    found = [(vote.label, vote.score) for vote in votes_of(near, 4)]
    assert found == [("b", 0.2), ("a", 0.2), ("c", 0.125), ("d", 0.0)]


def test_k_and_the_threshold_are_those_with_the_highest_f1():
    """Of one neighbour both are wrong; of three, two right and one wrong, which is less sure."""
    near = [
        [Neighbour(0, "", (name,), s) for name, s in (("x", 0.9), ("a", 0.8), ("a", 0.7))],
        [Neighbour(0, "", (name,), s) for name, s in (("x", 0.9), ("b", 0.9), ("b", 0.9))],
        [Neighbour(0, "", (name,), s) for name, s in (("x", 0.6), ("y", 0.3), ("z", 0.1))],
    ]
    gold = [["a"], ["b"], []]
    found = choose(near, gold, single=True, is_right=lambda label, own: label in own)
    assert found == Chosen(k=3, threshold=0.5, micro_f1=1.0, questions=3)


def test_what_is_saved_is_loaded_and_what_is_changed_is_refused(tmp_path):
    labelled = fit(ASKED, [Example("Is the fan noisy?", ("noise",))], "aspect")
    save(labelled, tmp_path)
    again = load(tmp_path)
    assert again.examples == labelled.examples
    assert again.chosen == labelled.chosen
    assert again.vectors.tobytes() == labelled.vectors.tobytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "nearest.json",
        "vectors.safetensors",
    ]

    tree = json.loads((tmp_path / "nearest.json").read_bytes())
    kept = (tmp_path / "vectors.safetensors").read_bytes()
    (tmp_path / "vectors.safetensors").write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"vectors\.safetensors is not the file that was written"):
        load(tmp_path)
    (tmp_path / "vectors.safetensors").write_bytes(kept)
    tree["rows"][0]["labels"] = ["weight"]
    (tmp_path / "nearest.json").write_text(json.dumps(tree))
    with pytest.raises(ModelError, match=r"the rows of nearest\.json were changed"):
        load(tmp_path)
    (tmp_path / "nearest.json").unlink()
    with pytest.raises(ModelError, match="qa train nearest"):
        load(tmp_path)


def test_the_component_labels_questions_in_a_pipeline(tmp_path):
    save(fit(ASKED, [], "aspect"), tmp_path / "nearest")
    pipeline = Pipeline()
    pipeline.add_component("nearest", NearestLabels(str(tmp_path / "nearest")))
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["qa_system.*"])
    found = again.run({"nearest": {"query": "How much does it weigh?"}})["nearest"]
    assert [vote.label for vote in found["labels"]] == ["weight"]
    assert found["neighbours"][0].text == "What does it weigh?"
    with pytest.raises(EmptyQuestionError):
        again.get_component("nearest").run("?!")


def test_an_encoder_that_is_another_now_is_refused(tmp_path):
    save(fit(ASKED, [], "aspect"), tmp_path)
    tree = json.loads((tmp_path / "nearest.json").read_bytes())
    tree["encoder"]["hash"] = "0" * 64
    (tmp_path / "nearest.json").write_text(json.dumps(tree))
    with pytest.raises(ModelError, match="is not the one that embedded"):
        NearestLabels(str(tmp_path)).warm_up()


def test_an_answer_is_one_about_the_same_item(tmp_path):
    answers = [
        Example("Is it loud?", ("very loud",), "fan"),
        Example("Is it loud?", ("hardly a sound",), "lamp"),
    ]
    save(fit(answers, [], ANSWER), tmp_path)
    nearest = NearestLabels(str(tmp_path))
    said = nearest.predict(["Is it noisy?"] * 3, ["lamp", "fan", "mug"])
    assert [[vote.label for vote in each.labels] for each in said] == [
        ["hardly a sound"],
        ["very loud"],
        [],
    ]


def test_labels_come_from_a_field_or_from_the_answers():
    label = Label("q", "Is it loud?", "fan", "r", "It hums.", (), meta={"tags": ["a", "b", "a"]})
    assert examples_of([label], "tags") == [Example("Is it loud?", ("a", "b"))]
    assert examples_of([label], ANSWER) == [Example("Is it loud?", (), "fan")]
    with pytest.raises(DataError, match="Fields there: answer, tags"):
        examples_of([label], "tag")
    with pytest.raises(DataError, match="no question has a label"):
        fit([Example("Is it loud?", ())], [], "tags")
