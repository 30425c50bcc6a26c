"""The embedded store against faiss-haystack and Haystack's in-memory BM25, 100,000 reviews.

    python -m benchmarks.store                       # every table, with its bars
    python -m benchmarks.store dense bm25 --documents 20000 --json
    python -m benchmarks.store million               # a store of a million, filled and reopened

The reviews are SubjQA's (or the sample's, where SubjQA is not here), repeated, each with its own
number, over a tenth as many items. Their embeddings are random: no approximate index could do
worse, and both peers have the same. The peers take turns in one process, ten queries each, so
that a busy machine slows both, and one's data does not stay in the other's caches for every
single query; medians are printed.

What is counted: *filter by item* is the whole call, from the filter to documents with scores.
*Save and reopen* is, for faiss-haystack, `save`, `load` and the first answer; for the embedded
store, whose writes are durable already, `close`, opening and the first answer. As that hides the
cost of a durable write, *write, save and reopen* counts everything from the documents in memory.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from haystack.dataclasses import Document

from qa_system.stores.faiss import FAISSDocumentStore

SHARED = Path(__file__).parents[2] / "shared"
DATA = Path(os.environ.get("QA_DATA", SHARED / "data")) / "subjqa" / "electronics"
DIMENSION = 384
BATCH = 1_000
TOP_K = 10
TURN = 10
QUESTIONS = (
    "Is the battery life good enough for a long flight?",
    "How is the sound quality of the speakers?",
    "Does it work with Windows?",
    "Is it worth the price?",
)

Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; give 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "tables", nargs="*", metavar="TABLE", help=f"of {', '.join(TABLES)}; none: all but million"
    )
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=50, help="queries that each peer is asked")
    parser.add_argument(
        "--folder", type=Path, help="where the stores go (default: a temporary one)"
    )
    parser.add_argument("--encoder", help="the encoder of the write table (default: bundled)")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.tables) - set(TABLES):
        parser.error(f"there is no table {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        for name in chosen.tables or list(TABLES)[:-1]:
            rows += TABLES[name](chosen, Path(folder))
    if chosen.json:
        print(json.dumps(rows, indent=2))
    else:
        print_rows(rows)
    return 1 if any(row.get("met") is False for row in rows) else 0


def reviews() -> list[str]:
    """Return real review texts."""
    if DATA.is_dir():
        from qa_system.datasets.subjqa import iter_reviews

        return [review.text for review in iter_reviews(DATA)]
    sample = Path(__file__).parents[1] / "data" / "sample"
    return [path.read_text() for path in sorted(sample.rglob("*.txt"))] or list(QUESTIONS)


def batches(count: int, *, embedded: bool, seed: int = 0) -> Iterator[list[Document]]:
    """Yield documents, BATCH at a time; making them is not timed."""
    texts, items = reviews(), max(count // 10, 1)
    draw = np.random.default_rng(seed)
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        vectors = draw.standard_normal((size, DIMENSION), np.float32).tolist() if embedded else None
        yield [
            Document(
                id=f"review-{n}",
                content=f"{texts[n % len(texts)]} ({n})",
                meta={
                    "review_id": f"review-{n}",
                    "item_id": f"item-{n % items}",
                    "stars": n % 5 + 1,
                },
                embedding=None if vectors is None else vectors[n - start],
            )
            for n in range(start, start + size)
        ]


def item(n: int) -> dict[str, Any]:
    """Return the filter of one item."""
    return {"field": "meta.item_id", "operator": "==", "value": f"item-{n}"}


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that some work took, and its result."""
    start = perf_counter()
    result = work()
    return perf_counter() - start, result


def in_turn(
    peers: dict[str, Callable[[int], Any]], queries: int
) -> tuple[dict[str, float], dict[str, list[Any]]]:
    """Ask every peer the queries, TURN at a time; give median seconds, and the answers."""
    times: dict[str, list[float]] = {name: [] for name in peers}
    answers: dict[str, list[Any]] = {name: [] for name in peers}
    # One peer keeps every document in Python objects: Python's collector is spared them.
    gc.collect()
    gc.freeze()
    for start in range(0, queries, TURN):
        for name, ask in peers.items():
            for query in range(start, min(start + TURN, queries)):
                took, answer = seconds(lambda ask=ask, query=query: ask(query))
                times[name].append(took)
                answers[name].append(answer)
    return {name: median(taken) for name, taken in times.items()}, answers


def faiss_haystack() -> type[Any]:
    """Import the peer, or say how to get it."""
    try:
        from haystack_integrations.document_stores.faiss import FAISSDocumentStore as Peer
    except ImportError:
        sys.exit(
            "faiss-haystack is not installed; `make bench` installs it:"
            " pip install --no-deps faiss-haystack==3.0.0 (its pin of numpy<2 is wrong)"
        )
    return Peer


def bytes_in(folder: Path) -> int:
    """Return the size of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def dense(chosen: argparse.Namespace, folder: Path) -> list[Row]:
    """Filter by item and find the nearest; then save, reopen, and count the bytes."""
    peer_class = faiss_haystack()
    theirs = peer_class(embedding_dim=DIMENSION)
    ours = FAISSDocumentStore(folder / "ours", index="flat", similarity="l2")
    their_write = our_write = 0.0
    for batch in batches(chosen.documents, embedded=True):
        their_write += seconds(lambda batch=batch: theirs.write_documents(batch))[0]
        our_write += seconds(lambda batch=batch: ours.write_documents(batch))[0]
    draw = np.random.default_rng(1)
    queries = draw.standard_normal((chosen.queries, DIMENSION)).astype(np.float32).tolist()
    their_median, our_median, recalls = filtered_search(theirs, ours, queries, chosen)

    (folder / "theirs").mkdir()
    their_save, _ = seconds(lambda: theirs.save(folder / "theirs" / "store"))

    def reopen_theirs() -> Any:
        fresh = peer_class(embedding_dim=DIMENSION)
        fresh.load(folder / "theirs" / "store")
        return fresh.search(queries[0], TOP_K)

    their_reopen, _ = seconds(reopen_theirs)
    our_save, _ = seconds(ours.close)

    def reopen_ours() -> Any:
        with FAISSDocumentStore(folder / "ours", similarity="l2") as fresh:
            return fresh.search_by_embedding(queries[0], TOP_K)

    our_reopen, _ = seconds(reopen_ours)
    their_bytes, our_bytes = bytes_in(folder / "theirs"), bytes_in(folder / "ours")
    return [
        compared("filter by item, dense", "ms", their_median, our_median, 100),
        {"what": "  recall of the true top 10", "theirs": recalls[0], "ours": recalls[1],
         "bar": "ours = 1.0", "met": recalls[1] == 1.0},
        compared("save and reopen", "s", their_save + their_reopen, our_save + our_reopen, 20),
        compared("write, save and reopen", "s", their_write + their_save + their_reopen,
                 our_write + our_save + our_reopen, None),
        {"what": "bytes on disk", "theirs": f"{their_bytes / 1e6:,.0f} MB",
         "ours": f"{our_bytes / 1e6:,.0f} MB", "ratio": their_bytes / our_bytes,
         "bar": ">= 2 x fewer", "met": our_bytes <= their_bytes / 2},
    ]  # fmt: skip


def filtered_search(
    theirs: Any, ours: FAISSDocumentStore, queries: list[list[float]], chosen: argparse.Namespace
) -> tuple[float, float, tuple[float, float]]:
    """Return both medians, and both recalls of the true ten nearest of an item."""
    items = max(chosen.documents // 10, 1)
    of_item = {n: item((n * 37) % items) for n in range(len(queries))}
    medians, answers = in_turn(
        {
            "theirs": lambda n: theirs.search(queries[n], TOP_K, of_item[n]),
            "ours": lambda n: ours.search_by_embedding(queries[n], TOP_K, of_item[n]),
        },
        chosen.queries,
    )
    recalls = {"theirs": [], "ours": []}
    for n in range(chosen.queries):
        candidates = ours.filter_documents(of_item[n])
        matrix = np.array([document.embedding for document in candidates])
        distances = ((matrix - np.array(queries[n])) ** 2).sum(axis=1)
        best = {candidates[place].id for place in np.argsort(distances)[:TOP_K]}
        for name, found in recalls.items():
            found.append(len(best & {hit.id for hit in answers[name][n]}) / len(best))
    return (
        medians["theirs"],
        medians["ours"],
        (float(np.mean(recalls["theirs"])), float(np.mean(recalls["ours"]))),
    )


def bm25(chosen: argparse.Namespace, folder: Path) -> list[Row]:
    """Filter by item and rank by words."""
    from haystack.components.retrievers import InMemoryBM25Retriever
    from haystack.document_stores.in_memory import InMemoryDocumentStore

    memory = InMemoryDocumentStore()
    ours = FAISSDocumentStore(folder / "bm25")
    for batch in batches(chosen.documents, embedded=False):
        memory.write_documents(batch)
        ours.write_documents(batch)
    theirs = InMemoryBM25Retriever(memory, top_k=TOP_K)
    items = max(chosen.documents // 10, 1)

    def question(n: int) -> str:
        return QUESTIONS[n % len(QUESTIONS)]

    rows = []
    for what, filters, bar in (
        ("filter by item, BM25", lambda n: item((n * 37) % items), 200),
        ("no filter, BM25", lambda _: None, None),
    ):
        medians, _ = in_turn(
            {
                "theirs": lambda n, f=filters: theirs.run(question(n), filters=f(n)),
                "ours": lambda n, f=filters: ours.search_bm25(question(n), TOP_K, f(n)),
            },
            min(chosen.queries, 30),
        )
        rows.append(compared(what, "ms", medians["theirs"], medians["ours"], bar))
    ours.close()
    return rows


def write(chosen: argparse.Namespace, folder: Path) -> list[Row]:
    """Write without embedding; then with, against the encoder alone."""
    prepared = list(batches(chosen.documents, embedded=False))
    rates, searchable = [], []
    for turn in range(3):
        with FAISSDocumentStore(folder / f"write{turn}") as store:
            took, _ = seconds(lambda store=store: [store.write_documents(b) for b in prepared])
            rest, _ = seconds(lambda store=store: store.search_bm25("battery"))
        rates.append(chosen.documents / took)
        searchable.append(chosen.documents / (took + rest))
    rate, found = median(rates), median(searchable)
    return [
        {"what": "write, 1,000 a call, durable", "ours": f"{rate:,.0f} docs/s",
         "ratio": rate / 8_000, "bar": ">= 8,000 docs/s", "met": rate >= 8_000},
        {"what": "  and searched", "ours": f"{found:,.0f} docs/s", "ratio": found / 8_000,
         "bar": ">= 8,000 docs/s", "met": found >= 8_000},
        *with_encoder(chosen, folder),
    ]  # fmt: skip


def with_encoder(chosen: argparse.Namespace, folder: Path, count: int = 512) -> list[Row]:
    """Embed and write, against embedding alone, in turn."""
    from qa_system.config import EncoderSettings
    from qa_system.retrievers.encoders import load_encoder

    settings = (
        EncoderSettings() if chosen.encoder is None else EncoderSettings(model=chosen.encoder)
    )
    encoder = load_encoder(settings)
    documents = [document for batch in batches(count, embedded=False) for document in batch]
    size = 128
    alone: list[float] = []
    written: list[float] = []
    with FAISSDocumentStore(folder / "encoded") as store:
        store.bind_encoder(encoder.identity)
        for start in range(0, count, size):
            batch = documents[start : start + size]
            texts = [str(document.content) for document in batch]

            def embed_and_write(batch: Any = batch, texts: Any = texts) -> None:
                vectors = encoder.encode_passages(texts).tolist()
                store.write_documents(
                    [
                        Document(id=d.id, content=d.content, meta=d.meta, embedding=vector)
                        for d, vector in zip(batch, vectors, strict=True)
                    ]
                )

            def embed(texts: Any = texts) -> Any:
                return encoder.encode_passages(texts)

            # Which of the two goes first changes from batch to batch.
            works = [(alone, embed), (written, embed_and_write)]
            for times, work in works if start // size % 2 else reversed(works):
                times.append(seconds(work)[0])
    share = sum(alone) / sum(written)
    return [
        {"what": "write with embedding",
         "theirs": f"encoder alone {count / sum(alone):,.0f} docs/s",
         "ours": f"{count / sum(written):,.0f} docs/s", "ratio": share, "bar": ">= 0.9 of it",
         "met": share >= 0.9},
    ]  # fmt: skip


def million(_: argparse.Namespace, folder: Path, count: int = 1_000_000) -> list[Row]:
    """Fill a store with a million documents, and open it in a fresh process."""
    took = 0.0
    path = folder / "million"
    with FAISSDocumentStore(path, index="flat") as store:
        pending: list[Document] = []
        for batch in batches(count, embedded=True):
            pending += batch
            if len(pending) >= 20_000:
                took += seconds(lambda now=pending: store.write_documents(now))[0]
                pending = []
    opened = json.loads(
        subprocess.run(
            [sys.executable, "-c", OPEN, str(path)], check=True, capture_output=True, text=True
        ).stdout
    )
    return [
        {"what": "1,000,000 written", "ours": f"{count / took:,.0f} docs/s"},
        {"what": "  bytes on disk", "ours": f"{bytes_in(path) / 1e9:.2f} GB"},
        {"what": "  open and answer by item", "ours": f"{opened['seconds']:.3f} s",
         "bar": "< 2 s", "met": opened["seconds"] < 2},
        {"what": "  resident after it", "ours": f"{opened['resident']:.0f} MB", "bar": "< 400 MB",
         "met": opened["resident"] < 400},
        {"what": "  filter by item, dense / BM25",
         "ours": f"{opened['dense']:.2f} / {opened['bm25']:.2f} ms"},
        {"what": "  no filter, dense / BM25",
         "ours": f"{opened['dense_open']:.0f} / {opened['bm25_open']:.1f} ms"},
    ]  # fmt: skip


OPEN = """
import json, sys, time
from statistics import median
import numpy as np, psutil
from qa_system.stores.faiss import FAISSDocumentStore
def item(n): return {"field": "meta.item_id", "operator": "==", "value": f"item-{n}"}
start = time.perf_counter()
store = FAISSDocumentStore(sys.argv[1])
query = np.random.default_rng(0).standard_normal(384).astype("float32")
assert len(store.search_bm25("battery life", 10, item(7))) == 10
assert len(store.search_by_embedding(query, 10, item(7))) == 10
took = time.perf_counter() - start
resident = psutil.Process().memory_info().rss / 1e6
def timed(work, times):
    taken = []
    for n in range(times):
        start = time.perf_counter(); work(n); taken.append(time.perf_counter() - start)
    return median(taken) * 1e3
print(json.dumps({
    "seconds": took, "resident": resident,
    "dense": timed(lambda n: store.search_by_embedding(query, 10, item(n * 31)), 50),
    "bm25": timed(lambda n: store.search_bm25("is the battery good", 10, item(n * 31)), 50),
    "bm25_open": timed(lambda n: store.search_bm25("is the battery good", 10), 10),
    "dense_open": timed(lambda n: store.search_by_embedding(query, 10), 3),
}))
"""


def compared(what: str, unit: str, theirs: float, ours: float, bar: int | None) -> Row:
    """Return a row that compares a ratio with a bar."""
    scale = 1e3 if unit == "ms" else 1
    row: Row = {
        "what": what,
        "theirs": f"{theirs * scale:,.2f} {unit}",
        "ours": f"{ours * scale:,.2f} {unit}",
        "ratio": theirs / ours,
    }
    return row if bar is None else row | {"bar": f">= {bar} x", "met": theirs / ours >= bar}


def print_rows(rows: list[Row]) -> None:
    """Print the table."""
    print(f"{'':34}{'theirs':>28}{'ours':>18}{'ratio':>10}  bar")
    for row in rows:
        ratio = "" if "ratio" not in row else f"{row['ratio']:,.2f}"
        cells = [str(row.get(name, "")) for name in ("theirs", "ours")]
        met = {True: "met", False: "MISSED", None: ""}[row.get("met")]
        print(
            f"{row['what']:34}{cells[0]:>28}{cells[1]:>18}{ratio:>10}  {row.get('bar', '')} {met}"
        )


TABLES: dict[str, Callable[[argparse.Namespace, Path], list[Row]]] = {
    "dense": dense,
    "bm25": bm25,
    "write": write,
    "million": million,
}

if __name__ == "__main__":
    sys.exit(main())
