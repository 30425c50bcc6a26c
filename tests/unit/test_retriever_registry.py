"""Retrievers by name: ours, registered ones, and those of an installed package."""

from typing import Any

import pytest
from haystack import Document, Pipeline, component

from qa_system import pipelines
from qa_system.config import load_settings
from qa_system.errors import ConfigError
from qa_system.retrievers import registry
from qa_system.retrievers.registry import RetrieverMode, mode_of, modes, register
from qa_system.stores.faiss import FAISSDocumentStore


@component
class Newest:
    def __init__(self, store: FAISSDocumentStore, top_k: int) -> None:
        self.store, self.top_k = store, top_k

    @component.output_types(documents=list[Document])
    def run(self, query: str, filters: dict[str, Any] | None = None) -> dict[str, Any]:
        found = self.store.filter_documents(filters)
        found.sort(key=lambda document: document.meta["date"], reverse=True)
        return {"documents": found[: self.top_k]}


def add_newest(pipeline: Pipeline, store: Any, settings: Any) -> None:
    pipeline.add_component("retriever", Newest(store, settings.retriever.top_k))


@pytest.fixture
def newest(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    mode = RetrieverMode("newest", add_newest)
    register(mode)
    return mode


def settings_of(mode):
    return load_settings(None, {"retriever.mode": mode, "retriever.top_k": 1}, environ={})


def test_ours_need_what_they_say(tmp_path):
    store = FAISSDocumentStore(tmp_path)
    for name, mode in modes().items():
        pipeline = pipelines.retrieve(store, settings_of(name))
        assert "retriever" in pipeline.graph.nodes
        assert mode.scorer is None or mode.scorer in pipeline.graph.nodes
        kinds = {type(pipeline.get_component(each)).__name__ for each in pipeline.graph.nodes}
        assert mode.needs_embeddings == bool(
            kinds & {"DenseRetriever", "JudgedSentenceRetriever", "SentenceRetriever"}
        )
        assert (mode.scorer is not None) == ("DenseRetriever" in kinds)


def test_a_registered_one_retrieves_and_is_read(tmp_path, newest):
    with FAISSDocumentStore(tmp_path) as store:
        dates = ("2024-01-01", "2025-01-01")
        store.write_documents(
            [Document(id=date, content="Good.", meta={"date": date}) for date in dates]
        )
        pipeline = pipelines.retrieve(store, settings_of("newest"))
        found = pipeline.run({"query": "How is it?"})["retriever"]["documents"]
    assert [document.id for document in found] == ["2025-01-01"]
    assert mode_of(settings_of("newest")) is newest
    assert pipelines.dense(settings_of("newest")) is None


def test_an_unknown_name_is_an_error_that_names_the_known(newest):
    with pytest.raises(
        ConfigError, match="bm25, dense, hybrid, sentences, judged, newest"
    ) as caught:
        mode_of(settings_of("hybridised"))
    assert "'hybridised'" in caught.value.what


@pytest.mark.parametrize("name", ["bm25", "hybrid", "", "Two", "a b", "1st"])
def test_a_name_that_is_taken_or_no_word_is_refused(name):
    with pytest.raises(ConfigError):
        register(RetrieverMode(name, add_newest))


def test_only_retrievers_are_registered():
    with pytest.raises(ConfigError, match="is no RetrieverMode"):
        register("newest")  # type: ignore[arg-type]
