"""Domain adaptation: readers trained in several ways, compared on one domain's test split.

Three readers, as in chapter 7 of "Natural Language Processing with Transformers" (Tunstall, von
Werra and Wolf, 2022), and one more: trained on general questions only; on general questions, then
the domain; the same with general questions replayed; on the domain only, from a plain encoder.
"""

from __future__ import annotations

import logging
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson

from eval.adaptation.generated import generated_labels
from eval.adaptation.readers import (
    GENERAL_ONLY,
    Ingredients,
    open_reader,
    reader_settings,
    train_once,
)
from eval.adaptation.summary import against, kept, over_folds, pooled, seen_and_unseen
from eval.report.folder import check_places, save_run
from eval.runs.paired import Resampling
from eval.runs.provenance import made_with
from eval.runs.run import Run, System
from eval.runs.slices import slices_of
from eval.runs.storage import write_files
from eval.runs.summary import summarise
from eval.splitting import SPLITS, division_of, group_of, undivided, write_splits
from eval.tasks.predictions import baselines_of
from eval.tasks.reader import HEADLINE, evaluate_reader
from qa_system.datasets.dataset import Dataset, dataset_of, read_dataset
from qa_system.datasets.splitting import Group, folds, split_labels
from qa_system.errors import ConfigError, DataError, EvaluationError
from qa_system.records import Label
from qa_system.training.recipes import Adaptation, Source

__all__ = ["PAGE", "PLOT", "SUMMARY", "adapt"]

SUMMARY = "summary.json"
PAGE = "adaptation.html"
PLOT = "scores.png"

COMPARED = ("em", "f1", "has_ans_f1", "forced_has_ans_f1")
PRIMARY = "f1"
KEPT = ("f1", "forced_has_ans_f1")
TEST = "test"
HELD_OUT = "held-out"
GENERATED = "generated"

Splits = Mapping[str, Sequence[Label]]

_log = logging.getLogger(__name__)


def adapt(
    data: Dataset,
    ingredients: Ingredients,
    out: Path,
    *,
    held_out: Sequence[Source] = (),
    number_of_folds: int | None = None,
    resamples: int = 10_000,
) -> dict[str, Any]:
    """Adapt a reader to a domain in several ways, and compare the resulting readers.

    Each trained reader has a folder `out/NAME`. Called again, it trains only the readers that are
    missing, and resumes a training that was stopped.

    Args:
        data: the domain, with the splits train, dev and test.
        ingredients: what the readers are trained from.
        out: a folder. It gets the domain's splits as SQuAD JSON (`data/`), generated labels
            (`generated/`), the test split's run
            as `qa-eval reader --out` writes one, `summary.json`, `adaptation.html`, `scores.png`,
            a run for each held-out source (`held-out/`) and the folds (`folds/`).
        held_out: general questions that no reader is trained on: they measure the cost.
        number_of_folds: cross-validation over all splits joined, divided by item; None: none.
        resamples: for each interval and each test.

    Returns:
        The content of `summary.json`.

    Raises:
        EvaluationError: the domain lacks a split, or a held-out question is replayed.
        ConfigError: a recipe that no reader can have, or a folder with other readers.
        QASystemError: a model or data set cannot be read, or `out` not written.
    """
    check_places(out)
    splits = _splits_of(data)
    general = {name: (source, _part_of(source)) for name, source in _named(held_out).items()}
    for source, part in general.values():
        _refuse_trained_on(source, part.labels, ingredients)
    divided = [] if number_of_folds is None else _divided(data, number_of_folds, ingredients.recipe)

    readers, generated = _trained(ingredients, splits, out)
    asked = {TEST: (splits["test"], data)}
    asked |= {name: (part.labels, part) for name, (_, part) in general.items()}
    found, calibrations = _evaluated(readers, ingredients, splits["dev"], asked, general)
    runs = {name: _run(found[name], readers, ingredients, *part) for name, part in asked.items()}
    summaries = {name: summarise(run, resamples=resamples) for name, run in runs.items()}
    _save_runs(runs, summaries, asked, out)
    result = {
        "domain": _about(data, splits),
        "generated": generated,
        "readers": _about_readers(readers, calibrations, summaries[TEST]),
        **_compared(runs[TEST], summaries[TEST], resamples),
        "held_out": {
            name: _cost(source, runs[name], summaries[name], resamples)
            for name, (source, _) in general.items()
        },
        "folds": _cross_validated(divided, ingredients, out / "folds", resamples),
    }
    _write(result, summaries[TEST], out)
    return result


def _save_runs(
    runs: Mapping[str, Run],
    summaries: Mapping[str, Mapping[str, Any]],
    asked: Mapping[str, tuple[Sequence[Label], Dataset]],
    out: Path,
) -> None:
    for name, run in runs.items():
        texts = {review.id: review.text for review in asked[name][1].reviews}
        save_run(run, summaries[name], out if name == TEST else out / HELD_OUT / name, texts)


def _about_readers(
    readers: Mapping[str, str],
    calibrations: Mapping[str, Mapping[str, Any]],
    summary: Mapping[str, Any],
) -> dict[str, Any]:
    return {
        name: {
            "model": model,
            "trained": name != GENERAL_ONLY,
            "calibration": calibrations[name],
            **_numbers(summary["systems"][name]),
        }
        for name, model in readers.items()
    }


def _compared(run: Run, summary: Mapping[str, Any], resamples: int) -> dict[str, Any]:
    resampling = _resampling(run, resamples)
    return {
        "references": {name: _numbers(each) for name, each in summary["references"].items()},
        "headline": list(HEADLINE),
        "primary": PRIMARY,
        "against_general": against(GENERAL_ONLY, run, COMPARED, resampling),
        "against_always_empty": against("always_empty", run, ("em", "f1"), resampling),
        "items": seen_and_unseen(run, resamples=resamples),
        "resampling": summary["resampling"],
        "made_with": summary["made_with"],
    }


def _splits_of(data: Dataset) -> dict[str, tuple[Label, ...]]:
    missing = [split for split in SPLITS if split not in data.splits]
    if missing:
        raise EvaluationError(
            f"the domain has no {' and no '.join(missing)} split",
            where=data.path,
            remedy="Divide it: qa-eval split DATASET --test 0.2 --dev 0.05 --out FILE.json.",
        )
    return {split: data.labels_of(split) for split in SPLITS}


def _part_of(source: Source) -> Dataset:
    data = read_dataset(source.path)
    return replace(data, labels=data.labels_of(source.split))


def _named(sources: Sequence[Source]) -> dict[str, Source]:
    found: dict[str, Source] = {}
    for source in sources:
        stem = Path(source.path).stem.replace(":", "-")
        name = stem if source.split is None else f"{stem}-{source.split}"
        if name in {TEST, *found}:
            raise ConfigError(
                f"{name!r} is the name of another part of the report",
                where=source.path,
                remedy="Name each held-out source once; rename files that have the same name.",
            )
        found[name] = source
    return found


def _refuse_trained_on(source: Source, labels: Sequence[Label], ingredients: Ingredients) -> None:
    """Refuse held-out questions that are replayed in training."""
    trained_on = {
        (label.question, label.context)
        for replayed in (*ingredients.replay, *ingredients.replay_dev)
        for label in _part_of(replayed).labels
    }
    known = sum((label.question, label.context) in trained_on for label in labels)
    if known:
        raise EvaluationError(
            f"{known} of {len(labels)} held-out questions are replayed",
            where=source.path,
            remedy="Hold out others: FILE:test of a file that `qa-eval split` divided.",
        )


def _about(data: Dataset, splits: Splits) -> dict[str, Any]:
    trained_on = {(label.question_id, label.review_id) for label in splits["train"]}
    return {
        "path": data.path,
        "sha256": data.sha256,
        "splits": division_of([label for part in splits.values() for label in part]),
        "test_questions_in_train": sum(
            (label.question_id, label.review_id) in trained_on for label in splits["test"]
        ),
    }


def _trained(
    ingredients: Ingredients, splits: Splits, out: Path
) -> tuple[dict[str, str], dict[str, Any] | None]:
    """Train the readers that are trained.

    Returns:
        Each reader's model, and what is told of generated labels; None: there are none.
    """
    places = write_splits(splits, out / "data")
    generated, told = None, None
    if ingredients.generation is not None:
        generated, told = generated_labels(
            ingredients.generation, splits, ingredients.recipe, out / GENERATED
        )
    trainings = ingredients.trainings(places["train"], places["dev"], generated)
    for number, (name, settings) in enumerate(trainings.items(), start=1):
        _log.info("reader %d of %d: %s", number, len(trainings), name)
        train_once(settings, out / name)
    return {GENERAL_ONLY: ingredients.general} | {name: str(out / name) for name in trainings}, told


def _evaluated(
    readers: Mapping[str, str],
    ingredients: Ingredients,
    dev: Sequence[Label],
    asked: Mapping[str, tuple[Sequence[Label], Dataset]],
    general: Container[str] = (),
) -> tuple[dict[str, dict[str, System]], dict[str, Mapping[str, Any]]]:
    """Evaluate every reader on every part; return the systems, and the readers' calibrations.

    A reader without a calibration gets a threshold that is fitted on the domain's dev split. That
    threshold is not used on `general` questions: the cost of adaptation is measured against the
    general reader without it.
    """
    found: dict[str, dict[str, System]] = {name: {} for name in asked}
    calibrations = {}
    for reader, model in readers.items():
        opened, calibrations[reader] = open_reader(model, ingredients.recipe, dev)
        as_it_is, _ = open_reader(model, ingredients.recipe)
        for name, (labels, of) in asked.items():
            _log.info("%s reads %s", reader, name)
            using = as_it_is if name in general else opened
            found[name][reader] = evaluate_reader(labels, using, slices=slices_of(labels, of))
    return found, calibrations


def _run(
    systems: Mapping[str, System],
    readers: Mapping[str, str],
    ingredients: Ingredients,
    labels: Sequence[Label],
    data: Dataset,
) -> Run:
    recipe = ingredients.recipe
    splits = {label.split for label in labels}
    return Run(
        kind="reader",
        primary=PRIMARY,
        headline=HEADLINE,
        systems=systems,
        baselines=baselines_of(labels, [label.context for label in labels], recipe.seed),
        made_with=made_with(
            reader_settings(ingredients.general, recipe),
            data,
            splits.pop() if len(splits) == 1 else None,
            readers,
            recipe=recipe.model_dump(mode="json"),
            replay=[source.model_dump() for source in ingredients.replay],
        ),
    )


def _cost(source: Source, run: Run, summary: Mapping[str, Any], resamples: int) -> dict[str, Any]:
    resampling = _resampling(run, resamples)
    return {
        "path": source.path,
        "split": source.split,
        "questions": len(resampling.clusters),
        "readers": {name: _numbers(each) for name, each in summary["systems"].items()},
        "kept": {metric: kept(run.systems, GENERAL_ONLY, metric, resampling) for metric in KEPT},
    }


@dataclass(frozen=True)
class _Fold:
    """The splits of one fold of a domain."""

    by: Group
    data: Dataset
    splits: Splits


def _divided(data: Dataset, number: int, recipe: Adaptation) -> list[_Fold]:
    labels = undivided(data.labels)
    by = group_of(labels)
    found = []
    for rest, tested in folds(labels, number, by, seed=recipe.seed):
        try:
            trained = split_labels(rest, by, test=0, dev=recipe.dev_of_fold, seed=recipe.seed)
        except DataError as error:
            raise ConfigError(
                f"a fold has no dev split: {error.what}",
                where="dev_of_fold",
                remedy="Set a larger share, or ask for fewer folds.",
            ) from error
        part = dataset_of(data.path, (*trained, *(replace(each, split="test") for each in tested)))
        found.append(_Fold(by, part, _splits_of(part)))
    return found


def _cross_validated(
    divided: Sequence[_Fold], ingredients: Ingredients, out: Path, resamples: int
) -> dict[str, Any] | None:
    if not divided:
        return None
    found = []
    for number, fold in enumerate(divided, start=1):
        name = f"{number}-of-{len(divided)}"
        _log.info("fold %s", name)
        readers, _ = _trained(ingredients, fold.splits, out / name)
        asked = {name: (fold.splits["test"], fold.data)}
        systems, _ = _evaluated(readers, ingredients, fold.splits["dev"], asked)
        found.append(systems[name])
    made = {"seed": ingredients.recipe.seed}
    together = Run("reader", PRIMARY, HEADLINE, pooled(found), made_with=made)
    resampling = _resampling(together, resamples)
    return {
        "number": len(divided),
        "by": divided[0].by,
        "questions": len(resampling.clusters),
        "readers": over_folds(found, HEADLINE),
        "against_general": against(GENERAL_ONLY, together, COMPARED, resampling),
    }


def _resampling(run: Run, resamples: int) -> Resampling:
    rows = next(iter(run.systems.values())).rows
    return Resampling([row.cluster for row in rows], resamples, int(run.made_with["seed"]))


def _numbers(summary: Mapping[str, Any]) -> dict[str, Any]:
    kinds = ("metrics", "intervals", "questions", "measures", "counts")
    return {kind: summary[kind] for kind in kinds}


def _write(result: Mapping[str, Any], summary: Mapping[str, Any], out: Path) -> None:
    from eval.report.page import adaptation_page
    from eval.report.plots import score_bars, to_png

    bars = score_bars(summary, ("em", "f1", "has_ans_f1", "no_ans_em"))
    files = {out / PAGE: adaptation_page(result, [] if bars is None else [bars]).encode()}
    if bars is not None:
        files[out / PLOT] = to_png(bars.figure)
    files[out / SUMMARY] = orjson.dumps(result, option=orjson.OPT_INDENT_2) + b"\n"
    write_files(files)
