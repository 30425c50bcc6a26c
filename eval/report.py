"""What an evaluation hands over: a table for people, JSON for machines, and how it was made."""

from __future__ import annotations

import hashlib
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson

from eval.labels import Dataset
from qa_system import models
from qa_system.config import Settings
from qa_system.errors import DataError

__all__ = ["made_with", "print_table", "write_rows"]

PACKAGES = (
    "qa-system",
    "haystack-ai",
    "faiss-cpu",
    "faiss-gpu-cu12",
    "tantivy",
    "onnxruntime",
    "onnxruntime-gpu",
    "tokenizers",
    "numpy",
    "torch",
    "transformers",
    "sentence-transformers",
)


def made_with(
    settings: Settings,
    dataset: Dataset,
    split: str | None,
    models_used: Mapping[str, str],
    **details: object,
) -> dict[str, Any]:
    """Say what a report was made with, so that it can be made again.

    Args:
        settings: what ran.
        dataset: what it ran on.
        split: which part of it.
        models_used: role -> model name; each is given with the hash of its files.
        details: anything else that shaped the numbers (scope, store, ...).
    """
    tree = settings.model_dump(mode="json")
    canonical = orjson.dumps(tree, option=orjson.OPT_SORT_KEYS)
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "data": {"path": dataset.path, "split": split, "sha256": dataset.sha256},
        "models": {
            role: {
                "name": name,
                "sha256": models.weights_hash(models.locate(name).path),
            }
            for role, name in models_used.items()
        },
        "seed": settings.seed,
        "settings": tree,
        "settings_sha256": hashlib.sha256(canonical).hexdigest(),
        "versions": {"python": platform.python_version(), **_versions()},
        **details,
    }


def print_table(
    title: str,
    rows: Mapping[str, Mapping[str, float | None]],
    columns: Sequence[str],
    notes: Iterable[str] = (),
) -> None:
    """Print numbers to stdout: a line for each system, a column for each metric.

    Args:
        title: above the table.
        rows: system -> metric -> value; what is None or absent is shown as a dash.
        columns: the metrics to show, in order.
        notes: lines below the table.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table()
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for name, metrics in rows.items():
        table.add_row(name, *(_shown(metrics.get(column)) for column in columns))
    # Where nobody looks at a terminal, a table is as wide as it needs to be.
    console = Console(width=None if sys.stdout.isatty() else 200, highlight=False)
    console.print(title, style="bold", markup=False)
    console.print(table)
    for note in notes:
        console.print(note, style="dim", markup=False)


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write per-question rows as JSON Lines.

    Raises:
        DataError: the file cannot be written.
    """
    try:
        with path.open("wb") as file:
            file.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)
    except OSError as fault:
        raise DataError(f"the rows cannot be written: {fault.strerror}", where=str(path)) from fault


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
