"""`qa-eval` with a metric of your own, in its tables and reports.

.venv/bin/python examples/own_metric.py reader --dataset data/sample

An installed package adds its metrics by an entry point in the group `qa_system.metrics` instead.
"""

from eval.cli import main
from eval.metrics import ANSWERABLE, Case, Metric, register


def jaccard(case: Case) -> float:
    """Words that the answer and the nearest right answer share, as a share of all their words."""
    said = set(case.output["prediction"].lower().split())
    right = [set(answer.text.lower().split()) for answer in case.label.answers]
    return max(len(said & words) / len(said | words) for words in right)


JACCARD = Metric(
    name="jaccard",
    label="Jaccard",
    meaning="Words that the answer and the nearest right answer share, as a share of all of them.",
    source="Jaccard, The distribution of the flora in the alpine zone, 1912",
    over=ANSWERABLE,
    score=jaccard,
)


if __name__ == "__main__":
    register(JACCARD)
    main()
