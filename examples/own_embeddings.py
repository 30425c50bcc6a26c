"""The embedders with a store of Haystack's own: reviews in memory, found by meaning, then read.

.venv/bin/python examples/own_embeddings.py
"""

from haystack import Document, Pipeline
from haystack.components.retrievers.in_memory import InMemoryEmbeddingRetriever
from haystack.components.writers import DocumentWriter
from haystack.document_stores.in_memory import InMemoryDocumentStore

from qa_system import ExtractiveReader, ReviewDocumentEmbedder, ReviewTextEmbedder

REVIEWS = [
    "Light enough to hold in one hand. The battery lasts ten hours.",
    "Stopped working after a week, and nobody answers the phone.",
    "The screen is bright, even in the sun.",
]


def indexing(store: InMemoryDocumentStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", ReviewDocumentEmbedder())
    pipeline.add_component("writer", DocumentWriter(store))
    pipeline.connect("embedder.documents", "writer.documents")
    return pipeline


def asking(store: InMemoryDocumentStore) -> Pipeline:
    pipeline = Pipeline()
    pipeline.add_component("embedder", ReviewTextEmbedder())
    pipeline.add_component("retriever", InMemoryEmbeddingRetriever(store, top_k=2))
    pipeline.add_component("reader", ExtractiveReader(top_k=1))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    pipeline.connect("retriever.documents", "reader.documents")
    return pipeline


def main() -> None:
    store = InMemoryDocumentStore()
    documents = [Document(content=text) for text in REVIEWS]
    indexing(store).run({"embedder": {"documents": documents}})
    question = "How long does the battery last?"
    found = asking(store).run({"embedder": {"text": question}, "reader": {"query": question}})
    for answer in found["reader"]["answers"]:
        print(f"{answer.score:4.0%}  {answer.data}")


if __name__ == "__main__":
    main()
