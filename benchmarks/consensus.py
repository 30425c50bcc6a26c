"""What counting costs: the time of a question, and of the pure functions of the consensus.

    python -m benchmarks.consensus

Questions of the bundled sample about items with ten reviews or more, one thread. CPU seconds are
what a machine takes that does nothing else.
"""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time

import numpy as np

from indexing.job import run_job
from qa_system import QASystem, load_settings
from qa_system.consensus.builder import ConsensusBuilder
from qa_system.datasets.subjqa import read_subjqa

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
QUESTIONS = 150
LEAST = 10
BAR = 0.120
ONE_THREAD = {f"{model}.threads": 1 for model in ("encoder", "judge", "reader")}


class Timed(ConsensusBuilder):
    """Measures what embeds the mentions, and what groups and counts them."""

    def __init__(self, builder: ConsensusBuilder) -> None:
        self.__dict__ = builder.__dict__
        self.embedding: list[float] = []
        self.counting: list[float] = []

    def _alike(self, texts):
        start = process_time()
        found = super()._alike(texts)
        self.embedding.append(process_time() - start)
        return found

    def _grouped(self, materials, clauses, surest):
        start = process_time()
        found = super()._grouped(materials, clauses, surest)
        self.counting.append(process_time() - start - self.embedding[-1])
        return found


def asked() -> list[tuple[str, str | None]]:
    read = read_subjqa(SAMPLE)
    reviews = Counter(review.item_id for review in read.reviews)
    found = sorted(
        {(each.question, each.item_id) for each in read.labels if reviews[each.item_id] >= LEAST}
    )
    random.Random(0).shuffle(found)
    return found[:QUESTIONS]


def told(name: str, seconds: list[float], bar: float | None = None) -> None:
    middle, slow = np.percentile(seconds, [50, 95])
    missed = (
        "" if bar is None else f"  (bar {1000 * bar:.0f}: {'met' if slow <= bar else 'missed'})"
    )
    print(f"{name:<40}median {1000 * middle:6.1f} ms   p95 {1000 * slow:6.1f} ms{missed}")


def main() -> None:
    with TemporaryDirectory() as folder:
        over = {"store.path": f"{folder}/store", "indexing.sources": [str(SAMPLE)]}
        settings = load_settings(None, {**over, **ONE_THREAD}, environ={})
        run_job(settings)
        with QASystem.open(settings) as system:
            timed = system._consensus = Timed(system._consensus)
            questions = asked()
            for question, item in questions[:10]:
                system.ask(question, item)
            timed.embedding.clear()
            timed.counting.clear()
            spent, mentions = [], []
            for question, item in questions:
                start = process_time()
                mentions.append(system.ask(question, item).mentions)
                spent.append(process_time() - start)
    print(f"{len(questions)} questions, items of {LEAST} reviews or more, CPU time:")
    told("ask", spent, BAR)
    told("embedding the mentions", timed.embedding)
    told("merging, grouping, counting", timed.counting)
    print(f"mentions: median {np.median(mentions):.0f}, at most {max(mentions)}")


if __name__ == "__main__":
    main()
