"""From which score on a sentence bears on a question: `retriever.relevant`.

    python -m benchmarks.relevance               # SubjQA's held-out items; ten minutes

Of each answerable question (see `benchmarks.budget`) the sentences of the labelled review are
scored: those that share a character with an answer should pass, the others should not. The
threshold is the one at which the share of the former that pass exceeds that of the latter most
(Youden, Index for rating diagnostic tests, Cancer 1950); every question has the same weight.
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
    rows = {f"{way} of words": row_of(pairs) for way, pairs in found.items()}
    count = len(next(iter(found.values())))
    columns = list(next(iter(rows.values())))
    print_table(f"sentences that bear on a question, {count} questions", rows, columns, [])
    return 0


def scored(
    labels: Sequence[Label], found: Sequence[Sequence[Document]]
) -> Iterator[tuple[Array, Array]]:
    """Return for each question the scores of sentences with an answer, and of the others."""
    for label, documents in zip(labels, found, strict=True):
        spans = [(each.start, each.end) for each in label.answers if each.end > each.start]
        own = [one for one in documents if one.meta.get("review_id") == label.review_id]
        if not spans or not own:
            continue
        entries = own[0].meta["sentences"]
        bears = np.array(
            [
                any(start < end and begin < stop for begin, end in spans)
                for start, stop, *_ in entries
            ]
        )
        scores = np.array([score for _, _, score, _, _ in entries])
        if bears.any() and not bears.all():
            yield scores[bears], scores[~bears]


def row_of(pairs: Sequence[tuple[Array, Array]]) -> dict[str, float]:
    """Return the threshold and what passes it."""
    yes, no = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    yes_weight, no_weight = (
        np.concatenate([np.full(len(pair[side]), 1 / len(pair[side])) for pair in pairs])
        / len(pairs)
        for side in (0, 1)
    )
    cuts = np.unique(np.concatenate((yes, no)))

    def passing(scores: Array, weights: Array) -> Array:
        order = np.argsort(scores)
        below = np.concatenate(([0.0], np.cumsum(weights[order])))
        return 1 - below[np.searchsorted(scores[order], cuts)]

    hits, alarms = passing(yes, yes_weight), passing(no, no_weight)
    best = int(np.argmax(hits - alarms))
    return {
        "relevant": float(cuts[best]),
        "with an answer": float(hits[best]),
        "others": float(alarms[best]),
        "difference": float((hits - alarms)[best]),
        **{f"difference at {cut}": _at(cut, cuts, hits - alarms) for cut in (0.3, 0.4, 0.5)},
    }


def _at(cut: float, cuts: Array, values: Array) -> float:
    place = int(np.searchsorted(cuts, cut))
    return float(values[place]) if place < len(values) else 0.0


if __name__ == "__main__":
    sys.exit(main())
