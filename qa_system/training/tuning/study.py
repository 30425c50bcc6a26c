"""A search that can be stopped and shared: trials in SQLite, each trained in a folder of its own.

Optuna chooses the values (TPE; Bergstra et al., Algorithms for Hyper-Parameter Optimization, 2011)
and ends trials early that are worse than the median of the others at the same measurement.

A trial belongs to the process that holds the trial's lock. The system takes the lock from a process
that ends, however it ends; the next one that looks for work goes on with that trial, from its last
checkpoint. Choosing values and taking a lock is one step, under the lock of the study.
"""

from __future__ import annotations

import hashlib
import logging
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson
from filelock import FileLock, Timeout

from qa_system.errors import (
    ConfigError,
    MissingDependencyError,
    ModelError,
    QASystemError,
)
from qa_system.models.checkpoints import reason
from qa_system.models.locate import TRAINING
from qa_system.training.run import watched
from qa_system.training.tuning.kinds import trainer_of
from qa_system.training.tuning.record import write_drawing, write_study
from qa_system.training.tuning.space import Search, Value

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.pruners import BasePruner

__all__ = ["Pruner", "tune"]

Pruner = Literal["median", "none"]

SEARCH: Final = "search.json"
TRIALS: Final = "trials.sqlite"
LOCK: Final = "study.lock"
NAME: Final = "qa tune"
WAIT_SECONDS: Final = 60.0
"""For another process that writes to the database."""
ATTEMPTS: Final = 3
"""Of a trial between two measurements."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Taken:
    """A trial that this process holds."""

    trial: Trial
    values: Mapping[str, Value]
    lock: FileLock


def tune(
    search: Search,
    out: str | Path,
    *,
    trials: int,
    seed: int = 13,
    pruner: Pruner = "median",
    startup: int = 5,
) -> dict[str, Any]:
    """Search, or go on with the search in the folder, until it has so many trials.

    Several processes may search in one folder. A trial that fails is counted with its error, and
    the search goes on.

    Args:
        search: what is tried.
        out: the folder; a trial's own is `out/trials/NUMBER`, where the best one's model stays.
        trials: of the whole search, by all processes, with those that were pruned or failed.
        seed: of the choice of values; recipes have a seed of their own.
        pruner: `median`: a trial ends when its best score so far is below the median of the
            other trials' scores at the same measurement. `none`: every trial is trained to its end.
        startup: trials that are complete before one may be ended.

    Returns:
        The content of `study.json`.

    Raises:
        MissingDependencyError: optuna, or what training needs, is not installed.
        ConfigError: the folder holds another search.
        ModelError: no trial was completed.
    """
    out = Path(out).absolute()
    study = _opened(out, search, seed, pruner, startup)
    while (taken := _take(study, search, out, trials, seed)) is not None:
        try:
            _train(study, search, taken, _folder_of(out, taken.trial.number))
        finally:
            taken.lock.release()
        with FileLock(out / LOCK):
            _forget_models(study, out)
            write_study(study, search, out)
    with FileLock(out / LOCK):
        record = write_study(study, search, out)
        write_drawing(record, out)
    if record["best"] is None and not record["counts"]["running"]:
        first = next((each["error"] for each in record["trials"] if each["error"]), "none was run")
        raise ModelError(
            f"none of {len(record['trials'])} trials was completed: {first}",
            where=str(out),
            remedy="Mend the recipe or the space, and name a new folder.",
        )
    return record


def _opened(out: Path, search: Search, seed: int, pruner: Pruner, startup: int) -> Study:
    optuna = _optuna()
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / LOCK):
        _claim(out, search, {"seed": seed, "pruner": pruner, "startup": startup})
        study: Study = optuna.create_study(
            study_name=NAME,
            storage=optuna.storages.RDBStorage(
                f"sqlite:///{out / TRIALS}",
                engine_kwargs={"connect_args": {"timeout": WAIT_SECONDS}},
            ),
            direction="maximize",
            load_if_exists=True,
            pruner=_pruner(pruner, startup),
        )
        own = search.own_values()
        if own and not study.get_trials(deepcopy=False):
            study.enqueue_trial(own)
    return study


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise MissingDependencyError(
            f"a search needs the package {error.name!r}",
            remedy="Install it: pip install 'qa-system[tune]'.",
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _pruner(name: Pruner, startup: int) -> BasePruner:
    from optuna.pruners import MedianPruner, NopPruner

    return MedianPruner(n_startup_trials=startup) if name == "median" else NopPruner()


def _claim(out: Path, search: Search, told: Mapping[str, Any]) -> None:
    """Write down what is searched, or compare it with what the folder's search is."""
    wanted = {
        "kind": search.kind,
        "recipe": search.tree,
        "space": {key: each.model_dump(exclude_none=True) for key, each in search.space.items()},
        **told,
    }
    content = orjson.dumps(wanted, option=orjson.OPT_INDENT_2) + b"\n"
    path = out / SEARCH
    if not path.is_file():
        if any(file.name != LOCK for file in out.iterdir()):
            raise ConfigError(
                "the folder holds files, and no search was begun in it",
                where=str(out),
                remedy="Name a new or an empty folder.",
            )
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(content)
        unfinished.replace(path)
    elif (there := orjson.loads(path.read_bytes())) != orjson.loads(content):
        different = [key for key in wanted if there.get(key) != orjson.loads(content)[key]]
        raise ConfigError(
            f"the folder holds a search with another {', another '.join(different)}",
            where=str(path),
            remedy="Go on as it began, or name another folder.",
        )


def _take(study: Study, search: Search, out: Path, trials: int, seed: int) -> _Taken | None:
    """Take a trial that another process left, or a new one; None: there are enough."""
    from optuna.samplers import TPESampler
    from optuna.trial import Trial, TrialState

    with FileLock(out / LOCK):
        known = study.get_trials(deepcopy=False)
        for frozen in known:
            if frozen.state == TrialState.RUNNING:
                lock = _lock_of(out, frozen.number)
                if _held(lock):
                    _log.info("trial %d goes on where it was stopped", frozen.number)
                    trial = Trial(study, frozen._trial_id)
                    return _Taken(trial, _values(trial, search), lock)
        begun = sum(frozen.state != TrialState.WAITING for frozen in known)
        if begun >= trials:
            return None
        # A seed for each trial: a search that goes on chooses what it would have chosen.
        study.sampler = TPESampler(seed=_seed_of(seed, begun))
        trial = study.ask()
        lock = _lock_of(out, trial.number)
        lock.acquire()
        return _Taken(trial, _values(trial, search), lock)


def _seed_of(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:4], "big")


def _values(trial: Trial, search: Search) -> dict[str, Value]:
    return {key: each.suggested(trial, key) for key, each in search.space.items()}


def _lock_of(out: Path, number: int) -> FileLock:
    folder = out / "locks"
    folder.mkdir(exist_ok=True)
    return FileLock(folder / f"{number:04d}.lock", thread_local=False)


def _held(lock: FileLock) -> bool:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    return True


def _folder_of(out: Path, number: int) -> Path:
    return out / "trials" / f"{number:04d}"


def _train(study: Study, search: Search, taken: _Taken, folder: Path) -> None:
    """Train a trial's model, and tell the study how good it became."""
    from optuna import TrialPruned
    from optuna.trial import TrialState

    trial = taken.trial
    shown = ", ".join(f"{key} {value}" for key, value in taken.values.items())
    _log.info("trial %d: %s", trial.number, shown)
    measured = dict(study.get_trials(deepcopy=False)[trial.number].intermediate_values)
    started = monotonic()

    def watch(number: int, score: str, value: float) -> None:
        study.set_user_attr("score", score)
        if number not in measured:
            measured[number] = value
            trial.report(value, number)
        if trial.should_prune():
            raise TrialPruned

    state, value, error = TrialState.COMPLETE, None, None
    try:
        _count_begun(trial, len(measured))
        if not (folder / TRAINING).is_file():
            with watched(watch):
                trainer_of(search.kind)(_trained_by(search, taken.values, folder), folder)
        value = max((each for each in measured.values() if math.isfinite(each)), default=None)
        if value is None:
            state, error = TrialState.FAIL, "no score is a number"
    except TrialPruned:
        state = TrialState.PRUNED
    except MissingDependencyError:
        raise
    except (QASystemError, RuntimeError, ValueError, MemoryError) as raised:
        state, error = TrialState.FAIL, reason(raised)
        _log.warning("trial %d failed: %s", trial.number, error)
    trial.set_user_attr("seconds", round(monotonic() - started, 1))
    if error is not None:
        trial.set_user_attr("error", error)
    study.tell(trial, value, state)


def _count_begun(trial: Trial, measurements: int) -> None:
    """Refuse a trial in which process after process ended before it measured anything more."""
    begun = [*trial.user_attrs.get("begun", ()), measurements]
    if begun.count(measurements) > ATTEMPTS:
        raise ModelError(f"{ATTEMPTS} processes ended in this trial, as one without memory does")
    trial.set_user_attr("begun", begun)


def _trained_by(search: Search, values: Mapping[str, Value], folder: Path) -> Any:
    """Return a trial's recipe; students share what the teacher says of a window."""
    recipe = search.recipe(values)
    if search.kind == "distill" and getattr(recipe, "soft_targets", None) is None:
        shared = folder.parents[1] / "soft-targets"
        return recipe.model_copy(update={"soft_targets": str(shared)})
    return recipe


def _forget_models(study: Study, out: Path) -> None:
    """Delete the models of all trials that are done, but for the best one's; keep their records."""
    from optuna.trial import TrialState

    done = [each for each in study.get_trials(deepcopy=False) if each.state.is_finished()]
    complete = [each for each in done if each.state == TrialState.COMPLETE]
    best = max(complete, key=lambda each: each.value or 0.0, default=None)
    for each in done:
        folder = _folder_of(out, each.number)
        if each is best or not folder.is_dir():
            continue
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != TRAINING:
                path.unlink()
