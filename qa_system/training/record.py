"""What a training run leaves beside the weights: how they were made, a card, and a curve."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson

from qa_system.datasets.dataset import Dataset
from qa_system.errors import ConfigError
from qa_system.inference import load_tokenizer
from qa_system.models import TRAINING, ModelLocation, locate, weights_sha256
from qa_system.training.settings import Training

__all__ = ["claim", "keep_tokenizer", "made_of", "origin_of", "versions", "write_record"]

FORMAT = 1
CHECKPOINTS = "checkpoints"
RECIPE = "recipe.json"
PACKAGES = ("qa-system", "torch", "transformers", "sentence-transformers", "numpy", "tokenizers")

History = Sequence[Mapping[str, float]]
"""What was logged: `loss`, or measurements as `eval_...`; each with its `step`."""


def claim(out: str | Path, settings: Training) -> Path:
    """Take a folder for a training run, or take up the run that was stopped there.

    Args:
        out: the folder.
        settings: of the run.

    Returns:
        The folder.

    Raises:
        ConfigError: it holds a trained model, a run with other settings or from other weights, or
            something that no run has left there.
        ModelError: a model that the settings name is not there.
    """
    out = Path(out)
    if (out / TRAINING).is_file():
        raise ConfigError(
            "the folder holds a trained model",
            where=str(out),
            remedy="Name another folder, or delete this one.",
        )
    recipe = out / CHECKPOINTS / RECIPE
    if not recipe.is_file() and any(not path.is_dir() for path in out.rglob("*")):
        raise ConfigError(
            "the folder holds files, and no run was stopped in it",
            where=str(out),
            remedy="Name another folder: the model's files would replace those of the same name.",
        )
    told = {"settings": settings.model_dump(mode="json"), "models": made_of(settings)}
    if recipe.is_file() and (stopped := orjson.loads(recipe.read_bytes())) != told:
        other = "other settings" if stopped.get("settings") != told["settings"] else "other weights"
        raise ConfigError(
            f"a run with {other} was stopped in this folder",
            where=str(recipe),
            remedy="Go on as it began, name another folder, or delete this one.",
        )
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_bytes(_dumps(told))
    return out


def made_of(settings: Training) -> dict[str, str]:
    """Give the digest of each model's weights that a recipe names, by what it is to the run.

    Raises:
        ModelError: one is not there.
        MissingDependencyError: one is on the Hub, and huggingface_hub is not installed.
    """
    return {role: weights_sha256(locate(name)) for role, name in settings.models().items()}


def origin_of(dataset: Dataset, split: str | None, questions: int) -> dict[str, Any]:
    """Say what a run took from a data set."""
    return {
        "path": dataset.path,
        "split": split,
        "sha256": dataset.sha256,
        "questions": questions,
    }


def write_record(
    out: Path,
    *,
    task: str,
    settings: Training,
    data: Iterable[Mapping[str, Any]],
    scores: Mapping[str, Any],
    history: History,
    seconds: float,
    **further: Any,
) -> dict[str, Any]:
    """Write `training.json`, `README.md` and `curve.png`, and drop the run's checkpoints.

    Args:
        out: what `claim` gave: the model's folder.
        task: `reader`, `retriever`, ...
        settings: the recipe.
        data: what was learnt from and measured on, as `origin_of` says it.
        scores: the model's, on dev.
        history: what was logged.
        seconds: that the run took.
        further: more for `training.json`, for example `calibration`.

    Returns:
        What `training.json` holds.
    """
    record = {
        "format": FORMAT,
        "task": task,
        "command": " ".join(["qa", *sys.argv[1:]]),
        "settings": settings.model_dump(mode="json"),
        # As `claim` found them: they may be gone by now.
        "models": orjson.loads((out / CHECKPOINTS / RECIPE).read_bytes())["models"],
        "data": list(data),
        "scores": dict(scores),
        **further,
        "seconds": round(seconds, 1),
        "versions": dict(versions()),
        "history": list(history),
    }
    (out / "README.md").write_text(_card(out.name, record), encoding="utf-8")
    _draw(history, out / "curve.png")
    # The record last: a folder with one is complete.
    (out / TRAINING).write_bytes(_dumps(record))
    shutil.rmtree(out / CHECKPOINTS, ignore_errors=True)
    return record


def keep_tokenizer(source: ModelLocation, out: Path) -> None:
    """Put a model's tokenizer beside the weights that were made from it."""
    load_tokenizer(source.path).save(str(out / "tokenizer.json"), pretty=False)
    config = source.path / "tokenizer_config.json"
    if config.is_file():
        (out / config.name).write_bytes(config.read_bytes())


def versions() -> Iterable[tuple[str, str]]:
    """Give name and version of what a model is made with, so far as it is installed."""
    for name in PACKAGES:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _dumps(tree: Any) -> bytes:
    return orjson.dumps(tree, option=orjson.OPT_INDENT_2) + b"\n"


def _card(name: str, record: Mapping[str, Any]) -> str:
    start = record["settings"]["model"]
    made = (
        f"A {record['task']}, trained by `{record['command']}` from `{start}` "
        f"(weights {record['models']['model'][:12]}) in {record['seconds'] / 60:,.0f} minutes. "
        "`training.json` has the settings, the digests of data and models, and the versions; "
        "`curve.png` the loss and the scores on dev."
    )
    lines = [
        f"# {name}",
        "",
        made,
        "",
        "| learnt from, measured on | split | questions | sha256 |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {origin['path']} | {origin['split'] or 'all'} | {origin['questions']:,} "
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
