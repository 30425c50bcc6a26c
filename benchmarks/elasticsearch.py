"""Our store against `elasticsearch-haystack` on one server, and against our embedded store.

    python -m benchmarks.elasticsearch                    # every table, with its bars
    python -m benchmarks.elasticsearch write search --documents 5000 --rounds 1
    python -m benchmarks.elasticsearch electronics --questions 100

The server is that of ELASTICSEARCH_URL; without it, the one of ../shared/elasticsearch is started
(its heap: ES_HEAP, 1 GB here), with its data on the disk of the temporary folder.

*write*: made-up reviews, with 384 numbers each that lie in clusters, as Haystack documents in
memory. Both stores write the same ones under OVERWRITE, in turn, each time into a new index, until
they are found; the counts are checked. The peer takes 1,000 a call and is used as it comes: each
of its calls ends when the server's next refresh (once a second) has shown the documents. As that
wait is no work, it is also measured with `refresh=False` and one refresh at the end; and ours is
also given 1,000 a call, inside `loading()`. The bars compare the first lines of each: median of
the rounds' ratios. `int8_hnsw` is what the peer's own mapping gets from the server.

*search*: the same reviews, one item asked about (50 of them), one query at a time, in turn.

*electronics*: SubjQA (QA_DATA) through `qa-index` into either store, then as `qa-eval retriever`
and `qa-eval pipeline` do it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import Any
from uuid import uuid4

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy
from numpy.typing import NDArray

from eval.report.tables import print_cells
from qa_system.stores.elasticsearch import ElasticsearchReviewStore

SHARED = Path(__file__).parents[2] / "shared"
START = SHARED / "elasticsearch" / "start"
ELECTRONICS = Path(os.environ.get("QA_DATA", SHARED / "data")) / "subjqa" / "electronics"
DIMENSION = 384
BATCH = 1_000
REVIEWS_PER_ITEM = 50
CLUSTERS = 200
WARM_UP = 2_000
TOP_K = 10
TURN = 10
SAME_KIND_BAR, FLAT_BAR = 3.0, 6.0
DENSE_BAR, BM25_BAR = 0.01, 0.03
KS = (1, 3, 5)
WORDS = """
battery sound screen case cable price light zip colour strap lens button app box lid handle
the a it is was of and with for after my very not good bad great cheap broke works returned
again weeks months daily quiet loud heavy soft bright sturdy flimsy recommend disappointed
""".split()  # noqa: SIM905
QUESTION = "Is the battery good enough after two weeks?"


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; give 1 if a bar is missed, 2 if something needed is not here."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"of {', '.join(TABLES)}")
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3, help="of writing")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--questions", type=int, help="asked of the whole pipeline; none: all")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.tables) - set(TABLES):
        parser.error(f"there is no table {', '.join(sorted(unknown))}")
    with server() as url:
        missed = [TABLES[name](chosen, url) for name in chosen.tables or TABLES]
    return max(missed)


@contextmanager
def server() -> Iterator[str]:
    """Yield the address of a server; start one if none is named."""
    if named := os.environ.get("ELASTICSEARCH_URL"):
        yield named
        return
    if not START.is_file():
        sys.exit(f"ELASTICSEARCH_URL names no server, and {START} is not here")
    with (
        tempfile.TemporaryDirectory(prefix="qa-elasticsearch-") as folder,
        subprocess.Popen(
            [START, "--until-eof", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"ES_HEAP": "1g", **os.environ},
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            sys.exit(f"Elasticsearch did not start: {START} {folder} says why")
        yield url
        process.terminate()


def reviews(count: int) -> list[Document]:
    """Make up reviews whose embeddings lie in clusters, as those of texts do."""
    draw = np.random.default_rng(13)
    centres = draw.standard_normal((CLUSTERS, DIMENSION))
    vectors = centres[draw.integers(CLUSTERS, size=count)]
    vectors = vectors + 0.5 * draw.standard_normal(vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        Document(
            id=f"review-{n}",
            content=" ".join(draw.choice(WORDS, 60)),
            meta={
                "review_id": f"review-{n}",
                "item_id": f"item-{n // REVIEWS_PER_ITEM}",
                "stars": n % 5 + 1,
                "posted": f"2020-01-{n % 28 + 1:02}",
            },
            embedding=vector,
        )
        for n, vector in enumerate(vectors.astype(np.float32).tolist())
    ]


class Theirs:
    """`ElasticsearchDocumentStore` in an index that is deleted in the end."""

    def __init__(self, url: str, index_options: str, *, refresh: str | bool = "wait_for") -> None:
        try:
            from haystack_integrations.document_stores.elasticsearch import (
                ElasticsearchDocumentStore,
            )
        except ImportError:
            sys.exit("elasticsearch-haystack is not installed; `make bench` installs it")
        self.index = f"bench-{uuid4().hex[:12]}"
        embedding = {
            "type": "dense_vector",
            "dims": DIMENSION,
            "index": True,
            "similarity": "cosine",
            "index_options": {"type": index_options},
        }
        # Its own mapping, but for the kind of the index.
        mapping = {
            "properties": {"embedding": embedding, "content": {"type": "text"}},
            "dynamic_templates": [
                {
                    "strings": {
                        "path_match": "*",
                        "match_mapping_type": "string",
                        "mapping": {"type": "keyword"},
                    }
                }
            ],
        }
        self.store = ElasticsearchDocumentStore(hosts=url, index=self.index, custom_mapping=mapping)
        self._refresh = refresh

    def write(self, documents: list[Document]) -> float | None:
        """Write them; it sends nothing again."""
        for start in range(0, len(documents), BATCH):
            self.store.write_documents(
                documents[start : start + BATCH], DuplicatePolicy.OVERWRITE, refresh=self._refresh
            )
        if self._refresh is False:
            self.store.client.indices.refresh(index=self.index)
        return None

    def close(self) -> None:
        self.store.client.indices.delete(index=self.index)
        self.store.close()


class Ours:
    """Our store, likewise."""

    def __init__(self, url: str, index_options: Any, *, by_batch: bool = False) -> None:
        self.store = ElasticsearchReviewStore(
            url,
            f"bench-{uuid4().hex[:12]}",
            similarity="cosine",
            embedding_dim=DIMENSION,
            index_options=index_options,
            replicas=0,
        )
        self._by_batch = by_batch

    def write(self, documents: list[Document]) -> float | None:
        """Write them, and give the share that was sent again."""
        if not self._by_batch:
            report = self.store.write_bulk(documents)
            return report.share_retried
        retried = 0
        with self.store.loading():
            for start in range(0, len(documents), BATCH):
                retried += self.store.write_bulk(documents[start : start + BATCH]).retried
        return retried / len(documents)

    def close(self) -> None:
        self.store.delete_all_documents(recreate_index=True)
        self.store.close()


def write(chosen: argparse.Namespace, url: str) -> int:
    """Write the reviews by both stores, in turn."""
    documents = reviews(chosen.documents)
    peers: dict[str, Callable[[], Theirs | Ours]] = {
        "theirs, int8_hnsw": partial(Theirs, url, "int8_hnsw"),
        "ours, int8_hnsw": partial(Ours, url, "int8_hnsw"),
        "ours, flat": partial(Ours, url, "flat"),
        "theirs, int8_hnsw, refresh=False": partial(Theirs, url, "int8_hnsw", refresh=False),
        "theirs, flat": partial(Theirs, url, "flat"),
        "ours, int8_hnsw, 1,000 a call": partial(Ours, url, "int8_hnsw", by_batch=True),
        "ours, flat, 1,000 a call": partial(Ours, url, "flat", by_batch=True),
    }
    for make in peers.values():
        timed_write(make, documents[: min(WARM_UP, chosen.documents)])
    speeds: dict[str, list[float]] = {name: [] for name in peers}
    retried: dict[str, list[float | None]] = {name: [] for name in peers}
    for _ in range(chosen.rounds):
        for name, make in peers.items():
            speed, share = timed_write(make, documents)
            speeds[name].append(speed)
            retried[name].append(share)
    theirs = speeds["theirs, int8_hnsw"]
    rows = {}
    for name, own in speeds.items():
        shares = [share for share in retried[name] if share is not None]
        rows[name] = [
            f"{median(own):,.0f}",
            " ".join(f"{speed:,.0f}" for speed in own),
            f"{ratio(own, theirs):.2f}",
            f"{fmean(shares):.1%}" if shares else "-",
        ]
    bars = {
        "ours, int8_hnsw": (ratio(speeds["ours, int8_hnsw"], theirs), SAME_KIND_BAR),
        "ours, flat": (ratio(speeds["ours, flat"], theirs), FLAT_BAR),
    }
    print_cells(
        f"writing {chosen.documents:,} reviews with {DIMENSION} numbers each, until found",
        ["docs/s", "each round", "times theirs", "sent again"],
        rows,
        [f"{name}: {found:.2f} x, bar {bar:g} x: {said(found >= bar)}"
         for name, (found, bar) in bars.items()],
    )  # fmt: skip
    return int(any(found < bar for found, bar in bars.values()))


def timed_write(
    make: Callable[[], Theirs | Ours], documents: list[Document]
) -> tuple[float, float | None]:
    """Write into a new index; give documents a second, and the share sent again."""
    peer = make()
    try:
        start = perf_counter()
        share = peer.write(documents)
        took = perf_counter() - start
        found = peer.store.count_documents()
        if found != len(documents):
            sys.exit(f"{found:,} documents are found, {len(documents):,} were written")
    finally:
        peer.close()
    return len(documents) / took, share


def ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the median of the rounds' ratios."""
    return median(own / their for own, their in zip(ours, theirs, strict=True))


def search(chosen: argparse.Namespace, url: str) -> int:
    """Ask about one item, by meaning and by words."""
    from haystack_integrations.components.retrievers.elasticsearch import (
        ElasticsearchBM25Retriever,
        ElasticsearchEmbeddingRetriever,
    )

    documents = reviews(chosen.documents)
    vectors = np.array([document.embedding for document in documents], np.float32)
    draw = np.random.default_rng(1)
    queries = vectors[draw.integers(len(vectors), size=chosen.queries)]
    queries = queries + 0.05 * draw.standard_normal(queries.shape).astype(np.float32)
    items = draw.integers(len(documents) // REVIEWS_PER_ITEM, size=chosen.queries).tolist()
    theirs = Theirs(url, "int8_hnsw", refresh=False)
    ours = {kind: Ours(url, kind) for kind in ("flat", "int8_hnsw")}
    try:
        for peer in (theirs, *ours.values()):
            peer.write(documents)
        dense = ElasticsearchEmbeddingRetriever(document_store=theirs.store, top_k=TOP_K)
        words = ElasticsearchBM25Retriever(document_store=theirs.store, top_k=TOP_K)
        asked = queries.tolist()
        # The filter's field in theirs is the same, because it flattens a document's metadata.
        peers: dict[str, Callable[[int], list[Document]]] = {
            "dense: theirs, int8_hnsw": lambda n: dense.run(
                query_embedding=asked[n], filters=of_item(items[n])
            )["documents"],
            "dense: ours, flat": lambda n: ours["flat"].store.search_by_embedding(
                asked[n], TOP_K, of_item(items[n])
            ),
            "dense: ours, int8_hnsw": lambda n: ours["int8_hnsw"].store.search_by_embedding(
                asked[n], TOP_K, of_item(items[n])
            ),
            "BM25: theirs (fuzzy, every field)": lambda n: words.run(
                query=QUESTION, filters=of_item(items[n])
            )["documents"],
            "BM25: ours": lambda n: ours["flat"].store.search_bm25(
                QUESTION, TOP_K, of_item(items[n])
            ),
        }
        times, answers = in_turn(peers, chosen.queries)
    finally:
        for peer in (theirs, *ours.values()):
            peer.close()
    rows = {}
    for name in peers:
        recall = "-"
        if name.startswith("dense"):
            recall = f"{recall_of(answers[name], queries, items, vectors):.3f}"
        p50, p95 = np.percentile(times[name], [50, 95]) * 1e3
        rows[name] = [f"{p50:.1f}", f"{p95:.1f}", recall]
    print_cells(
        f"one item of {chosen.documents:,} reviews asked about ({REVIEWS_PER_ITEM}), "
        f"top {TOP_K}, {chosen.queries} queries",
        ["p50 ms", "p95 ms", "recall of the true top"],
        rows,
        ["Theirs must match a word; ours ranks all of the item's reviews."],
    )
    return 0


def of_item(n: int) -> dict[str, Any]:
    """Return the filter of one item."""
    return {"field": "meta.item_id", "operator": "==", "value": f"item-{n}"}


def in_turn(
    peers: dict[str, Callable[[int], list[Document]]], queries: int
) -> tuple[dict[str, list[float]], dict[str, list[list[Document]]]]:
    """Ask every peer the queries, TURN at a time; give seconds and answers."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    answers: dict[str, list[list[Document]]] = {name: [] for name in peers}
    for ask in peers.values():
        for n in range(min(TURN, queries)):
            ask(n)
    for start in range(0, queries, TURN):
        for name, ask in peers.items():
            for n in range(start, min(start + TURN, queries)):
                began = perf_counter()
                answers[name].append(ask(n))
                times[name].append(perf_counter() - began)
    return times, answers


def recall_of(
    answers: list[list[Document]],
    queries: NDArray[np.float32],
    items: list[int],
    vectors: NDArray[np.float32],
) -> float:
    """Return the share of an item's true nearest reviews that were found."""
    found = []
    for answer, query, item in zip(answers, queries, items, strict=True):
        first = item * REVIEWS_PER_ITEM
        scores = vectors[first : first + REVIEWS_PER_ITEM] @ query
        true = {f"review-{first + n}" for n in np.argsort(-scores)[:TOP_K].tolist()}
        found.append(len(true & {document.id for document in answer}) / len(true))
    return fmean(found)


def electronics(chosen: argparse.Namespace, url: str) -> int:
    """Evaluate retrievers and the whole pipeline on both stores."""
    if not ELECTRONICS.is_dir():
        print(f"SubjQA is not at {ELECTRONICS}: set QA_DATA.", file=sys.stderr)
        return 2
    from eval.datasets import load_dataset
    from eval.tasks.candidates import Selection
    from eval.tasks.run import pipeline_run, retriever_run
    from indexing.job import run_job
    from qa_system.config import load_settings
    from qa_system.stores import open_store

    data = load_dataset(ELECTRONICS)
    subset = replace(data, labels=data.labels_of("test")[: chosen.questions])
    selection = Selection("test", own_store=True)
    retrieval, pipeline = {}, {}
    with tempfile.TemporaryDirectory(prefix="qa-bench-") as folder:
        index = f"bench-{uuid4().hex[:12]}"
        places: dict[str, dict[str, Any]] = {
            "embedded": {"type": "faiss", "path": f"{folder}/store"},
            "Elasticsearch": {
                "type": "elasticsearch", "url": url, "index": index, "replicas": 0
            },
        }  # fmt: skip
        for name, place in places.items():
            settings = load_settings(
                overrides={
                    "store": place,
                    "indexing.sources": [str(ELECTRONICS)],
                    "indexing.state": f"{folder}/{name}",
                }
            )
            try:
                run_job(settings)
                with open_store(settings.store) as store:
                    if store.count_documents() != len(data.reviews):
                        sys.exit(f"{name} holds {store.count_documents():,} reviews")
                retrieval[name] = retriever_run(
                    data,
                    settings,
                    selection,
                    modes=("bm25", "dense", "hybrid"),
                    ks=KS,
                )
                pipeline[name] = pipeline_run(
                    subset, settings, selection, alone=False, similarity=False
                )
            finally:
                if name == "Elasticsearch":
                    with open_store(settings.store, create=True) as store:
                        store.delete_all_documents(recreate_index=True)
    return print_electronics(retrieval, pipeline)


def print_electronics(retrieval: dict[str, Any], pipeline: dict[str, Any]) -> int:
    """Print both stores' scores side by side, and hold them against the bars."""
    columns = [*(f"recall@{k}" for k in KS), "mrr"]
    rows, notes, missed = {}, [], False
    for mode in ("bm25", "dense", "hybrid"):
        scores = {name: run.systems[mode].metrics for name, run in retrieval.items()}
        for name, own in scores.items():
            rows[f"{mode}: {name}"] = [f"{own[column]:.3f}" for column in columns]
        apart = max(
            abs(scores["embedded"][f"recall@{k}"] - scores["Elasticsearch"][f"recall@{k}"])
            for k in KS
        )
        bar = {"dense": DENSE_BAR, "bm25": BM25_BAR}.get(mode)
        if bar is None:
            notes.append(f"{mode}: recall {apart:.3f} apart at most")
            continue
        missed |= apart > bar
        notes.append(f"{mode}: recall {apart:.3f} apart at most, bar {bar:g}: {said(apart <= bar)}")
    taus = kendall_taus(*(run.systems["bm25"].rows for run in retrieval.values()))
    notes.append(
        f"BM25 orders of {len(taus)} questions with two reviews or more in both answers: "
        f"Kendall tau {fmean(taus):.3f} on average"
    )
    print_cells("SubjQA electronics, test, scope item", columns, rows, notes)
    ends = ["em", "f1"]
    asked = {name: next(iter(run.systems.values())) for name, run in pipeline.items()}
    count = len(asked["embedded"].rows)
    print_cells(
        f"the whole pipeline, {count} questions of the same",
        ends,
        {name: [f"{own.metrics[end]:.3f}" for end in ends] for name, own in asked.items()},
        [f"{same_answers(asked)} of {count} questions got the same EM and F1 from both"],
    )
    return int(missed)


def kendall_taus(ours: Any, theirs: Any) -> list[float]:
    """Compare the orders of the reviews that both found, question by question."""
    from scipy.stats import kendalltau

    taus = []
    for one, other in zip(ours, theirs, strict=True):
        ranks = {review: rank for rank, review in enumerate(other.output["ranked"])}
        common = [ranks[review] for review in one.output["ranked"] if review in ranks]
        if len(common) > 1:
            taus.append(float(kendalltau(range(len(common)), common).statistic))
    return taus


def same_answers(asked: dict[str, Any]) -> int:
    """Count the questions on which both stores led to the same scores."""
    one, other = (system.rows for system in asked.values())
    return sum(
        all(mine.scores[end] == yours.scores[end] for end in ("em", "f1"))
        for mine, yours in zip(one, other, strict=True)
    )


def said(is_met: bool) -> str:
    """Say whether a bar was reached."""
    return "reached" if is_met else "MISSED"


TABLES: dict[str, Callable[[argparse.Namespace, str], int]] = {
    "write": write,
    "search": search,
    "electronics": electronics,
}

if __name__ == "__main__":
    sys.exit(main())
