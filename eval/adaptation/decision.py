"""Whether a new reader takes the place of the one that serves: better, and nothing else worse."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.runs.paired import Resampling, compare_pairs
from eval.runs.run import System
from qa_system.console.wording import counted

__all__ = [
    "ABSTAINING",
    "ELSEWHERE",
    "GUARD",
    "HELD_OUT",
    "NEW",
    "OLD",
    "Rule",
    "Verdict",
    "decide",
    "items_for",
    "least_items",
]

NEW, OLD = "new", "serving"
ABSTAINING = "abstaining"
ELSEWHERE = "another question"
HELD_OUT = "held-out questions"
GUARD = "guard questions"
PRIMARY = "f1"
BETTER_THAN = {
    OLD: "the reader that serves",
    ABSTAINING: "a reader that always abstains",
    ELSEWHERE: "the same reader that is asked another question about the text",
}
"""What the F1 on held-out questions must be better than. A reader that is better than the one that
serves may have learnt from wrong labels how many questions have no answer, and what annotators
mark whatever is asked; the other two comparisons tell."""

WATCHED = {HELD_OUT: ("has_ans_f1",), GUARD: ("f1", "has_ans_f1")}
"""What must not be worse than with the reader that serves."""

WORDS = {"f1": "F1", "has_ans_f1": "F1 on the questions with an answer"}

Compared = Mapping[str, Mapping[str, System]]
"""Set of questions -> `new`, `serving`, ... -> how they are answered."""


@dataclass(frozen=True, slots=True)
class Rule:
    """When a new reader is promoted.

    Args:
        level: the probability, at most, that a reader that is no better is promoted: of the
            one-sided paired permutation test, in which an item's questions change sides together.
        margin: by how much a watched mean may be lower.
        resamples: of the test, and of the intervals.
        seed: of the draws.
    """

    level: float = 0.05
    margin: float = 0.03
    resamples: int = 10_000
    seed: int = 13


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was decided.

    Args:
        promoted: whether the new reader takes the place of the one that serves.
        reasons: in words and numbers, those first that are about what must be better.
        numbers: set of questions -> each comparison as JSON values, with the one-sided `p`.
    """

    promoted: bool
    reasons: tuple[str, ...]
    numbers: Mapping[str, Sequence[Mapping[str, Any]]]


def least_items(level: float) -> int:
    """Return the fewest held-out items with which a difference can be significant.

    A sign for each item makes 2 to the power of their number, and one of these is that all changed
    for the better.

    >>> least_items(0.05), least_items(0.01)
    (5, 7)
    """
    return math.ceil(-math.log2(level))


def items_for(level: float, share: float) -> int:
    """Return the fewest items of which a share is enough to hold out.

    >>> items_for(0.05, 0.4)
    12
    """
    items = 1
    while round(share * items) < least_items(level):
        items += 1
    return items


def decide(compared: Compared, rule: Rule) -> Verdict:
    """Compare the new reader with the one that serves.

    Args:
        compared: `HELD_OUT` and `GUARD`, each answered by both readers, and of `HELD_OUT` what else
            is in `BETTER_THAN`; what is not there is not asked for.
        rule: when it is promoted.
    """
    numbers = {name: _numbers(systems, rule) for name, systems in compared.items()}
    accepted, reasons = [], []
    for each in numbers[HELD_OUT]:
        if each["metric"] == PRIMARY:
            is_better = each["difference"] > 0 and each["p"] <= rule.level
            accepted.append(is_better)
            reasons.append(_about_better(each, rule, is_better=is_better))
    for name, metrics in WATCHED.items():
        for each in numbers[name]:
            is_watched = each["b"] == OLD and each["metric"] in metrics
            if is_watched and each["difference"] is not None:
                is_worse = each["difference"] < -rule.margin
                accepted.append(not is_worse)
                reasons.append(_about_watched(name, each, rule, is_worse=is_worse))
    return Verdict(all(accepted), tuple(reasons), numbers)


def _numbers(systems: Mapping[str, System], rule: Rule) -> list[dict[str, Any]]:
    clusters = [row.cluster for row in systems[NEW].rows]
    found = compare_pairs(
        [(NEW, name) for name in systems if name != NEW],
        {name: each.scores for name, each in systems.items()},
        tuple(WORDS),
        Resampling(clusters, rule.resamples, rule.seed),
    )
    return [{**each, "items": len(set(clusters)), "p": _one_sided(each)} for each in found]


def _one_sided(compared: Mapping[str, Any]) -> float | None:
    """Return the probability of so good a difference, or a better one, by chance."""
    p = compared["p_permutation"]
    if p is None:
        return None
    return float(p / 2 if compared["difference"] > 0 else 1 - p / 2)


def _about_better(compared: Mapping[str, Any], rule: Rule, *, is_better: bool) -> str:
    told = "better" if is_better else "not better with confidence"
    return (
        f"{told} than {BETTER_THAN[compared['b']]}: {_means(HELD_OUT, compared)}; "
        f"p = {compared['p']:.3g} ({counted(compared['items'], 'item')}), "
        f"accepted up to {rule.level:g}"
    )


def _about_watched(name: str, compared: Mapping[str, Any], rule: Rule, *, is_worse: bool) -> str:
    return (
        f"{'worse' if is_worse else 'not worse'} than {BETTER_THAN[OLD]}: "
        f"{_means(name, compared)}; a loss is accepted up to {rule.margin:g}"
    )


def _means(name: str, compared: Mapping[str, Any]) -> str:
    new, old = compared["means"]
    interval = compared["interval"]
    between = "" if interval is None else f" [{interval[0]:+.3f}, {interval[1]:+.3f}]"
    return (
        f"{WORDS[compared['metric']]} {new:.3f} against {old:.3f}, "
        f"{compared['difference']:+.3f}{between}, on {compared['questions']} {name}"
    )
