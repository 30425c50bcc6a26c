"""What it costs to answer from sentences, beside reading whole reviews.

    python -m benchmarks.evidence                    # SubjQA electronics; ten minutes on two cores
    python -m benchmarks.evidence --only index       # ask, made or index
    python -m benchmarks.evidence --questions 20 --indexed 200

Both ways of reading are asked each question in turn, in one process. The items have at least ten
reviews. *Long* adds a review of 100,000 characters to each item, *huge* asks one item of 10,000
reviews, 500 of SubjQA's twenty times over. *Made* asks for single sentences among 4,000 that
differ from others in one or two words. Indexing is timed with sentences and without, in turn, into
stores that are deleted afterwards.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

os.environ["HF_HUB_OFFLINE"] = "1"

if TYPE_CHECKING:
    from qa_system import QASystem
    from qa_system.config import Settings
    from qa_system.records import Label, Review

DATA = Path(os.environ.get("QA_DATA", Path(__file__).parents[2] / "shared" / "data")) / "subjqa"
FEWEST_REVIEWS = 10
LONG = 100_000
HUGE = 10_000
BARS = {"p50": 0.050, "p95": 0.100}
LONG_BAR = 1.5
HUGE_BAR = 0.150
INDEXING_BAR = 2.0
RUNS = 3
MADE = 4_000
ASKED = 200
THINGS = ("screw", "button", "hinge", "strap", "cable", "lamp", "wheel", "zipper")
NAMES = (
    "items of ten or more reviews",
    "with a review of 100,000 characters",
    "an item of 10,000 reviews",
)


def main(arguments: list[str] | None = None) -> int:
    """Print the tables; return 1 if a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=150)
    parser.add_argument("--indexed", type=int, default=500)
    parser.add_argument("--only", choices=("ask", "made", "index"))
    chosen = parser.parse_args(arguments)
    if not DATA.is_dir():
        print(f"SubjQA is not at {DATA}: set QA_DATA.", file=sys.stderr)
        return 2

    from eval.datasets import load_dataset

    data = load_dataset(DATA / "electronics")
    reviews = list(data.reviews)
    counts = Counter(review.item_id for review in reviews)
    items = {item for item, count in counts.items() if count >= FEWEST_REVIEWS}
    labels = [label for label in data.labels_of("test") if label.item_id in items]
    labels = labels[: chosen.questions]
    missed = False
    if chosen.only in (None, "ask"):
        missed = ask(labels, reviews)
    if chosen.only in (None, "made"):
        made()
    if chosen.only in (None, "index"):
        missed = index(reviews[: chosen.indexed]) or missed
    return int(missed)


def ask(labels: Sequence[Label], reviews: list[Review]) -> bool:
    """Time questions; return whether a bar is missed."""
    from eval.report.tables import print_table

    longest = " ".join(islice(cycle(review.text for review in reviews), 200))[:LONG]
    asked_about = {label.item_id for label in labels if label.item_id is not None}
    long = [
        replace(reviews[0], id=f"long-{item}", item_id=item, text=longest) for item in asked_about
    ]
    rows: dict[str, dict[str, Any]] = {}
    short, with_long, huge = NAMES
    for name, corpus in ((short, reviews), (with_long, [*reviews, *long]), (huge, reviews[:500])):
        ways = ("sentences", "reviews") if name == short else ("sentences",)
        with systems(corpus, ways) as opened:
            if name == huge:
                repeat(opened["sentences"].settings)
            seconds = timed(opened, labels, "huge" if name == huge else None)
        for way, each in seconds.items():
            rows[f"{name}: {way}"] = {"p50 ms": 1000 * each[0], "p95 ms": 1000 * each[1]}
    of_short, of_long, of_huge = (rows[f"{name}: sentences"] for name in NAMES)
    ratio = of_long["p50 ms"] / of_short["p50 ms"]
    missed = {
        "p50": of_short["p50 ms"] > 1000 * BARS["p50"],
        "p95": of_short["p95 ms"] > 1000 * BARS["p95"],
        "long": ratio > LONG_BAR,
        "huge": of_huge["p95 ms"] > 1000 * HUGE_BAR,
    }
    notes = [
        f"bars: p50 {1000 * BARS['p50']:.0f} ms, p95 {1000 * BARS['p95']:.0f} ms",
        f"a long review costs x {ratio:.2f}, bar x {LONG_BAR}",
        f"p95 of the huge item: bar {1000 * HUGE_BAR:.0f} ms",
        f"missed: {', '.join(name for name, is_missed in missed.items() if is_missed) or 'none'}",
    ]
    print_table(f"ask, {len(labels)} questions", rows, ["p50 ms", "p95 ms"], notes)
    return any(missed.values())


@contextmanager
def systems(reviews: Sequence[Review], ways: Sequence[str]) -> Iterator[dict[str, QASystem]]:
    """Index reviews, and open a system for each way of reading."""
    from eval.tasks.candidates import temporary_index
    from qa_system import QASystem
    from qa_system.config import changed, load_settings

    settings = load_settings()
    with temporary_index(reviews, settings, embed=True) as placed, ExitStack() as stack:
        yield {
            way: stack.enter_context(QASystem.open(changed(placed, {"reader.evidence": way})))
            for way in ways
        }


def repeat(settings: Settings) -> None:
    """Write a store's reviews again and again, about one item, until there are 10,000 of it."""
    import numpy as np

    from qa_system.retrievers.encoders import load_encoder
    from qa_system.stores import open_store
    from qa_system.stores.writes import Sentences
    from qa_system.texts.sentences import sentences

    encoder = load_encoder(settings.encoder)
    with open_store(settings.store) as store:
        documents = store.filter_documents()
        spans = [sentences(document.content or "") for document in documents]
        texts = [
            (document.content or "")[start:end]
            for document, own in zip(documents, spans, strict=True)
            for start, end in own
        ]
        vectors = np.split(encoder.encode_passages(texts), np.cumsum([*map(len, spans)])[:-1])
        kept = [Sentences(*pair) for pair in zip(spans, vectors, strict=True)]
        for number in range(HUGE // len(documents)):
            named = [
                replace(
                    document,
                    id=f"{number}-{document.id}",
                    meta={"item_id": "huge", "review_id": f"{number}-{document.id}"},
                )
                for document in documents
            ]
            pairs = zip(named, kept, strict=True)
            store.replace(named, [], sentences={one.id: own for one, own in pairs})


def timed(
    opened: dict[str, QASystem], labels: Sequence[Label], item: str | None
) -> dict[str, tuple[float, float]]:
    """Ask each system each question in turn; return the median and the 95th percentile."""
    seconds: dict[str, list[float]] = {way: [] for way in opened}
    for label in [*labels[:5], *labels]:  # the first five warm up
        for way, system in opened.items():
            start = perf_counter()
            system.ask(label.question, item_id=item or label.item_id)
            seconds[way].append(perf_counter() - start)
    measured = {way: sorted(each[5:]) for way, each in seconds.items()}
    return {way: (median(each), each[int(0.95 * len(each))]) for way, each in measured.items()}


def made() -> None:
    """Look for single sentences among 4,000 of a kind, in words of the question's own."""
    from eval.report.tables import print_table
    from qa_system.config import changed
    from qa_system.records import Review

    pairs = [(thing, place) for thing in THINGS for place in range(1, MADE // len(THINGS) + 1)]
    said = [f"The {thing} in row {place} came loose." for thing, place in pairs]
    reviews = [
        Review(f"made-{start}", "made", " ".join(said[start : start + 10]))
        for start in range(0, len(said), 10)
    ]
    asked = pairs[:: len(pairs) // ASKED]
    found: Counter[str] = Counter()
    with systems(reviews, ["sentences"]) as opened:
        settings = opened["sentences"].settings
        for mode in ("bm25", "dense", "hybrid"):
            found[mode] = looked_up(changed(settings, {"retriever.mode": mode}), asked)
    rows = {mode: {"found": number / len(asked)} for mode, number in found.items()}
    title = f"{len(asked)} of {MADE} made sentences, found among the best 50"
    print_table(title, rows, ["found"], [])


def looked_up(settings: Settings, asked: Sequence[tuple[str, int]]) -> int:
    """Return how many of the made sentences are among the best 50 for a question."""
    from qa_system import pipelines
    from qa_system.stores import open_store

    found = 0
    with open_store(settings.store) as store:
        reading = pipelines.to_read(settings)
        pipeline = pipelines.retrieve(store, reading)
        for thing, place in asked:
            question = f"Which {thing} got loose, was it row {place}?"
            documents = pipeline.run({"query": question})["retriever"]["documents"]
            wanted = f"The {thing} in row {place} came loose."
            found += any(
                (document.content or "")[start:end] == wanted
                for document in documents
                for start, end, *_ in document.meta["sentences"]
            )
    return found


def index(reviews: Sequence[Review]) -> bool:
    """Time indexing and weigh the stores; return whether a bar is missed."""
    from eval.report.tables import print_table
    from qa_system.config import load_settings

    seconds: dict[bool, list[float]] = {False: [], True: []}
    weights: dict[bool, float] = {}
    for _ in range(RUNS):
        for divided in seconds:
            settings = load_settings(overrides={"indexing.sentences": divided})
            spent, weights[divided] = indexed(reviews, settings)
            seconds[divided].append(spent)
    rows = {
        "with sentences" if divided else "without": {
            "reviews/s": len(reviews) / median(each),
            "bytes a review": weights[divided] / len(reviews),
        }
        for divided, each in seconds.items()
    }
    slower = median(seconds[True]) / median(seconds[False])
    larger = weights[True] / weights[False]
    notes = [f"time x {slower:.2f}, bytes x {larger:.2f}, bar x {INDEXING_BAR}"]
    print_table(
        f"indexing, {len(reviews)} reviews, median of {RUNS}",
        rows,
        ["reviews/s", "bytes a review"],
        notes,
    )
    return max(slower, larger) > INDEXING_BAR


def indexed(reviews: Sequence[Review], settings: Settings) -> tuple[float, float]:
    """Run the indexing job; return its seconds and the store's bytes."""
    import orjson

    from indexing.job import run_job
    from qa_system.config import changed

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "reviews.jsonl"
        source.write_bytes(
            b"".join(
                orjson.dumps({"review_id": one.id, "item_id": one.item_id, "text": one.text})
                + b"\n"
                for one in reviews
            )
        )
        place = Path(folder) / "store"
        overrides = {"store.path": str(place), "indexing.sources": [str(source)]}
        start = perf_counter()
        run_job(changed(settings, overrides))
        spent = perf_counter() - start
        files = [path for path in place.rglob("*") if path.is_file() and "jobs" not in path.parts]
        return spent, float(sum(path.stat().st_size for path in files))


if __name__ == "__main__":
    sys.exit(main())
