"""What all trainings have in common: a schedule, checkpoints to go on from, measurements, progress.

Importing this module imports transformers.
"""

from __future__ import annotations

import ctypes
import logging
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    ProgressCallback,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME

from qa_system.console.progress import Progress, progress
from qa_system.errors import ModelError, QASystemError
from qa_system.models.checkpoints import reason
from qa_system.training.run import Run, Watch

__all__ = ["Shown", "train"]

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Of glibc's `mallopt` (malloc.h)."""

CHECKPOINT_SECONDS = 600
"""Between two checkpoints, at most; a killed run does so much again."""

_ABOUT_TIME = ("_runtime", "_per_second")
_log = logging.getLogger(__name__)


def train(
    build: Callable[..., Any],
    run: Run,
    *,
    rows: int,
    score: str,
    kind: type[TrainingArguments] = TrainingArguments,
    **options: Any,
) -> list[dict[str, float]]:
    """Train by one of transformers' trainers, or go on where a run into this folder was stopped.

    When all is done, or no better score was measured for `schedule.patience` times, the model
    has the weights with the best one.

    Args:
        build: makes the trainer of `args` and `callbacks`.
        run: where checkpoints stand, how long, how fast, on what.
        rows: that an epoch goes through.
        score: what the weights are chosen by; the larger the better.
        kind: the class of the trainer's arguments.
        options: further arguments of `kind`.

    Returns:
        What was logged: `loss` some hundred times, `eval_<score>` and the like at each
        measurement, each with its `step` and `epoch`.

    Raises:
        ModelError: the model cannot take a step.
    """
    _keep_freed_memory()
    steps = max(round(rows / run.schedule.batch_size * run.schedule.epochs), 1)
    arguments = kind(**_arguments(run, steps, score), **options)
    with progress("training", unit="steps", total=steps) as shown:
        trainer = build(
            args=arguments,
            callbacks=[
                Shown(shown, score),
                EarlyStoppingCallback(run.schedule.patience),
                RegularCheckpoints(),
                *([] if run.watch is None else [Watched(run.watch, score)]),
            ],
        )
        for callback in (PrinterCallback, ProgressCallback):
            trainer.remove_callback(callback)
        has_checkpoint = bool(_whole_checkpoints(run.checkpoints))
        try:
            trainer.train(resume_from_checkpoint=has_checkpoint or None)
        except Exception as error:
            if trainer.state.global_step or isinstance(error, QASystemError | OSError):
                raise
            raise ModelError(  # a model may raise anything
                f"the model ({type(trainer.model).__name__}) cannot take its first step: "
                f"{reason(error)}",
                remedy="Name another model, or set another max_seq_length or batch_size.",
            ) from error
    return list(trainer.state.log_history)


def _whole_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints that a run can go on from; delete those that a kill cut short."""
    whole = []
    for checkpoint in folder.glob("checkpoint-*"):
        try:  # transformers writes it last
            TrainerState.load_from_json(str(checkpoint / TRAINER_STATE_NAME))
        except (FileNotFoundError, ValueError):
            _log.info("%s is incomplete: deleted", checkpoint)
            shutil.rmtree(checkpoint)
        else:
            whole.append(checkpoint)
    return whole


def _arguments(run: Run, steps: int, score: str) -> dict[str, Any]:
    schedule = run.schedule
    every = max(steps // schedule.evaluations, 1)
    return {
        "output_dir": str(run.checkpoints),
        "max_steps": steps,
        "per_device_train_batch_size": schedule.batch_size,
        "learning_rate": schedule.learning_rate,
        "warmup_steps": round(schedule.warmup * steps),
        "lr_scheduler_type": "linear",
        "weight_decay": schedule.weight_decay,
        "max_grad_norm": 1.0,
        "bf16": run.bf16,
        "use_cpu": run.device.type == "cpu",
        "seed": schedule.seed,
        "logging_steps": max(steps // 100, 1),
        "eval_strategy": "steps",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": score,
        "greater_is_better": True,
        "report_to": [],
        "disable_tqdm": True,
    }


class Shown(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Progress by steps, and each measurement as a line of the log.

    Args:
        shown: counts steps.
        score: what is measured; a log entry with `eval_<score>` is a measurement.
    """

    def __init__(self, shown: Progress, score: str) -> None:
        self._shown = shown
        self._score = f"eval_{score}"

    def on_train_begin(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any
    ) -> None:
        """Count the steps that a stopped run had done."""
        self._shown.go_on(state.global_step)

    def on_step_end(
        self, _args: TrainingArguments, _state: TrainerState, _control: TrainerControl, **_: Any
    ) -> None:
        """Count a step."""
        self._shown.advance()

    def on_log(
        self,
        _args: TrainingArguments,
        state: TrainerState,
        _control: TrainerControl,
        logs: Mapping[str, float],
        **_: Any,
    ) -> None:
        """Log what was measured."""
        if self._score in logs:
            _log.info(
                "step %d of %d: %s",
                state.global_step,
                state.max_steps,
                ", ".join(
                    f"{name.removeprefix('eval_')} {value:.3f}"
                    for name, value in logs.items()
                    if name.startswith("eval_") and not name.endswith(_ABOUT_TIME)
                ),
            )


class RegularCheckpoints(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """A checkpoint at least every `CHECKPOINT_SECONDS`, beside those of the measurements."""

    def __init__(self) -> None:
        self._saved = monotonic()

    def on_step_end(
        self, _args: TrainingArguments, _state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Ask for a checkpoint where the last one is old."""
        if monotonic() - self._saved >= CHECKPOINT_SECONDS:
            control.should_save = True

    def on_save(
        self, _args: TrainingArguments, _state: TrainerState, _control: TrainerControl, **_: Any
    ) -> None:
        """Remember when the last checkpoint was written."""
        self._saved = monotonic()


class Watched(TrainerCallback):  # type: ignore[misc]  # transformers is not typed
    """Each measurement, told to whoever follows the run.

    Args:
        watch: is told.
        score: as `Shown` takes it.
    """

    def __init__(self, watch: Watch, score: str) -> None:
        self._watch = watch
        self._score = score

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        _control: TrainerControl,
        logs: Mapping[str, float],
        **_: Any,
    ) -> None:
        """Tell it."""
        if (value := logs.get(f"eval_{self._score}")) is not None:
            self._watch(round(state.global_step / args.eval_steps), self._score, float(value))


def _keep_freed_memory() -> None:
    """Let glibc keep what is freed for the next step, instead of asking the system for it again.

    Activations are large and of ever other sizes: without it a third of the time is spent in the
    kernel (measured on two cores: 3,000 tokens a second against 3,700).
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, -1)  # unsigned there: never
        libc.mallopt(M_TOP_PAD, 1 << 28)
