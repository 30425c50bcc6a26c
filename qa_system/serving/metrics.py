"""What Prometheus reads at `/metrics`, of all workers together.

`prometheus_client` keeps the numbers of several processes in the folder that
`PROMETHEUS_MULTIPROC_DIR` names, and looks for that variable when it is imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

from qa_system.records import Answers

__all__ = ["Metrics", "kind_of"]

SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SHARES: Final = tuple(tenth / 10 for tenth in range(1, 11))
POLAR: Final = re.compile(
    r"(am|are|can|could|did|do|does|had|has|have|is|may|might|must|should|was|were|will|would)(n)?"
)
WORDS: Final = frozenset(("how", "what", "when", "where", "which", "who", "why"))


def kind_of(question: str) -> str:
    """Return what a question asks for: a word such as `how`, `yes_no` or `other`.

    >>> kind_of("Is it loud?"), kind_of("How is the zip?"), kind_of("battery life")
    ('yes_no', 'how', 'other')
    """
    first = re.match(r"\W*([a-z]+)", question.lower())
    if first is None:
        return "other"
    if POLAR.fullmatch(first[1]):
        return "yes_no"
    return first[1] if first[1] in WORDS else "other"


class Metrics:
    """The counters, histograms and gauges of a worker."""

    def __init__(self) -> None:
        # The registry takes no numbers itself: they are read from the folder of all workers.
        own = CollectorRegistry()
        self._requests = Histogram(
            "qa_request_seconds",
            "Time of a request.",
            ("route", "status"),
            buckets=SECONDS,
            registry=own,
        )
        self._stages = Histogram(
            "qa_stage_seconds",
            "Time of a stage, of a batch of questions.",
            ("stage",),
            buckets=SECONDS,
            registry=own,
        )
        self._batches = Histogram(
            "qa_batch_questions",
            "Questions that were read together.",
            buckets=(1, 2, 4, 8, 16, 32),
            registry=own,
        )
        self._questions = Counter(
            "qa_questions", "Questions that were read.", ("kind", "outcome"), registry=own
        )
        self._scores = Histogram(
            "qa_score",
            "Score of the best answer found, given or withheld.",
            buckets=SHARES,
            registry=own,
        )
        self._cache = Counter(
            "qa_cache", "Questions looked for in the cache.", ("outcome",), registry=own
        )
        self._cache_bytes = Gauge(
            "qa_cache_bytes", "Bytes in the cache.", multiprocess_mode="livesum", registry=own
        )
        self._waiting = Gauge(
            "qa_queue_questions",
            "Questions that wait.",
            multiprocess_mode="livesum",
            registry=own,
        )

    def observe_request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).observe(seconds)

    def observe_batch(self, answers: Iterable[Answers]) -> None:
        """Count questions that were read together."""
        listed = list(answers)
        self._batches.observe(len(listed))
        for stage, seconds in listed[0].timings.items():
            self._stages.labels(stage).observe(seconds)
        for each in listed:
            outcome = "error" if each.error is not None else "answered"
            if each.decision is not None and each.decision.abstains:
                outcome = "abstained"
            self._questions.labels(kind_of(each.question), outcome).inc()
            if each.decision is not None and each.decision.score is not None:
                self._scores.observe(each.decision.score)

    def count_cache(self, hits: int, misses: int, kept: int) -> None:
        """Count what was looked for in the cache, which holds so many bytes."""
        self._cache.labels("hit").inc(hits)
        self._cache.labels("miss").inc(misses)
        self._cache_bytes.set(kept)

    def set_waiting(self, questions: int) -> None:
        """Say how many questions wait."""
        self._waiting.set(questions)

    def exposition(self) -> bytes:
        """Return the numbers of all workers, in Prometheus's text format."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
