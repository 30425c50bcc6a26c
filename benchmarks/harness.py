"""What the evaluation harness costs on top of the pipeline that it evaluates.

    python -m benchmarks.harness                  # SubjQA electronics test, 358 questions
    python -m benchmarks.harness --questions 50

One run is timed twice over: all of it (asking, scoring, slices, similarity, intervals and tests),
and of that the seconds spent inside `QASystem.examine`, the API that product pages use. The
difference is the harness. Building the store and loading the models are outside both.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

DATA = Path(os.environ.get("QA_DATA", Path(__file__).parents[2] / "shared" / "data")) / "subjqa"
RUNS = 3
BAR = 0.05


class Timed:
    """A `QASystem` that counts the seconds spent in it."""

    def __init__(self, system: Any) -> None:
        self.system = system
        self.reader = system.reader
        self.seconds = 0.0

    def examine(self, questions: Sequence[Any], top_k: int) -> Any:
        start = perf_counter()
        try:
            return self.system.examine(questions, top_k)
        finally:
            self.seconds += perf_counter() - start


def main(arguments: list[str] | None = None) -> int:
    """Print the table; give 1 if the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int)
    chosen = parser.parse_args(arguments)
    if not DATA.is_dir():
        print(f"SubjQA is not at {DATA}: set QA_DATA.", file=sys.stderr)
        return 2

    from eval.datasets import load_dataset
    from eval.report.tables import print_table
    from eval.runs.run import Run
    from eval.runs.slices import slices_of
    from eval.runs.summary import summarise
    from eval.tasks.candidates import temporary_index
    from eval.tasks.pipeline import evaluate_pipeline, headline_of
    from eval.tasks.predictions import baselines_of
    from eval.tasks.run import similarity_of
    from qa_system import QASystem
    from qa_system.config import load_settings

    data = load_dataset(DATA / "electronics")
    labels = data.labels_of("test")[: chosen.questions]
    settings = load_settings(overrides={"reader.precision": "int8", "retriever.top_k": 10})
    rows = {}
    with (
        temporary_index(data.reviews, settings, embed=True) as placed,
        QASystem.open(placed) as system,
    ):
        similarity = similarity_of(settings)
        for number in range(1, RUNS + 1):
            timed = Timed(system)
            start = perf_counter()
            systems, first_read = evaluate_pipeline(
                labels,
                timed,  # type: ignore[arg-type]
                scope="item",
                alone=False,
                slices=slices_of(labels, data),
                similarity=similarity,
            )
            baselines = baselines_of(labels, first_read, settings.seed)
            summarise(Run("pipeline", "f1", headline_of(3), systems, baselines))
            total = perf_counter() - start
            rows[f"run {number}"] = {
                "all s": total,
                "pipeline s": timed.seconds,
                "harness / pipeline": total / timed.seconds - 1,
            }
    cost = median(row["harness / pipeline"] for row in rows.values())
    verdict = "reached" if cost <= BAR else "MISSED"
    print_table(
        f"harness, {len(labels)} questions of SubjQA electronics test, int8, k = 10",
        rows,
        ["all s", "pipeline s", "harness / pipeline"],
        [f"median: {cost:.1%} on top of the pipeline, bar {BAR:.0%}: {verdict}"],
    )
    return int(cost > BAR)


if __name__ == "__main__":
    sys.exit(main())
