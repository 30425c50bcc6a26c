"""What a training run leaves beside the weights: how they were made, a card, and a curve."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import monotonic
from typing import Any

import orjson

from qa_system.datasets.dataset import Dataset
from qa_system.models.inference import load_tokenizer
from qa_system.models.locate import TRAINING, ModelLocation
from qa_system.training.run import Run

__all__ = ["keep_tokenizer", "origin_of", "versions", "write_record"]

FORMAT = 1
PACKAGES = ("qa-system", "torch", "transformers", "sentence-transformers", "numpy", "tokenizers")

History = Sequence[Mapping[str, float]]
"""Logged values: `loss`, or measurements as `eval_...`; each with its `step`."""


def origin_of(dataset: Dataset, split: str | None, questions: int) -> dict[str, Any]:
    """Return what the record says of a data set and the split of it that a run took."""
    return {
        "path": dataset.path,
        "split": split,
        "sha256": dataset.sha256,
        "questions": questions,
    }


def write_record(
    run: Run,
    *,
    task: str,
    data: Iterable[Mapping[str, Any]],
    scores: Mapping[str, Any],
    history: History,
    **further: Any,
) -> dict[str, Any]:
    """Write `training.json`, `README.md` and `curve.png`, and delete the run's checkpoints.

    Args:
        run: that is done.
        task: `reader`, `retriever`, ...
        data: what was learnt from and measured on, as `origin_of` returns it.
        scores: the model's, on dev.
        history: what was logged.
        further: more for `training.json`, for example `calibration`.

    Returns:
        The content of `training.json`.
    """
    # The digests are those of the run's beginning: the models may be gone by now.
    begun = orjson.loads(run.recipe.read_bytes())
    record = {
        "format": FORMAT,
        "task": task,
        "command": " ".join(["qa", *sys.argv[1:]]),
        "settings": begun["settings"],
        "models": begun["models"],
        "data": list(data),
        "scores": dict(scores),
        **further,
        "seconds": round(monotonic() - run.started, 1),
        "versions": dict(versions()),
        "history": list(history),
    }
    (run.folder / "README.md").write_text(_card(run.folder.name, record), encoding="utf-8")
    _draw(history, run.folder / "curve.png")
    # The record last: a folder with one is complete.
    content = orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n"
    (run.folder / TRAINING).write_bytes(content)
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    return record


def keep_tokenizer(source: ModelLocation, out: Path) -> None:
    """Copy a model's tokenizer to the folder of the weights that were made from it."""
    load_tokenizer(source.path).save(str(out / "tokenizer.json"), pretty=False)
    config = source.path / "tokenizer_config.json"
    if config.is_file():
        (out / config.name).write_bytes(config.read_bytes())


def versions() -> Iterable[tuple[str, str]]:
    """Yield name and version of the installed packages that a model is made with."""
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _card(name: str, record: Mapping[str, Any]) -> str:
    start = record["settings"]["model"]
    made = (
        f"A {record['task']}, trained by `{record['command']}` from `{start}` "
        f"(weights {record['models']['model'][:12]}) in {record['seconds'] / 60:,.0f} minutes. "
        "`training.json` has the settings, the digests of data and models, and the versions; "
        "`curve.png` the loss and the scores on dev."
    )
    counted = "reviews" if record["task"] == "language-model" else "questions"
    lines = [
        f"# {name}",
        "",
        made,
        "",
        f"| learnt from, measured on | split | {counted} | sha256 |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {origin['path']} | {origin['split'] or 'all'} | {origin[counted]:,} "
        f"| {origin['sha256'][:12]} |"
        for origin in record["data"]
    ]
    lines += ["", "| on dev | |", "| --- | --- |"]
    lines += [
        f"| {key} | {value:.3f} |" if isinstance(value, float) else f"| {key} | {value} |"
        for key, value in record["scores"].items()
    ]
    return "\n".join([*lines, ""])


def _draw(history: History, path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return  # the numbers are in the record; a drawing needs qa-system[report]
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    learnt = [entry for entry in history if "loss" in entry]
    losses.plot([entry["step"] for entry in learnt], [entry["loss"] for entry in learnt], lw=1)
    losses.set(xlabel="step", title="loss")
    measured = [entry for entry in history if any(key.startswith("eval_") for key in entry)]
    for key in dict.fromkeys(key for entry in measured for key in entry):
        values = [entry.get(key) for entry in measured]
        if key.startswith("eval_") and all(
            value is not None and 0 <= value <= 1 for value in values
        ):
            steps = [entry["step"] for entry in measured]
            scores.plot(steps, values, marker="o", ms=3, label=key.removeprefix("eval_"))
    scores.set(xlabel="step", title="on dev")
    if measured:
        scores.legend(frameon=False, fontsize=8)
    for axes in (losses, scores):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
