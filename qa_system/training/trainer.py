"""transformers' `Trainer` with our batches, loss and measurement.

For readers, judges, generators and language models.

Importing this module imports torch and transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from transformers import Trainer, TrainerControl
from transformers.trainer_pt_utils import LengthGroupedSampler

from qa_system.training.loop import train
from qa_system.training.run import Run

__all__ = ["Batch", "TrainingSet", "fit"]

Batch = dict[str, torch.Tensor]
Row = TypeVar("Row")


@dataclass(frozen=True)
class TrainingSet(Generic[Row]):
    """What a model learns from.

    Args:
        rows: what an epoch goes through.
        length: tokens of a row.
        collate: rows -> a batch.
        loss: model and batch -> a scalar.
    """

    rows: Sequence[Row]
    length: Callable[[Row], int]
    collate: Callable[[Sequence[Row]], Batch]
    loss: Callable[[torch.nn.Module, Batch], torch.Tensor]


def fit(
    model: torch.nn.Module,
    learnt: TrainingSet[Row],
    *,
    evaluate: Callable[[], Mapping[str, float]],
    run: Run,
    score: str = "f1",
) -> list[dict[str, float]]:
    """Train a model, or go on where a run into the same folder was stopped.

    Batches hold rows of like length, so that little of them is padding. When all is done, or
    `evaluate` has not found a better score for `schedule.patience` times, the model has the
    weights with the best one.

    Args:
        model: on the run's device.
        learnt: what it learns from.
        evaluate: measures the model as it stands; the score is among what it returns.
        run: where checkpoints stand, how long, how fast.
        score: what the weights are chosen by; the larger the better.

    Returns:
        What was logged: `loss` every so many steps, `eval_<score>` and the like at each
        measurement, each with its `step` and `epoch`.
    """
    return train(
        partial(
            _Trainer,
            length=learnt.length,
            loss=learnt.loss,
            measure=evaluate,
            model=model,
            train_dataset=_Rows(learnt.rows),
            eval_dataset=_Rows(()),
            data_collator=learnt.collate,
        ),
        run,
        rows=len(learnt.rows),
        score=score,
        remove_unused_columns=False,
        label_names=[],
    )


class _Rows(torch.utils.data.Dataset[Row], Generic[Row]):
    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> Row:
        return self.rows[place]


class _Trainer(Trainer):  # type: ignore[misc]  # transformers is not typed
    """The stock trainer with our sampler, loss and measurement."""

    def __init__(
        self,
        *,
        length: Callable[[Any], int],
        loss: Callable[[torch.nn.Module, Batch], torch.Tensor],
        measure: Callable[[], Mapping[str, float]],
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.length_of = length
        self.loss_of = loss
        self.measure = measure
        self.model_accepts_loss_kwargs = False
        self.control: TrainerControl

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        rows = (self.train_dataset if train_dataset is None else train_dataset).rows
        return LengthGroupedSampler(
            self.args.train_batch_size, lengths=[self.length_of(row) for row in rows]
        )

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> torch.Tensor:
        return self.loss_of(model, inputs)

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        self.model.eval()
        with self.autocast_smart_context_manager():
            metrics = {f"eval_{name}": value for name, value in self.measure().items()}
        self.model.train()
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics
