"""How people read what is measured: names of metrics and outcomes, comparisons as sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["OUTCOMES", "answered", "dotted", "in_words", "metric_name", "on_one_line", "p_value"]

SIGNIFICANT = 0.05

OUTCOMES = {
    "right": "right",
    "right_no_answer": "rightly silent",
    "not_retrieved": "gold review not retrieved",
    "not_ranked_first": "answer from another review",
    "wrong_span": "other stretch of the gold review",
    "wrong_no_answer": "silent, though there is an answer",
    "needless_answer": "answer where there is none",
    "failed": "failed",
}
"""Outcome of `eval.tasks.pipeline` -> what it means."""

_NAMES = {
    "em": "EM",
    "f1": "F1",
    "sas": "semantic similarity",
    "mrr": "MRR",
    "map": "MAP",
    "ndcg": "nDCG",
    "hit_rate": "hit rate",
    "answer_recall": "answer recall",
    "gold_posterior": "answer carried by the gold review",
    "gold_top": "gold review carries most",
}


def metric_name(metric: str) -> str:
    """Give a metric the name that people read.

    >>> metric_name("has_ans_f1"), metric_name("hit_rate@3"), metric_name("f1@3")
    ('F1, answerable', 'hit rate@3', 'F1, best of 3')
    """
    stem, at, k = metric.partition("@")
    unforced = stem.removeprefix("forced_")
    kind = ""
    for prefix, questions in (("has_ans_", ", answerable"), ("no_ans_", ", unanswerable")):
        if unforced.startswith(prefix):
            unforced, kind = unforced.removeprefix(prefix), questions
    name = _NAMES.get(unforced, unforced.replace("_", " "))
    if at:
        kind = f", best of {k}" if unforced in {"em", "f1"} else f"@{k}"
    return name + kind + (", forced" if unforced != stem and "forced_" in metric else "")


def in_words(comparison: Mapping[str, Any]) -> str:
    """Say what a comparison of two systems found, and whether it is more than luck.

    Args:
        comparison: one of those in a summary.

    >>> in_words({"a": "hybrid", "b": "bm25", "metric": "mrr", "difference": 0.03,
    ...           "interval": [0.001, 0.06], "p_holm": 0.04})
    'hybrid is better than bm25 by 0.030 MRR [0.001, 0.060], p = 0.04 after Holm'
    >>> in_words({"a": "hybrid", "b": "bm25", "metric": "mrr", "difference": -0.01,
    ...           "interval": None, "p_holm": 0.5})
    'hybrid and bm25 cannot be told apart: MRR differs by -0.010, p = 0.5 after Holm'
    """
    a, b, difference = comparison["a"], comparison["b"], comparison["difference"]
    name, interval, p = (
        metric_name(comparison["metric"]),
        comparison["interval"],
        comparison["p_holm"],
    )
    if difference is None:
        return f"{a} and {b} have no question in common that counts in {name}"
    told_apart = p is not None and p <= SIGNIFICANT and difference != 0
    # Said as "worse by 0.03", the interval is that of the size.
    sign = -1 if told_apart and difference < 0 else 1
    around = ""
    if interval is not None:
        low, high = sorted(sign * end for end in interval)
        around = f" [{low:.3f}, {high:.3f}]"
    test = "too few items for a test" if p is None else f"{p_value(p)} after Holm"
    if not told_apart:
        return (
            f"{a} and {b} cannot be told apart: {name} differs by {difference:+.3f}{around}, {test}"
        )
    better = "better" if difference > 0 else "worse"
    return f"{a} is {better} than {b} by {abs(difference):.3f} {name}{around}, {test}"


def p_value(p: float) -> str:
    """Write a p-value with as many digits as it is worth.

    >>> p_value(0.0371), p_value(0.00371), p_value(0.0001)
    ('p = 0.037', 'p = 0.0037', 'p < 0.001')
    """
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def on_one_line(text: str, longest: int = 40) -> str:
    """Put anybody's text on one line of limited length, without what cannot be printed.

    >>> on_one_line("a\\n b"), on_one_line("abcdef", 4)
    ('a b', 'abc…')
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def answered(output: Mapping[str, Any]) -> str | int | None:
    """Give what a system said in short: its answer, or the rank of the first gold review.

    >>> answered({"prediction": "good"}), answered({"ranked": ["r2", "r1"], "gold": ["r1"]})
    ('good', 2)
    """
    if "prediction" in output or "ranked" not in output:
        prediction: str | None = output.get("prediction")
        return prediction
    gold = set(output["gold"])
    return next((rank for rank, each in enumerate(output["ranked"], 1) if each in gold), None)


def dotted(tree: Mapping[str, Any], stem: str = "") -> Iterator[tuple[str, Any]]:
    """Give nested values by dotted names, as settings are written on a command line.

    >>> dict(dotted({"reader": {"model": "m"}, "seed": 13}))
    {'reader.model': 'm', 'seed': 13}
    """
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from dotted(value, f"{stem}{key}.")
        else:
            yield f"{stem}{key}", value
