"""A retriever of your own, combined with BM25: a Haystack component, question to documents.

.venv/bin/python examples/own_retriever.py       after `make demo`, whose store it reads
"""

import sys
from typing import Any

from haystack import Document, Pipeline, component
from haystack.components.joiners import DocumentJoiner

from qa_system import BM25Retriever, ExtractiveReader, FAISSDocumentStore


@component
class NewestRetriever:
    """Retrieve the newest reviews, whatever they say."""

    def __init__(self, document_store: FAISSDocumentStore, top_k: int = 3) -> None:
        self.document_store = document_store
        self.top_k = top_k

    @component.output_types(documents=list[Document])
    def run(self, query: str, filters: dict[str, Any] | None = None) -> dict[str, Any]:  # noqa: ARG002
        documents = self.document_store.filter_documents(filters)
        documents.sort(key=lambda document: document.meta["date"], reverse=True)
        return {"documents": documents[: self.top_k]}


def build(store: FAISSDocumentStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("bm25", BM25Retriever(store, top_k=3))
    pipeline.add_component("newest", NewestRetriever(store))
    pipeline.add_component("joined", DocumentJoiner(join_mode="reciprocal_rank_fusion"))
    pipeline.add_component("reader", ExtractiveReader(top_k=3))
    pipeline.connect("bm25.documents", "joined.documents")
    pipeline.connect("newest.documents", "joined.documents")
    pipeline.connect("joined.documents", "reader.documents")
    return pipeline


def main(path: str = ".demo-store") -> None:
    filters = {"field": "meta.item_id", "operator": "==", "value": "earbuds-pipstone-air"}
    with FAISSDocumentStore(path) as store:
        found = build(store).run({"query": "Do they last?", "filters": filters})["reader"]
    for answer in found["answers"]:
        print(f"{answer.score:4.0%}  {answer.data}  ({answer.document.meta['date']})")
    print(f"      {found['decision']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
