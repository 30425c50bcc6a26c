"""Pipelines that version 0.1.0 dumped still load, with the components that are here now."""

from pathlib import Path

import pytest
import yaml

from qa_system import pipelines
from qa_system.readers.extractive import ExtractiveReader
from qa_system.retrievers.bm25 import BM25Retriever
from qa_system.retrievers.dense import DenseRetriever
from qa_system.stores.faiss import FAISSDocumentStore

DUMPED = Path(__file__).parent.parent / "fixtures" / "v0_1_0" / "pipelines"


def content(text):
    """A dump without the order of its connections, which Haystack leaves open.

    And without what stores could not be told then.
    """
    tree = yaml.safe_load(text)
    for part in tree["components"].values():
        store = part["init_parameters"].get("document_store", {"init_parameters": {}})
        store["init_parameters"].pop("group", None)
    tree["connections"].sort(key=lambda each: (each["sender"], each["receiver"]))
    return tree


@pytest.mark.parametrize("mode", ["bm25", "dense", "hybrid"])
def test_it_loads_and_dumps_the_same(mode, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (DUMPED / f"extract-{mode}.yaml").read_text()
    loaded = pipelines.load(text)
    parts = [loaded.get_component(name) for name in loaded.graph.nodes]
    kinds = {type(part) for part in parts}
    assert ExtractiveReader in kinds
    assert (BM25Retriever in kinds, DenseRetriever in kinds) == (mode != "dense", mode != "bm25")
    stores = [part.document_store for part in parts if hasattr(part, "document_store")]
    assert all(isinstance(store, FAISSDocumentStore) for store in stores)
    assert content(loaded.dumps()) == content(text)
