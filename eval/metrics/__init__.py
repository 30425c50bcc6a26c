"""Metrics: what each of them is, how a question is scored, and how to add one.

`definitions.py` has ours. `register`, or an entry point in the group `qa_system.metrics`, adds one
from anywhere else.
"""

from eval.metrics.metric import (
    ALL,
    ANSWERABLE,
    ANSWERED,
    ANSWERED_ANSWERABLE,
    UNANSWERABLE,
    Case,
    Metric,
    Population,
    Task,
    expect_all,
    score_all,
)
from eval.metrics.registry import added_names, describe, markdown_table, metrics_of, register

__all__ = [
    "ALL",
    "ANSWERABLE",
    "ANSWERED",
    "ANSWERED_ANSWERABLE",
    "UNANSWERABLE",
    "Case",
    "Metric",
    "Population",
    "Task",
    "added_names",
    "describe",
    "expect_all",
    "markdown_table",
    "metrics_of",
    "register",
    "score_all",
]
