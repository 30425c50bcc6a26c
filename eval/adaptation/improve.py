"""New labels -> a reader that is adapted to them, and serves if it is better."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from eval.adaptation.collecting import digest_of, joined
from eval.adaptation.decision import (
    ABSTAINING,
    ELSEWHERE,
    GUARD,
    HELD_OUT,
    NEW,
    OLD,
    Rule,
    Verdict,
    decide,
    items_for,
    least_items,
)
from eval.adaptation.division import Division, Side, divide, group_of, without
from eval.adaptation.readers import WITH_REPLAY, Ingredients, train_once
from eval.adaptation.refitting import carry_over, check_fit, refit
from eval.adaptation.versions import MODEL, Decision, Version, Versions
from eval.runs.run import System
from eval.runs.storage import make_folder
from eval.tasks.predictions import ALWAYS_EMPTY, baselines_of
from eval.tasks.reader import evaluate_reader
from qa_system.config import Settings, changed
from qa_system.console.wording import counted
from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.jsonl import write_labels_jsonl
from qa_system.errors import DataError
from qa_system.models.locate import SAMPLE, ModelLocation, locate
from qa_system.records import Label
from qa_system.training.recipes import Adaptation, Source

__all__ = ["Improvement", "improve"]

DEV = 0.2
"""Share of the items that are learnt from on which the training is measured and calibrated."""

LEAST_LEARNT = 3
"""Items of which that share is one."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Improvement:
    """How a reader is improved.

    Args:
        recipe: of the training.
        rule: when the new reader is promoted.
        replay: general questions, which are learnt again and guarded.
        start: the checkpoint to train; None: the reader that serves.
        least: new labels that are needed.
        share: of the items to hold out, of labels as of replayed questions.
        keep: whether the weights of a refused version are kept.
        marked: files of questions that are labelled over all reviews of their item, on which the
            confidence of answers is fitted to a reader before it is promoted.
    """

    recipe: Adaptation
    rule: Rule = field(default_factory=Rule)
    replay: tuple[Source, ...] = (Source(path=SAMPLE),)
    start: str | None = None
    least: int = 20
    share: float = 0.4
    keep: bool = False
    marked: tuple[str, ...] = ()


def improve(
    labels: Sequence[Label], folder: Path, how: Improvement, settings: Settings
) -> dict[str, Any]:
    """Adapt the reader that serves to labels, and promote the result if it is better.

    A command that was killed is taken up where it was if it is called with the same labels.

    Args:
        labels: all there are; those that an earlier version was made with are known from its
            record.
        folder: of the versions. If it is new, the reader of the settings becomes version 1.
        how: what is done.
        settings: as users run the system; of the reader, what both are measured with.

    Returns:
        `decision` (`nothing new`, `promoted` or `refused`), `serving` (the version), `new_labels`,
        and of a new version its `record` and `confidence`, what is known of the fit of answers.

    Raises:
        DataError: there are too few new labels, or too few items.
        ConfigError: another command works on the versions, or the error that the settings promise
            could not be kept.
        ModelError: the reader cannot be trained further.
        QASystemError: a data set or a store cannot be read.
    """
    versions = Versions(folder)
    with versions.locked():
        serving, known = versions.serving(), versions.all()
        used = {digest for each in known for digest in each.record["labels"]}
        digests = sorted({digest_of(label) for label in labels})
        new = [digest for digest in digests if digest not in used]
        if not new and serving is not None:
            _clear(folder)
            return {"decision": "nothing new", "serving": serving.number, "new_labels": 0}
        _refuse_few(len(new), how)
        check_fit(settings, how.marked)
        attempt = _attempt(joined(labels), known, how)
        serving = serving or versions.adopt(locate(settings.reader.model))
        work = _workplace(folder, digests, serving, how)
        verdict, staged = _made(attempt, work, versions, how, settings)
        confidence = None
        if verdict.promoted:
            confidence = refit(settings, str(versions.link), str(staged / MODEL), how.marked)
        elif not how.keep:
            shutil.rmtree(staged / MODEL)
        decision: Decision = "promoted" if verdict.promoted else "refused"
        version = versions.add(staged, decision, _record(attempt, verdict, digests, work, how))
        shutil.rmtree(work)
    return {
        "decision": decision,
        "serving": version.number if verdict.promoted else serving.number,
        "new_labels": len(new),
        "record": {key: each for key, each in version.record.items() if key != "labels"},
        "confidence": confidence,
    }


@dataclass(frozen=True)
class _Attempt:
    """What one version is made of.

    Args:
        labels: divided.
        replay: what is replayed, divided into that and the guard.
        sides: what the labels of each role were about, in this version and in earlier ones.
    """

    labels: Division
    replay: Division
    sides: Mapping[str, Side]


def _refuse_few(new: int, how: Improvement) -> None:
    if new < how.least:
        raise DataError(
            f"{counted(new, 'new label')}; {how.least} are needed, {how.least - new} more",
            remedy="Label more, or ask for fewer: qa-eval improve --least NUMBER.",
        )


def _attempt(labels: Sequence[Label], known: Sequence[Version], how: Improvement) -> _Attempt:
    """Divide labels and replayed questions as either were divided before."""
    seed, rule = how.rule.seed, how.rule
    before = {role: _before(known, role) for role in ("learnt", "held_out", "replayed", "guard")}
    learnt_from = before["learnt"] | before["replayed"]
    tested_on = before["held_out"] | before["guard"]
    divided = divide(labels, how.share, seed, learnt=learnt_from, held_out=tested_on)
    there = {group_of(label) for label in divided.held_out}
    if len(there) < least_items(rule.level):
        items = len({group_of(label) for label in labels})
        needed = items_for(rule.level, how.share)
        raise DataError(
            f"the labels are about {counted(items, 'item')}; {needed} are needed, of which "
            f"{least_items(rule.level)} are held out: with fewer, no difference is significant",
            remedy=f"Label reviews of {counted(max(needed - items, 1), 'item')} more.",
        )
    learnt = {group_of(label) for label in divided.learnt}
    if len(learnt) < LEAST_LEARNT:
        raise DataError(
            f"{counted(len(learnt), 'item')} with labels are not held out; {LEAST_LEARNT} are "
            "needed to learn from and to calibrate on",
            remedy="Name old labels, too, or label reviews of other items.",
        )
    general = [label for source in how.replay for label in _read(source)]
    replay = divide(
        without(joined(general), labels),
        how.share,
        seed,
        learnt=learnt_from,
        held_out=tested_on,
    )
    if not replay.learnt or not replay.held_out:
        raise DataError(
            "nothing is left to replay, or to guard, of items that have no new labels",
            where=", ".join(source.path for source in how.replay),
            remedy="Name general questions about other items: qa-eval improve --replay DATASET.",
        )
    now = {
        "learnt": divided.learnt,
        "held_out": divided.held_out,
        "replayed": replay.learnt,
        "guard": replay.held_out,
    }
    return _Attempt(
        divided, replay, {role: before[role] | Side.of(each) for role, each in now.items()}
    )


def _before(known: Sequence[Version], role: str) -> Side:
    """Return what the labels of a role were about in any version."""
    items, texts = (
        frozenset(each for version in known for each in version.record.get(key, {}).get(role, ()))
        for key in ("items", "texts")
    )
    return Side(items, texts)


def _read(source: Source) -> tuple[Label, ...]:
    return read_dataset(source.path).labels_of(source.split)


def _workplace(folder: Path, digests: Sequence[str], serving: Version, how: Improvement) -> Path:
    """Return the folder of this attempt; what other attempts have left is removed."""
    about = [digests, serving.number, how.recipe.model_dump(mode="json"), how.start, how.share]
    about += [how.rule.seed, [source.model_dump() for source in how.replay]]
    name = f".work-{hashlib.sha256(orjson.dumps(about)).hexdigest()[:16]}"
    _clear(folder, but=name)
    make_folder(folder / name)
    return folder / name


def _clear(folder: Path, but: str | None = None) -> None:
    for work in folder.glob(".work-*"):
        if work.name != but:
            shutil.rmtree(work)


def _made(
    attempt: _Attempt, work: Path, versions: Versions, how: Improvement, settings: Settings
) -> tuple[Verdict, Path]:
    """Train the new reader, export it, and compare it with the one that serves."""
    from qa_system.export.onnx import export_model

    ingredients = _ingredients(attempt, work, versions, how)
    training = ingredients.trainings(work / "train.jsonl", work / "dev.jsonl")[WITH_REPLAY]
    train_once(training, work / "reader")
    staged = work / "version"
    shutil.rmtree(staged, ignore_errors=True)
    _log.info("exporting")
    export_model(work / "reader", staged / MODEL, task="reader")
    readers = {NEW: str(staged / MODEL), OLD: str(versions.link)}
    carry_over(locate(readers[OLD]), locate(readers[NEW]))
    questions = {HELD_OUT: attempt.labels.held_out, GUARD: attempt.replay.held_out}
    compared = {
        name: {role: _evaluated(asked, model, settings) for role, model in readers.items()}
        for name, asked in questions.items()
    }
    compared[HELD_OUT] |= _controls(attempt.labels.held_out, readers[NEW], how, settings)
    return decide(compared, how.rule), staged


def _ingredients(
    attempt: _Attempt, work: Path, versions: Versions, how: Improvement
) -> Ingredients:
    """Write what is learnt from, and what the training is measured on."""
    seed = how.rule.seed
    own = divide(attempt.labels.learnt, DEV, seed)
    general = divide(attempt.replay.learnt, DEV, seed)
    files = {
        "train": own.learnt,
        "dev": own.held_out,
        "replay": general.learnt,
        "replay-dev": general.held_out,
    }
    for name, labels in files.items():
        write_labels_jsonl(labels, work / f"{name}.jsonl")
    return Ingredients(
        general=how.start or _checkpoint(locate(str(versions.link)), work / "start"),
        start=None,
        replay=(Source(path=str(work / "replay.jsonl")),),
        replay_dev=(Source(path=str(work / "replay-dev.jsonl")),) if general.held_out else (),
        recipe=how.recipe,
    )


def _checkpoint(serving: ModelLocation, folder: Path) -> str:
    """Return a checkpoint of the reader that serves."""
    if serving.format == "torch":
        return str(serving.path)
    from qa_system.export.restore import restore_reader

    if not (folder / "config.json").is_file():
        temporary = folder.with_suffix(".tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        restore_reader(serving, temporary)
        temporary.rename(folder)
    return str(folder)


def _controls(
    labels: Sequence[Label], model: str, how: Improvement, settings: Settings
) -> dict[str, System]:
    """Return what a reader must be better than that has learnt to answer the questions."""
    texts = [label.context for label in labels]
    controls = {ABSTAINING: baselines_of(labels, texts, how.rule.seed)[ALWAYS_EMPTY]}
    if len({label.question for label in labels}) > 1:
        controls[ELSEWHERE] = _evaluated(_asked_otherwise(labels), model, settings)
    return controls


def _asked_otherwise(labels: Sequence[Label]) -> tuple[Label, ...]:
    """Return each label with a question of another one; the answers stay."""
    questions = list(dict.fromkeys(label.question for label in labels))
    other = dict(zip(questions, questions[1:] + questions[:1], strict=True))
    return tuple(replace(label, question=other[label.question]) for label in labels)


def _evaluated(labels: Sequence[Label], model: str, settings: Settings) -> System:
    from qa_system.pipelines import build_reader

    reader = build_reader(changed(settings, {"reader.model": model}))
    reader.warm_up()
    return evaluate_reader(labels, reader)


def _record(
    attempt: _Attempt, verdict: Verdict, digests: Sequence[str], work: Path, how: Improvement
) -> dict[str, Any]:
    trained: Mapping[str, Any] = orjson.loads((work / "reader" / "training.json").read_bytes())
    labels, replay = attempt.labels, attempt.replay
    return {
        "reasons": list(verdict.reasons),
        "rule": asdict(how.rule),
        "comparison": verdict.numbers,
        "questions": {
            "learnt": len(labels.learnt),
            "held_out": len(labels.held_out),
            "replayed": len(replay.learnt),
            "guard": len(replay.held_out),
        },
        "recipe": how.recipe.model_dump(mode="json"),
        "training": {key: trained[key] for key in ("scores", "calibration", "models", "seconds")},
        "items": {role: sorted(side.items) for role, side in attempt.sides.items()},
        "texts": {role: sorted(side.texts) for role, side in attempt.sides.items()},
        "labels": list(digests),
    }
