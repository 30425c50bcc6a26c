"""F1 over the budget: how many tokens of the best sentences it takes to answer.

    python -m benchmarks.budget --rows budget.json     # SubjQA's held-out items; half an hour
    python -m benchmarks.budget --rows budget.json --draw docs/figures/budget.png

The questions are those of the training splits whose items the bundled reader's recipe held out
(`held_out: 0.1`), so that it has seen neither the questions nor the items. Each is asked of all
reviews of its item. Other reviews than the labelled one may answer a question, too, which counts
as wrong where that one does not: an F1 over all questions is best if hardly any is answered. So
every way of reading gets the threshold with which it abstains on as many unanswerable questions
as whole reviews do, fitted on four fifths of the items and used on the fifth.

A window's logits depend on nothing else in int8, so that each window is computed once for all
budgets; the seconds are measured without that, on a few of the questions.
"""

from __future__ import annotations

import argparse
import os
import sys
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean, median
from time import process_time
from typing import TYPE_CHECKING, Any, ClassVar

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np

if TYPE_CHECKING:
    from haystack import Document

    from qa_system.config import Settings
    from qa_system.records import Label

DATA = Path(os.environ.get("QA_DATA", Path(__file__).parents[2] / "shared" / "data")) / "subjqa"
DOMAINS = ("electronics", "grocery", "restaurants", "tripadvisor")
HELD_OUT = 0.1
BUDGETS = (128, 256, 384, 512, 768, 1024, 2048)
WEIGHTS = (0.5, 0.6)
WHOLE = "whole reviews"
TIMED = 12
"""Questions of a domain whose seconds are measured."""
FOLDS = 5


def main(arguments: list[str] | None = None) -> int:
    """Measure, or draw what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--draw", type=Path)
    parser.add_argument("--questions", type=int, help="of each domain, at most")
    parser.add_argument("--domains", nargs="*", default=DOMAINS)
    chosen = parser.parse_args(arguments)

    import orjson

    if chosen.draw is None:
        if not DATA.is_dir():
            print(f"SubjQA is not at {DATA}: set QA_DATA.", file=sys.stderr)
            return 2
        rows: list[dict[str, Any]] = []
        for domain in chosen.domains:
            rows += measured(domain, chosen.questions)
            chosen.rows.write_bytes(orjson.dumps(rows))
    rows = orjson.loads(chosen.rows.read_bytes())
    points = points_of(rows)
    show(points)
    if chosen.draw is not None:
        draw(points, chosen.draw)
    return 0


def measured(domain: str, most: int | None) -> list[dict[str, Any]]:
    """Ask the held-out questions of a domain in every way; return a row for each answer."""
    from qa_system.config import load_settings

    settings = load_settings(overrides={"reader.threads": 1, "encoder.threads": 1})
    ways = {WHOLE: {"reader.evidence": "reviews"}}
    ways |= {str(weight): {"retriever.bm25_weight": weight} for weight in WEIGHTS}
    labels, found, counts = retrieved(domain, settings, ways, most)
    rows = list(answered(labels, found, settings))
    print(f"{domain}: {len(labels)} questions, {len(counts)} items, {sum(counts.values())} reviews")
    return [{"domain": domain, "reviews": counts[row["item"]], **row} for row in rows]


def retrieved(
    domain: str, settings: Settings, ways: Mapping[str, Mapping[str, Any]], most: int | None
) -> tuple[Sequence[Label], dict[str, list[list[Document]]], Mapping[str, int]]:
    """Retrieve what is read for the held-out questions of a domain.

    Args:
        domain: of SubjQA.
        settings: common to all ways.
        ways: by their names, the settings of each.
        most: questions at most.

    Returns:
        The questions; for each way the documents of each; and how many reviews each item has.
    """
    from eval.datasets import load_dataset
    from eval.tasks.candidates import temporary_index
    from qa_system.config import changed
    from qa_system.datasets.splitting import hold_out
    from qa_system.pipelines import retrieve, to_read
    from qa_system.stores import open_store
    from qa_system.stores.filters import of_item

    data = load_dataset(DATA / domain)
    labels = hold_out(data.labels_of("train"), HELD_OUT)[1][:most]
    items = {label.item_id for label in labels}
    reviews = [review for review in data.reviews if review.item_id in items]
    found: dict[str, list[list[Document]]] = {}
    with (
        temporary_index(reviews, settings, embed=True) as placed,
        open_store(placed.store) as store,
    ):
        for way, own in ways.items():
            pipeline = retrieve(store, to_read(changed(placed, dict(own))))
            found[way] = [
                pipeline.run(
                    {"query": label.question, "filters": of_item(str(label.item_id), None)}
                )["retriever"]["documents"]
                for label in labels
            ]
    return labels, found, Counter(review.item_id for review in reviews)


def answered(
    labels: Sequence[Label], found: Mapping[str, Sequence[Sequence[Document]]], settings: Settings
) -> Iterator[dict[str, Any]]:
    """Read what was found for each question in every way, and score it."""
    from eval.tasks.predictions import Prediction, score_predictions
    from qa_system.models.inference import load_tokenizer
    from qa_system.models.locate import locate
    from qa_system.readers.evidence import windows_of
    from qa_system.readers.extractive import ExtractiveReader
    from qa_system.readers.windows import WindowCutter

    cutter = WindowCutter(load_tokenizer(locate(settings.reader.model).path))
    for way, documents in found.items():
        for budget in [None] if way == WHOLE else BUDGETS:
            reader = ExtractiveReader(
                threads=1,
                budget=budget or 512,
                evidence="reviews" if budget is None else "sentences",
            )
            readings = []
            with remembered(reader):
                for label, each in zip(labels, documents, strict=True):
                    readings += reader.read([label.question], [each], top_k=12)
            scored = score_predictions(labels, [Prediction.of(each) for each in readings])
            for at, (label, row) in enumerate(zip(labels, scored.rows, strict=True)):
                [cut] = windows_of(cutter, [label.question], [documents[at]], budget)
                seconds = None
                if at < TIMED:
                    start = process_time()
                    reader.read([label.question], [documents[at]], top_k=12)
                    seconds = process_time() - start
                yield {
                    "way": way,
                    "budget": budget,
                    "item": label.item_id,
                    "answerable": row.answerable,
                    "f1": row.scores["forced_has_ans_f1"] or 0.0,
                    "log_odds": row.output["log_odds"],
                    "tokens": sum(len(window) for own in cut for window in own),
                    "read": readings[at].read,
                    "seconds": seconds,
                }


class remembered:  # noqa: N801
    """Let a reader compute each window once, as long as this lasts."""

    logits: ClassVar[dict[bytes, Any]] = {}

    def __init__(self, reader: Any) -> None:
        reader.warm_up()
        self._backend = reader._ready().backend
        self._compute = self._backend.logits

    def __enter__(self) -> None:
        def logits(ids: Any, mask: Any, types: Any) -> Any:
            key = ids.tobytes()
            if key not in self.logits:
                self.logits[key] = self._compute(ids, mask, types)
            return self.logits[key]

        self._backend.logits = logits

    def __exit__(self, *_: object) -> None:
        self._backend.logits = self._compute


def points_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[int | None, dict[str, float]]]:
    """Return the scores of each way and budget; the mean over domains, each of the same weight."""
    of_budget: dict[tuple[str, int | None], list[Mapping[str, Any]]] = {}
    for row in rows:
        of_budget.setdefault((row["way"], row["budget"]), []).append(row)
    found: dict[str, dict[int | None, dict[str, float]]] = {}
    for (way, budget), own in of_budget.items():
        found.setdefault(way, {})[budget] = scores_of(own, of_budget[WHOLE, None])
    return found


def scores_of(
    rows: Sequence[Mapping[str, Any]], reference: Sequence[Mapping[str, Any]]
) -> dict[str, float]:
    """Return the scores of answers, with as many abstentions as another way has.

    Args:
        rows: an answer to each question.
        reference: answers to the same questions, which abstain below the reader's own threshold.
    """
    from eval.tasks.calibration import equally_cautious
    from qa_system.models.locate import locate
    from qa_system.readers.calibration import calibration_of

    own = calibration_of(locate("bundled:reader")).threshold
    sizes = Counter(row["domain"] for row in rows)
    weights = np.array([1 / len(sizes) / sizes[row["domain"]] for row in rows])
    odds, others = (
        np.array([-np.inf if row["log_odds"] is None else row["log_odds"] for row in each])
        for each in (rows, reference)
    )
    answerable = np.array([row["answerable"] for row in rows])
    f1 = np.array([row["f1"] for row in rows])
    folds = np.array([zlib.crc32(str(row["item"]).encode()) % FOLDS for row in rows])
    score, thresholds = np.zeros(len(rows)), []
    for fold in range(FOLDS):
        fitted, told = ~answerable & (folds != fold), folds == fold
        share = float(weights[fitted & (others < own)].sum() / weights[fitted].sum())
        thresholds.append(equally_cautious(odds[fitted], weights[fitted], share))
        given = odds[told] >= thresholds[-1]
        score[told] = np.where(answerable[told], f1[told] * given, ~given)
    timed = [row["seconds"] for row in rows if row["seconds"] is not None]
    mean = partial(np.average, weights=weights)
    of_answerable = partial(np.average, weights=weights * answerable)
    return {
        "F1": float(mean(score)),
        "HasAns F1": float(of_answerable(score)),
        "NoAns": float(np.average(score, weights=weights * ~answerable)),
        "forced": float(of_answerable(f1)),
        "threshold": median(thresholds),
        "tokens": float(mean([row["tokens"] for row in rows])),
        "reviews": float(mean([row["read"] for row in rows])),
        "CPU ms": 1000 * fmean(timed) if timed else 0.0,
    }


def show(points: Mapping[str, Mapping[int | None, Mapping[str, float]]]) -> None:
    """Print a table."""
    from eval.report.tables import print_table

    rows = {
        way if budget is None else f"{budget} tokens, {way} of words": dict(scores)
        for way, each in points.items()
        for budget, scores in each.items()
    }
    columns = list(next(iter(rows.values())))
    print_table("F1 over the budget, SubjQA's held-out items", rows, columns, [])


def draw(points: Mapping[str, Mapping[int | None, Mapping[str, float]]], target: Path) -> None:
    """Draw F1 over the tokens that were read."""
    from eval.report.plots.style import DASHES, GREY, legend, panels, styled, to_png

    curves = {way: each for way, each in points.items() if way != WHOLE}
    measures = {"F1": "all questions", "forced": "answerable, an answer forced"}
    with panels(len(measures), height=3.7) as (figure, axes):
        for ax, (measure, title) in zip(axes, measures.items(), strict=True):
            for (way, each), colour, marker in styled(curves):
                ax.plot(
                    [scores["tokens"] for scores in each.values()],
                    [scores[measure] for scores in each.values()],
                    color=colour,
                    marker=marker,
                    label=f"sentences, {float(way):.0%} of the score by words",
                )
            whole = points[WHOLE][None]
            ax.axhline(whole[measure], color=GREY, linestyle=DASHES[0])
            ax.plot([whole["tokens"]], [whole[measure]], "D", color=GREY, label="ten whole reviews")
            ax.set_xscale("log")
            ticks = [128, 256, 512, 1024, 2048]
            ax.set_xticks(ticks, list(map(str, ticks)), minor=False)
            ax.set_xticks([], minor=True)
            ax.set(title=title, xlabel="tokens read for a question", ylim=(0, 0.4))
        axes[0].set_ylabel("F1 (0 to 1)")
        legend(figure, axes[0])
    target.write_bytes(to_png(figure))


if __name__ == "__main__":
    sys.exit(main())
