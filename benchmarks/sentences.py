"""How well and how fast sentences are found, on boundaries that were marked by hand.

    python -m benchmarks.sentences
    python -m benchmarks.sentences --errors

A boundary is the offset at which a sentence begins, but for the first. `boundaries` was marked
while the rules were written, `held_out` without a look at any splitter, `second_held_out` likewise
after the rules had been mended by the errors on `held_out`. The marks are offsets and hashes; the
texts are the bundled sample's and SubjQA's (`QA_DATA`). Peers that are not installed are left out:
`pip install pysbd syntok blingfire`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from time import process_time

from qa_system.datasets import subjqa
from qa_system.texts.sentences import sentences

ROOT = Path(__file__).parents[1]
MARKS = ROOT / "tests" / "fixtures" / "sentences"
SAMPLE = ROOT / "data" / "sample"
DATA = Path(os.environ.get("QA_DATA", ROOT.parent / "shared" / "data")) / "subjqa"
BAR = 0.95
SECONDS = 1.0

Splitter = Callable[[str], list[int]]
"""Returns where the sentences of a text begin."""


@dataclass(frozen=True)
class Marked:
    """A review, and the offsets at which its sentences begin by a person's mark."""

    domain: str
    text: str
    starts: frozenset[int]


@dataclass(frozen=True)
class Agreement:
    """How many boundaries were found rightly, found, and marked."""

    right: int
    found: int
    marked: int

    @property
    def precision(self) -> float:
        return self.right / max(self.found, 1)

    @property
    def recall(self) -> float:
        return self.right / max(self.marked, 1)

    @property
    def f1(self) -> float:
        return 2 * self.right / max(self.found + self.marked, 1)


def marked(path: Path) -> list[Marked]:
    """Read the marks whose reviews are here: the sample's always, SubjQA's with the data.

    Raises:
        ValueError: a review is not the one that was marked.
    """
    texts = {review.id: review.text for review in subjqa.iter_reviews(SAMPLE)}
    for domain in sorted(DATA.glob("*")):
        texts |= {review.id: review.text for review in subjqa.iter_reviews(domain)}
    found = []
    for mark in map(json.loads, path.read_text().splitlines()):
        text = texts.get(mark["review_id"])
        if text is None:
            continue
        if hashlib.sha256(text.encode()).hexdigest()[:16] != mark["sha256"]:
            raise ValueError(f"{path.name}: review {mark['review_id']} is not what was marked")
        found.append(Marked(mark["domain"], text, frozenset(mark["starts"]) - {0}))
    return found


def agreement(split: Splitter, reviews: list[Marked]) -> Agreement:
    """Compare a splitter with the marks."""
    right = found = wanted = 0
    for review in reviews:
        got = set(split(review.text)) - {0}
        right += len(got & review.starts)
        found += len(got)
        wanted += len(review.starts)
    return Agreement(right, found, wanted)


def ours(text: str) -> list[int]:
    """Split without a bound in length, which is no question of boundaries."""
    return [start for start, _ in sentences(text, max_words=sys.maxsize)]


def _pysbd() -> Splitter:
    segmenter = import_module("pysbd").Segmenter(language="en", clean=False)
    return lambda text: list(_located(text, segmenter.segment(text)))


def _syntok() -> Splitter:
    analyze = import_module("syntok.segmenter").analyze
    return lambda text: [
        sentence[0].offset for paragraph in analyze(text) for sentence in paragraph
    ]


def _blingfire() -> Splitter:
    split = import_module("blingfire").text_to_sentences_and_offsets
    return lambda text: [start for start, _ in split(text)[1]]


def _located(text: str, pieces: list[str]) -> Iterator[int]:
    """Yield where pieces of the text begin; a piece that was changed is left out."""
    end = 0
    for piece in map(str.strip, pieces):
        start = text.find(piece, end)
        if piece and start >= 0:
            yield start
            end = start + len(piece)


PEERS = {"pysbd": _pysbd, "syntok": _syntok, "blingfire": _blingfire}


def speed(split: Splitter, texts: list[str]) -> float:
    """Return characters a second of one core: the best of the rounds that fit in `SECONDS`."""
    best, spent = float("inf"), 0.0
    while spent < SECONDS:
        start = process_time()
        for text in texts:
            split(text)
        took = process_time() - start
        best, spent = min(best, took), spent + took
    return sum(map(len, texts)) / best


def _print_errors(split: Splitter, reviews: list[Marked]) -> None:
    for review in reviews:
        got = set(split(review.text)) - {0}
        for name, offsets in (("extra", got - review.starts), ("missed", review.starts - got)):
            for at in sorted(offsets):
                around = review.text[max(at - 40, 0) : at], review.text[at : at + 30]
                print(f"{name:<7}{review.domain:<13}{'|'.join(map(repr, around))}")


def main(arguments: list[str] | None = None) -> int:
    """Print the table; return 1 if the bar is missed on a set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--errors", action="store_true", help="print what ours does otherwise")
    chosen = parser.parse_args(arguments)
    if not DATA.is_dir():
        print(f"SubjQA is not at {DATA} (set QA_DATA): only the sample's reviews.", file=sys.stderr)
    splitters = {"ours": ours}
    for name, load in PEERS.items():
        try:
            splitters[name] = load()
        except ImportError as error:
            print(f"{name} left out: {error}", file=sys.stderr)
    sets = {path.stem: marked(path) for path in sorted(MARKS.glob("*.jsonl"))}
    missed = 0
    for title, reviews in sets.items():
        rows = []
        for name, split in splitters.items():
            score = agreement(split, reviews)
            missed |= name == "ours" and score.f1 < BAR
            fast = speed(split, [review.text for review in reviews])
            shares = [f"{share:.3f}" for share in (score.precision, score.recall, score.f1)]
            rows.append((name, *shares, f"{fast / 1e6:.2f}"))
        boundaries = sum(len(review.starts) for review in reviews)
        print(f"\n{title}: {boundaries} boundaries in {len(reviews)} reviews")
        print("| splitter | precision | recall | F1 | million characters/s |")
        print("| --- | --- | --- | --- | --- |")
        for row in rows:
            print(f"| {' | '.join(row)} |")
        if chosen.errors:
            _print_errors(ours, reviews)
    return missed


if __name__ == "__main__":
    sys.exit(main())
