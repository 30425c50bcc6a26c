"""The data of a page's table of questions: what each system answered, and how it scored.

Questions, answers and reviews are users' words: they are embedded as JSON that cannot end its
element, and the page's script inserts them as text nodes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from eval.metrics import describe
from eval.report.rendering import embedded
from eval.runs.run import Run, hardest_first
from eval.runs.wording import OUTCOMES, answered

__all__ = ["flips_data", "run_data"]

RANKED = 20
"""Reviews of a ranking that a page shows; rows.jsonl has all of them."""


def run_data(run: Run, texts: Mapping[str, str]) -> Any:
    """Return the data of a run's questions, the hardest first, and of the reviews to show.

    Args:
        run: its rows are shown.
        texts: review id -> text.

    Returns:
        JSON as markup, for a `script` element.
    """
    systems = list(run.systems)
    ordered = [row for _, row in hardest_first(run)]
    together = [ordered[at : at + len(systems)] for at in range(0, len(ordered), len(systems))]
    questions = (
        (
            asdict(rows[0]),
            [
                _answer(row.output, row.scores, row.error, run.primary, bool(row.references))
                for row in rows
            ],
        )
        for rows in together
    )
    return embedded({**_table(systems, run.primary, questions), "texts": _texts(run, texts)})


def flips_data(pair: Mapping[str, Any], metric: str) -> Any:
    """Return the data of a pair's changed questions, the baseline first."""
    return embedded(
        _table(
            [pair["b"], pair["a"]],
            metric,
            (
                (
                    flip,
                    [
                        _answer(side["output"], side["scores"], side["error"], metric, counts=True)
                        for side in (flip["before"], flip["after"])
                    ],
                )
                for flip in pair["flips"]
            ),
        )
    )


def _table(
    systems: Sequence[str],
    metric: str,
    questions: Iterable[tuple[Mapping[str, Any], list[dict[str, Any]]]],
) -> dict[str, Any]:
    listed = list(questions)
    features = list(dict.fromkeys(feature for asked, _ in listed for feature in asked["slices"]))
    return {
        "systems": systems,
        "metric": describe(metric).label,
        "better": 1 if describe(metric).higher_is_better else -1,
        "outcomes": OUTCOMES,
        "features": features,
        "texts": {},
        "questions": [
            {
                "rank": rank,
                "id": asked["question_id"],
                "split": asked["split"],
                "question": asked["question"],
                "item": asked["item_id"],
                "review": asked["review_id"],
                "references": asked["references"],
                "slices": [asked["slices"].get(feature) for feature in features],
                "change": asked.get("change"),
                "systems": answers,
            }
            for rank, (asked, answers) in enumerate(listed, start=1)
        ],
    }


def _answer(
    output: Mapping[str, Any],
    scores: Mapping[str, float | None],
    error: str | None,
    metric: str,
    counts: bool,
) -> dict[str, Any]:
    shown = dict(output)
    for name in ("ranked", "scores"):
        if shown.get(name) is not None:
            shown[name] = shown[name][:RANKED]
    return {
        "said": answered(output),
        "ranks": "ranked" in output and "prediction" not in output,
        "counts": counts,
        "score": scores.get(metric),
        "outcome": output.get("outcome"),
        "scores": {name: score for name, score in scores.items() if score is not None},
        "output": shown,
        "error": error,
    }


def _texts(run: Run, texts: Mapping[str, str]) -> dict[str, str]:
    wanted: dict[str, None] = {}
    for system in run.systems.values():
        for row in system.rows:
            said = row.output
            wanted |= dict.fromkeys((row.review_id, *said.get("gold", ())))
            wanted |= dict.fromkeys(said.get("ranked", ())[:1])
            wanted |= dict.fromkeys(answer["review_id"] for answer in said.get("answers", ()))
    return {review: texts[review] for review in wanted if review in texts}
