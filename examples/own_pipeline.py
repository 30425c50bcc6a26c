"""A Haystack pipeline of your own: retrieve by words, put newer reviews first, then read.

.venv/bin/python examples/own_pipeline.py       after `make demo`, whose store it reads
"""

import sys

from haystack import Pipeline
from haystack.components.rankers import MetaFieldRanker

from qa_system import BM25Retriever, ExtractiveReader, FAISSDocumentStore


def build(store: FAISSDocumentStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("retriever", BM25Retriever(store, top_k=10))
    pipeline.add_component(
        "newest", MetaFieldRanker("date", weight=0.5, top_k=5, meta_value_type="date")
    )
    pipeline.add_component("reader", ExtractiveReader(top_k=3))
    pipeline.connect("retriever.documents", "newest.documents")
    pipeline.connect("newest.documents", "reader.documents")
    return pipeline


def main(path: str = ".demo-store") -> None:
    filters = {"field": "meta.item_id", "operator": "==", "value": "jacket-drizzlecrest-shell"}
    with FAISSDocumentStore(path) as store:
        found = build(store).run({"query": "How is the hood?", "filters": filters})["reader"]
    for answer in found["answers"]:
        print(f"{answer.score:4.0%}  {answer.data}  ({answer.document.meta['date']})")
    print(f"      {found['decision']}")


if __name__ == "__main__":
    main(*sys.argv[1:])
