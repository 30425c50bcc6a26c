"""Learning curves: how good a reader becomes with so many labels, and what helps where few are.

The figure is that of chapter 9 of "Natural Language Processing with Transformers" (Tunstall, von
Werra and Wolf, 2022): a line for each way to train, over the number of labels.

All that is known of a domain's labels counts: those by which training stops and the reader is
calibrated are a share of the labels of a point, not more of them.
"""

from __future__ import annotations

import hashlib
import logging
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import stdev
from typing import Annotated, Any, Final

import numpy as np
import orjson
from pydantic import Field

from eval.adaptation.readers import open_reader, train_once
from eval.adaptation.subsets import nested, taught_and_tuned
from eval.report.plots import require_matplotlib
from eval.runs.paired import Resampling, compare_pairs
from eval.runs.run import Row, Scores
from eval.runs.storage import make_folder, write_files
from eval.splitting import undivided, write_splits
from eval.tasks.predictions import baselines_of
from eval.tasks.reader import evaluate_reader
from qa_system.datasets.dataset import Dataset, read_dataset
from qa_system.errors import ConfigError, EvaluationError, ModelError
from qa_system.models.locate import locate, weights_sha256
from qa_system.records import Label
from qa_system.training.recipes import ReaderRecipe, ReaderTraining, Source
from qa_system.training.sources import unasked

__all__ = ["CURVE", "METRICS", "PLAIN", "CurveRecipe", "Plan", "learning_curve"]

CURVE: Final = "curve.json"
POINT: Final = "point.json"
PLAIN: Final = "plain"
METRICS: Final = ("f1", "forced_has_ans_f1", "has_ans_f1", "em")
"""The first two are drawn."""
REFERENCES: Final = ("always_empty", "human")

_log = logging.getLogger(__name__)


class CurveRecipe(ReaderRecipe):
    """How `qa-eval curve` trains its readers: all alike, but for where they start and what from."""

    tuned_on: Annotated[float, Field(gt=0, le=0.5)] = 0.2
    """Share of a point's labels that training stops by and the reader is calibrated on."""


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Args:
        model: where the plain reader starts: an encoder, or a reader.
        starts: other models to start from, by the name of their line.
        extras: data sets that are learnt from beside the labels, by the name of their line.
        replay: what every reader learns from beside the labels.
        sizes: numbers of labels; None: all.
        seeds: how often each point is repeated, with other labels and another seed.
        recipe: how all of them are trained.

    Raises:
        ConfigError: two lines have one name, or there is nothing to repeat.
    """

    model: str
    starts: Mapping[str, str] = field(default_factory=dict)
    extras: Mapping[str, str] = field(default_factory=dict)
    replay: tuple[Source, ...] = ()
    sizes: tuple[int | None, ...] = (0, 50, 200, None)
    seeds: int = 3
    recipe: CurveRecipe = field(default_factory=CurveRecipe)

    def __post_init__(self) -> None:
        names = [PLAIN, *self.starts, *self.extras]
        if len(set(names)) < len(names) or not all(map(str.strip, names)):
            raise ConfigError(
                f"the lines {', '.join(map(repr, names))} need a name each",
                remedy=f"Name them otherwise; {PLAIN!r} is the line of the model itself.",
            )

    def lines(self) -> dict[str, tuple[str, str | None]]:
        """Return the model and the extra data of each line: every start, with every extra or none.

        >>> list(Plan("m", {"adapted": "a"}, {"generated": "g.jsonl"}).lines())
        ['plain', 'adapted', 'generated', 'adapted + generated']
        """
        starts = {PLAIN: self.model, **self.starts}
        found: dict[str, tuple[str, str | None]] = {
            name: (model, None) for name, model in starts.items()
        }
        for extra, path in self.extras.items():
            for start, model in starts.items():
                found[extra if start == PLAIN else f"{start} + {extra}"] = (model, path)
        return found


@dataclass(frozen=True)
class _Point:
    """A reader to train and to measure."""

    line: str
    model: str
    extra: str | None
    labels: int
    seed: int
    folder: Path


def learning_curve(
    data: Dataset, plan: Plan, out: Path, *, resamples: int = 10_000
) -> dict[str, Any]:
    """Train a reader for each line, number of labels and seed, and measure it on the test split.

    Subsets are nested, with items in proportion; every line has the same labels at a point. Called
    again, it measures only the points that are missing, and resumes a training that was stopped.

    Args:
        data: with a split test; all other labels are those that can be had. Those that test asks
            about the same review are left out.
        plan: what is compared.
        out: a folder. It gets `curve.json`, `curve.svg` and `curve.png`, and `points/`.
        resamples: for each interval and each test; items are resampled.

    Returns:
        The content of `curve.json`.

    Raises:
        EvaluationError: there is no test split.
        ConfigError: there are fewer labels than asked for, or the folder has points made otherwise.
        QASystemError: a model or data set cannot be read, or `out` not written.
    """
    require_matplotlib()
    make_folder(out)
    test, pool = _divided(data)
    sizes = _sizes(plan.sizes, len(pool), data.path)
    found: dict[str, dict[int, list[list[Row]]]] = {}
    left_out: dict[tuple[str, int], str] = {}
    points = list(_points(plan, sizes, out))
    for number, point in enumerate(points, start=1):
        _log.info(
            "point %d of %d: %s, %d labels, seed %d",
            *(number, len(points), point.line, point.labels, point.seed),
        )
        try:
            rows = _measured(point, data, plan, pool, test)
        except _NoReader as error:
            left_out[point.line, point.labels] = str(error)
            continue
        found.setdefault(point.line, {}).setdefault(point.labels, []).append(rows)
    result = {
        **_summarised(found, Resampling(_clusters(test), resamples, plan.recipe.seed)),
        "data": {
            "path": data.path,
            "sha256": data.sha256,
            "labels": len(pool),
            "test_questions": len(test),
        },
        "sizes": sizes,
        "seeds": plan.seeds,
        "left_out": [
            {"line": line, "labels": labels, "why": why} for (line, labels), why in left_out.items()
        ],
        "references": _references(test, plan.recipe.seed),
        "made_with": _made_with(plan),
    }
    _write(result, out)
    return result


class _NoReader(Exception):
    """There is no reader at a point, and why."""


def _divided(data: Dataset) -> tuple[tuple[Label, ...], tuple[Label, ...]]:
    if "test" not in data.splits:
        raise EvaluationError(
            "the data set has no test split",
            where=data.path,
            remedy="Divide it: qa-eval split DATASET --test 0.2 --dev 0.05 --out FILE.json.",
        )
    test = data.labels_of("test")
    rest = undivided(label for label in data.labels if label.split != "test")
    return test, unasked(rest, test)


def _sizes(asked: Sequence[int | None], there: int, where: str) -> list[int]:
    sizes = sorted({there if size is None else size for size in asked})
    if not sizes or sizes[-1] > there:
        raise ConfigError(
            f"{sizes[-1] if sizes else 'no'} labels are asked for, and there are {there:,} beside "
            "those of the test split",
            where=where,
            remedy="Name smaller numbers, or all.",
        )
    return sizes


def _points(plan: Plan, sizes: Sequence[int], out: Path) -> Iterator[_Point]:
    """Yield the points of one seed after the other, so that a curve is whole early."""
    for seed in range(plan.seeds):
        for labels in sizes:
            for line, (model, extra) in plan.lines().items():
                folder = out / "points" / _folder_of(line) / f"{labels}-{seed}"
                yield _Point(line, model, extra, labels, plan.recipe.seed + seed, folder)


def _folder_of(line: str) -> str:
    digest = hashlib.sha256(line.encode()).hexdigest()[:6]
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', line)[:40]}-{digest}"


def _measured(
    point: _Point, data: Dataset, plan: Plan, pool: Sequence[Label], test: Sequence[Label]
) -> list[Row]:
    """Train a reader and measure it, or return what was measured.

    Raises:
        _NoReader: nothing is learnt from, and the model is no reader yet.
    """
    made_of = _made_of(point, data, plan)
    path = point.folder / POINT
    if path.is_file():
        known = orjson.loads(path.read_bytes())
        if known["made_of"] != made_of:
            different = [key for key in made_of if known["made_of"].get(key) != made_of[key]]
            raise ConfigError(
                f"the point there was made with other {', '.join(different)}",
                where=str(path),
                remedy="Name another folder, or delete the folder of the points.",
            )
        scores = known["scores"]
        return [Row.of(label, each, {}) for label, each in zip(test, scores, strict=True)]
    model, is_trained = _model_of(point, plan, pool)
    try:
        reader, _ = open_reader(model, plan.recipe)
    except ModelError as error:
        if is_trained:
            raise
        raise _NoReader(f"without labels {point.model} is no reader: {error.what}") from error
    rows = evaluate_reader(test, reader).rows
    scores = [{metric: row.scores[metric] for metric in METRICS} for row in rows]
    make_folder(point.folder)
    write_files({path: orjson.dumps({"made_of": made_of, "scores": scores})})
    if is_trained:
        shutil.rmtree(model)
    return list(rows)


def _model_of(point: _Point, plan: Plan, pool: Sequence[Label]) -> tuple[str, bool]:
    """Train the reader of a point; where nothing is learnt from, it is the model itself."""
    taught, tuned = taught_and_tuned(nested(pool, point.seed), point.labels, plan.recipe.tuned_on)
    further = [*plan.replay, *([] if point.extra is None else [Source(path=point.extra)])]
    if not taught and not further:
        return point.model, False
    if tuned:
        places = write_splits({"train": taught, "dev": tuned}, point.folder / "data")
        train = (Source(path=str(places["train"])), *further)
        dev: tuple[Source, ...] = (Source(path=str(places["dev"])),)
    else:  # a share of what there is instead
        held_out = {"held_out": plan.recipe.tuned_on}
        train = (*further[:-1], further[-1].model_copy(update=held_out))
        dev = ()
    shared = plan.recipe.model_dump(include=set(ReaderRecipe.model_fields))
    recipe = ReaderTraining.model_validate(
        {**shared, "model": point.model, "train": train, "dev": dev, "seed": point.seed}
    )
    train_once(recipe, point.folder / "model")
    return str(point.folder / "model"), True


def _made_of(point: _Point, data: Dataset, plan: Plan) -> dict[str, Any]:
    """Return what a point's numbers depend on, as JSON values."""
    further = [source.path for source in plan.replay]
    further += [] if point.extra is None else [point.extra]
    return {
        "labels": [point.labels, point.seed],
        "weights": weights_sha256(locate(point.model)),
        "data": [data.sha256, *(read_dataset(path).sha256 for path in further)],
        "replay": [source.model_dump(mode="json", exclude={"path"}) for source in plan.replay],
        "settings": plan.recipe.model_dump(mode="json"),
    }


def _clusters(test: Sequence[Label]) -> list[str]:
    return [Row.of(label, {}, {}).cluster for label in test]


def _summarised(
    found: Mapping[str, Mapping[int, Sequence[Sequence[Row]]]], resampling: Resampling
) -> dict[str, Any]:
    """Return each line's points, and each line against the plain one."""
    scores = {
        (line, labels): _over_seeds(runs)
        for line, points in found.items()
        for labels, runs in points.items()
    }
    lines: dict[str, list[dict[str, Any]]] = {line: [] for line in found}
    for (line, labels), each in scores.items():
        of_seeds = [_table(rows).means() for rows in found[line][labels]]
        lines[line].append(
            {
                "labels": labels,
                "metrics": each.means(),
                "intervals": dict(
                    zip(each.metrics, resampling.intervals(each.values), strict=True)
                ),
                "of_seeds": {
                    metric: [means[metric] for means in of_seeds] for metric in each.metrics
                },
                "sd_of_seeds": {
                    metric: _spread([means[metric] for means in of_seeds])
                    for metric in each.metrics
                },
            }
        )
    named = {_name(line, labels): each for (line, labels), each in scores.items()}
    pairs = [
        (_name(line, labels), _name(PLAIN, labels))
        for line, labels in scores
        if line != PLAIN and (PLAIN, labels) in scores
    ]
    return {
        "lines": lines,
        "against_plain": compare_pairs(pairs, named, METRICS[:2], resampling),
        "resampling": resampling.to_dict(),
    }


def _name(line: str, labels: int) -> str:
    return f"{line}, {labels:,} labels"


def _table(rows: Sequence[Row]) -> Scores:
    values = [[row.scores[metric] for metric in METRICS] for row in rows]
    return Scores(METRICS, np.array(values, dtype=np.float64))


def _over_seeds(runs: Sequence[Sequence[Row]]) -> Scores:
    """Return each question's mean over the seeds."""
    return Scores(METRICS, np.mean([_table(rows).values for rows in runs], axis=0))


def _spread(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return stdev(known) if len(known) > 1 else None


def _references(test: Sequence[Label], seed: int) -> dict[str, dict[str, float | None]]:
    systems = baselines_of(test, [label.context for label in test], seed)
    return {
        name: {metric: systems[name].metrics.get(metric) for metric in METRICS}
        for name in REFERENCES
        if name in systems
    }


def _made_with(plan: Plan) -> dict[str, Any]:
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "lines": {
            line: {"model": model, "extra": extra} for line, (model, extra) in plan.lines().items()
        },
        "replay": [source.model_dump(mode="json") for source in plan.replay],
        "recipe": plan.recipe.model_dump(mode="json"),
    }


def _write(result: Mapping[str, Any], out: Path) -> None:
    from eval.report.plots import learning_curves, to_png, to_svg

    figure = learning_curves(result).figure
    write_files(
        {
            out / "curve.png": to_png(figure),
            out / "curve.svg": _file_of(to_svg(figure, "curve", ink="#000000")),
            out / CURVE: orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n",
        }
    )


def _file_of(svg: str) -> bytes:
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + svg.encode()
