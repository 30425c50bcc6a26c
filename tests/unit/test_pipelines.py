from pathlib import Path
from typing import Any

import pytest
from haystack import Document, Pipeline

from qa_system import pipelines
from qa_system.config import EncoderSettings, Settings, load_settings
from qa_system.errors import EncoderMismatchError, ModelError
from qa_system.models.locate import locate
from qa_system.records import EncoderIdentity
from qa_system.retrievers.bm25 import BM25Retriever
from qa_system.retrievers.dense import DenseRetriever
from qa_system.retrievers.encoders import load_encoder
from qa_system.retrievers.normalize import ScoreNormalizer
from qa_system.retrievers.sentences import SentenceRetriever
from qa_system.stores.faiss import FAISSDocumentStore

REVIEWS = {
    "r1": ("lamp", "The light is warm and bright enough for reading in bed."),
    "r2": ("lamp", "Stopped working after a week. Returned it."),
    "r3": ("lamp", "Arrived quickly, nicely packed."),
    "r4": ("tent", "Bright orange; you will be seen. Reading inside is pleasant."),
}
LAMP = {"field": "meta.item_id", "operator": "==", "value": "lamp"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FAISSDocumentStore:
    encoder = load_encoder(EncoderSettings())
    store = FAISSDocumentStore(tmp_path_factory.mktemp("store"))
    store.bind_encoder(encoder.identity)
    vectors = encoder.encode_passages([text for _, text in REVIEWS.values()])
    store.write_documents(
        [
            Document(
                id=review_id,
                content=text,
                meta={"item_id": item, "review_id": review_id},
                embedding=vector.tolist(),
            )
            for (review_id, (item, text)), vector in zip(REVIEWS.items(), vectors, strict=True)
        ]
    )
    return store


def settings_for(mode: str, join: str = "reciprocal_rank_fusion") -> Settings:
    return load_settings(
        None, {"retriever.mode": mode, "retriever.join": join, "retriever.top_k": 3}, environ={}
    )


def shape(pipeline: Pipeline) -> dict[str, Any]:
    """What a pipeline is, whatever the order in which its connections were made."""
    data = pipeline.to_dict()
    data["connections"].sort(key=str)
    return data


def ask(pipeline: Pipeline, query: str) -> list[Document]:
    return pipeline.run({"query": query, "filters": LAMP})["retriever"]["documents"]


@pytest.mark.parametrize(
    ("mode", "join"),
    [
        ("bm25", "reciprocal_rank_fusion"),
        ("dense", "reciprocal_rank_fusion"),
        ("hybrid", "reciprocal_rank_fusion"),
        ("hybrid", "weighted_sum"),
    ],
)
def test_retrieval_finds_the_review_within_the_item(
    store: FAISSDocumentStore, mode: str, join: str
) -> None:
    pipeline = pipelines.retrieve(store, settings_for(mode, join))
    documents = ask(pipeline, "Is it bright enough to read?")
    assert documents[0].id == "r1"
    assert {document.id for document in documents} == {"r1", "r2", "r3"}
    scores = [document.score for document in documents]
    assert scores == sorted(scores, reverse=True)

    reloaded = pipelines.load(pipeline.dumps())
    assert shape(reloaded) == shape(pipeline)
    again = ask(reloaded, "Is it bright enough to read?")
    assert [(d.id, d.score) for d in again] == [(d.id, d.score) for d in documents]


def test_the_extract_pipeline_answers_and_round_trips(store: FAISSDocumentStore) -> None:
    pipeline = pipelines.extract(store, settings_for("hybrid"))
    inputs = {"query": "Is it bright enough for reading?", "filters": LAMP}
    result = pipeline.run(inputs)["reader"]
    assert 0 <= result["no_answer_probability"] <= 1
    reloaded = pipelines.load(pipeline.dumps())
    assert shape(reloaded) == shape(pipeline)
    again = reloaded.run(inputs)["reader"]
    assert [a.data for a in again["answers"]] == [a.data for a in result["answers"]]


async def test_pipelines_run_asynchronously(store: FAISSDocumentStore) -> None:
    pipeline = pipelines.retrieve(store, settings_for("hybrid"))
    result = await pipeline.run_async({"query": "Is it bright?", "filters": LAMP})
    assert len(result["retriever"]["documents"]) == 3


def test_weighted_sum_weighs() -> None:
    """The join is bm25_weight x BM25 + (1 - bm25_weight) x dense, both on 0 to 1."""
    settings = load_settings(
        None, {"retriever.join": "weighted_sum", "retriever.bm25_weight": 0.25}, environ={}
    )
    pipeline = pipelines.retrieve(FAISSDocumentStore("unused"), settings)
    found = {
        "bm25": [("a", 8.0), ("c", 5.0), ("b", 4.0)],
        "dense": [("b", 0.9), ("a", 0.6), ("c", 0.4)],
    }
    rankings = {
        name: [Document(id=id_, content="", score=score) for id_, score in ranking]
        for name, ranking in found.items()
    }
    joined = pipeline.get_component("retriever").run(**rankings)["documents"]
    assert {document.id: document.score for document in joined} == {
        "b": pytest.approx(0.25 * 0 + 0.75 * 1),
        "a": pytest.approx(0.25 * 1 + 0.75 * 0.4),
        "c": pytest.approx(0.25 * 0.25 + 0.75 * 0),
    }


def test_equal_scores_normalise_to_zero() -> None:
    documents = [Document(id=name, content="", score=2.0) for name in "ab"]
    assert [d.score for d in ScoreNormalizer().run(documents)["documents"]] == [0.0, 0.0]
    assert ScoreNormalizer().run([])["documents"] == []


def test_components_serialise_every_argument(store: FAISSDocumentStore) -> None:
    for component in (
        BM25Retriever(store, top_k=7, filters=LAMP),
        DenseRetriever(store, {"model": "bundled:encoder", "threads": 1}, top_k=7, filters=LAMP),
        SentenceRetriever(store, top_k=7, bm25_weight=0.25, relevant=0.4, filters=LAMP),
    ):
        data = component.to_dict()
        again = type(component).from_dict(component.to_dict())
        assert again.to_dict() == data
        assert data["init_parameters"]["top_k"] == 7
        assert data["init_parameters"]["filters"] == LAMP


def test_run_arguments_take_the_place_of_the_components(store: FAISSDocumentStore) -> None:
    kinds = (BM25Retriever, DenseRetriever, SentenceRetriever)
    for component in (kind(store, filters=LAMP) for kind in kinds):
        tent = {"field": "meta.item_id", "operator": "==", "value": "tent"}
        assert [d.id for d in component.run("bright?", filters=tent)["documents"]] == ["r4"]
        assert len(component.run("bright?", top_k=2)["documents"]) == 2


def test_another_question_encoder_than_the_stores_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from architectures import save_dpr

    passages, questions = map(str, save_dpr(tmp_path / "one"))
    others = str(save_dpr(tmp_path / "two", seed=4)[1])
    pair = {"model": passages, "question_model": questions}
    encoder = load_encoder(EncoderSettings(**pair))
    text = "It lasts two days."
    with FAISSDocumentStore(tmp_path / "store") as store:
        store.bind_encoder(encoder.identity)
        vector = encoder.encode_passages([text])[0].tolist()
        store.write_documents([Document(id="r1", content=text, embedding=vector)])
        assert DenseRetriever(store, pair).run("How long?")["documents"]
        wrong = DenseRetriever(store, pair | {"question_model": others})
        with pytest.raises(EncoderMismatchError, match="takes questions by") as caught:
            wrong.warm_up()
        assert f"--encoder-model {passages} --encoder-question-model {others}" in str(caught.value)
        with pytest.raises(ModelError, match=r"encoder\.question_model"):
            DenseRetriever(store, {"model": passages}).run("How long?")


def test_retrievers_of_one_encoder_have_it_once_in_memory(
    store: FAISSDocumentStore, tmp_path: Path
) -> None:
    import gc
    import shutil
    import weakref

    moved = shutil.copytree(locate("bundled:encoder").path, tmp_path / "moved")
    one, two = (DenseRetriever(store, {"model": str(moved)}) for _ in range(2))
    assert one._encoder.get() is two._encoder.get()
    assert (
        one._encoder.get() is not DenseRetriever(store, {"model": "bundled:encoder"})._encoder.get()
    )
    held = weakref.ref(one._encoder.get())
    (moved / "new.json").write_text("{}")
    with pytest.raises(EncoderMismatchError):
        DenseRetriever(store, {"model": str(moved)}).warm_up()
    del one, two
    gc.collect()
    assert held() is None, "nobody uses it any more"


def test_another_encoder_than_the_stores_is_refused(tmp_path: Path) -> None:
    with FAISSDocumentStore(tmp_path / "store") as other:
        other.bind_encoder(EncoderIdentity("some/other", 384, "dot_product", "0" * 64))
        retriever = DenseRetriever(other)
        with pytest.raises(EncoderMismatchError, match="some/other") as caught:
            retriever.warm_up()
    assert "bundled:encoder" in str(caught.value)
    assert "qa-index reembed" in str(caught.value)
