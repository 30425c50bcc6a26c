"""How people read results: outcomes, comparisons as sentences, texts on one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from eval.metrics import describe

__all__ = [
    "HYBRID_DEPTH",
    "OUTCOMES",
    "SIGNIFICANT",
    "answered",
    "depths_in_words",
    "dotted",
    "in_words",
    "on_one_line",
    "p_value",
]

SIGNIFICANT = 0.05

HYBRID_DEPTH = "The ranking of a hybrid depends on the depth, and with it all its metrics."
OUTCOMES = {
    "right": "right",
    "right_no_answer": "correct abstention",
    "not_retrieved": "gold review not retrieved",
    "not_ranked_first": "answer from another review",
    "wrong_span": "wrong span in the gold review",
    "wrong_no_answer": "wrong abstention",
    "needless_answer": "answer to an unanswerable question",
    "failed": "failed",
}
"""Outcome of `eval.tasks.pipeline` -> how people read it."""


def in_words(comparison: Mapping[str, Any]) -> str:
    """Return a comparison of two systems as a sentence.

    Args:
        comparison: one of those in a summary.

    >>> in_words({"a": "hybrid", "b": "bm25", "metric": "mrr", "difference": 0.03,
    ...           "interval": [0.001, 0.06], "p_holm": 0.04})
    'hybrid is better than bm25 by 0.030 MRR [0.001, 0.060], p = 0.04 after Holm correction'
    >>> in_words({"a": "hybrid", "b": "bm25", "metric": "mrr", "difference": -0.01,
    ...           "interval": None, "p_holm": 0.5})
    'No significant difference between hybrid and bm25: -0.010 MRR, p = 0.5 after Holm correction'
    """
    a, b, difference = comparison["a"], comparison["b"], comparison["difference"]
    metric, p = describe(comparison["metric"]), comparison["p_holm"]
    if difference is None:
        return f"{a} and {b} have no question in common that counts in {metric.label}"
    significant = p is not None and p <= SIGNIFICANT and difference != 0
    # "worse by 0.03" gives the size of the difference, and the interval of the size.
    sign = -1 if significant and difference < 0 else 1
    around = ""
    if comparison["interval"] is not None:
        low, high = sorted(sign * end for end in comparison["interval"])
        around = f" [{metric.shown(low)}, {metric.shown(high)}]"
    test = "too few items for a test" if p is None else f"{p_value(p)} after Holm correction"
    if not significant:
        by = metric.shown(difference, signed=True)
        return f"No significant difference between {a} and {b}: {by} {metric.label}{around}, {test}"
    better = "better" if (difference > 0) == metric.higher_is_better else "worse"
    by = metric.shown(abs(difference))
    return f"{a} is {better} than {b} by {by} {metric.label}{around}, {test}"


def depths_in_words(depths: Mapping[str, float], metrics: Sequence[str]) -> str:
    """Return why retrievers' metrics without a cut-off are not compared.

    Args:
        depths: run -> depth.
        metrics: their names.

    >>> depths_in_words({"before": 10, "after": 20}, ["mrr", "map"])
    'Not compared: MRR, MAP. They depend on the depth, which is 10 in before, 20 in after.'
    """
    names = ", ".join(describe(name).label for name in metrics)
    differing = ", ".join(f"{depth:g} in {run}" for run, depth in depths.items())
    return f"Not compared: {names}. They depend on the depth, which is {differing}."


def p_value(p: float) -> str:
    """Write a p-value with two significant digits.

    >>> p_value(0.0371), p_value(0.00371), p_value(0.0001)
    ('p = 0.037', 'p = 0.0037', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def on_one_line(text: str, longest: int = 40) -> str:
    """Put a text on one line of limited length, without characters that cannot be printed.

    >>> on_one_line("a\\n b"), on_one_line("abcdef", 4)
    ('a b', 'abc…')
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def answered(output: Mapping[str, Any]) -> str | int | None:
    """Return a system's answer, or the rank of the first gold review.

    >>> answered({"prediction": "good"}), answered({"ranked": ["r2", "r1"], "gold": ["r1"]})
    ('good', 2)
    """
    if "prediction" in output or "ranked" not in output:
        prediction: str | None = output.get("prediction")
        return prediction
    gold = set(output["gold"])
    return next((rank for rank, each in enumerate(output["ranked"], 1) if each in gold), None)


def dotted(tree: Mapping[str, Any], stem: str = "") -> Iterator[tuple[str, Any]]:
    """Return nested values by dotted names, as settings are written on a command line.

    >>> dict(dotted({"reader": {"model": "m"}, "seed": 13}))
    {'reader.model': 'm', 'seed': 13}
    """
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{stem}{key}.")
        else:
            yield f"{stem}{key}", value
