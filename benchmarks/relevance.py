"""From which score on a sentence bears on a question: `retriever.relevant`.

    python -m benchmarks.relevance               # SubjQA's held-out items; ten minutes

The sentences of the labelled review are scored for each question (see `benchmarks.budget`).
Those that share a character with an answer should pass, the others should not. Others are fourteen
times as many, so that a sentence that passes says little if a tenth of them does: the threshold is
the one with the highest F1 of the sentences that pass, every question having the same weight.
*reviews with* and *without* say how many reviews with an answer, and without, have a sentence that
passes.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
from numpy.typing import NDArray

from benchmarks.budget import DATA, DOMAINS, WEIGHTS, retrieved

if TYPE_CHECKING:
    from haystack import Document

    from qa_system.records import Label

ALL = 100_000
"""More sentences than an item has."""

Array = NDArray[np.float64]


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, help="of each domain, at most")
    parser.add_argument("--domains", nargs="*", default=DOMAINS)
    chosen = parser.parse_args(arguments)
    if not DATA.is_dir():
        print(f"SubjQA is not at {DATA}: set QA_DATA.", file=sys.stderr)
        return 2

    from eval.report.tables import print_table
    from qa_system.config import load_settings

    settings = load_settings(overrides={"encoder.threads": 1})
    ways = {
        str(weight): {"retriever.bm25_weight": weight, "retriever.top_k": ALL} for weight in WEIGHTS
    }
    found: dict[str, list[tuple[Array, Array]]] = {way: [] for way in ways}
    for domain in chosen.domains:
        labels, documents, _ = retrieved(domain, settings, ways, chosen.questions)
        for way, own in found.items():
            own += scored(labels, documents[way])
    columns = {f"{way} of words": row_of(pairs) for way, pairs in found.items()}
    count = len(next(iter(found.values())))
    rows = {
        name: {way: column[name] for way, column in columns.items()}
        for name in next(iter(columns.values()))
    }
    print_table(f"sentences that bear on a question, {count} questions", rows, [*columns], [])
    return 0


def scored(
    labels: Sequence[Label], found: Sequence[Sequence[Document]]
) -> Iterator[tuple[Array, Array]]:
    """Return for each question the scores of sentences with an answer, and of the others."""
    for label, documents in zip(labels, found, strict=True):
        spans = [(each.start, each.end) for each in label.answers if each.end > each.start]
        own = [one for one in documents if one.meta.get("review_id") == label.review_id]
        if not own or (label.is_answerable and not spans):
            continue
        entries = own[0].meta["sentences"]
        bears = np.array(
            [
                any(start < end and begin < stop for begin, end in spans)
                for start, stop, *_ in entries
            ]
        )
        scores = np.array([score for _, _, score, _, _ in entries])
        yield scores[bears], scores[~bears]


def row_of(pairs: Sequence[tuple[Array, Array]]) -> dict[str, float]:
    """Return the threshold and what passes it."""
    answerable = [pair for pair in pairs if len(pair[0])]
    cuts = np.unique(np.concatenate([scores for pair in answerable for scores in pair]))
    right, passed = np.zeros(len(cuts)), np.zeros(len(cuts))
    for yes, no in answerable:
        size = len(yes) + len(no)
        right += _passing(yes, cuts) / size
        passed += (_passing(yes, cuts) + _passing(no, cuts)) / size
    wanted = sum(len(yes) / (len(yes) + len(no)) for yes, no in answerable)
    f1 = 2 * right / (passed + wanted)
    best = int(np.argmax(f1))
    row = {"relevant": float(cuts[best])}
    for cut in (float(cuts[best]), 0.2, 0.3, 0.4, 0.5):
        place = int(np.searchsorted(cuts, cut))
        name = "" if cut == cuts[best] else f" at {cut}"
        row[f"F1{name}"] = float(f1[place])
        row[f"precision{name}"] = float(right[place] / passed[place])
        row[f"recall{name}"] = float(right[place] / wanted)
        for kind, reviews in (
            ("with", answerable),
            ("without", [pair for pair in pairs if not len(pair[0])]),
        ):
            best_of = [max(pair[0].max(initial=-1), pair[1].max(initial=-1)) for pair in reviews]
            row[f"reviews {kind}{name}"] = float(np.mean(np.array(best_of) >= cut))
    return row


def _passing(scores: Array, cuts: Array) -> Array:
    """Return how many scores reach each cut."""
    return len(scores) - np.searchsorted(np.sort(scores), cuts)


if __name__ == "__main__":
    sys.exit(main())
