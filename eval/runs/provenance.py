"""What a report was made with, so that it can be reproduced."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import orjson

from qa_system.config import Settings
from qa_system.datasets.dataset import Dataset
from qa_system.models.locate import locate, weights_hash

__all__ = ["machine", "made_with"]

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
    """Return what a report was made with.

    Args:
        settings: what ran.
        dataset: what it ran on.
        split: which part of it.
        models_used: role -> model name; the report has the hash of its files, too.
        details: anything else that changes the numbers (scope, store, ...).
    """
    tree = settings.model_dump(mode="json")
    canonical = orjson.dumps(tree, option=orjson.OPT_SORT_KEYS)
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "data": {"path": dataset.path, "split": split, "sha256": dataset.sha256},
        "models": {
            role: {
                "name": name,
                "sha256": weights_hash(locate(name).path),
            }
            for role, name in models_used.items()
        },
        "seed": settings.seed,
        "settings": tree,
        "settings_sha256": hashlib.sha256(canonical).hexdigest(),
        "versions": {"python": platform.python_version(), **_versions()},
        **details,
    }


def machine() -> dict[str, Any]:
    """Return the processor's name, and how many cores this process may use.

    >>> machine()["cores"] >= 1
    True
    """
    allowed = getattr(os, "sched_getaffinity", None)
    return {
        "processor": _processor(),
        "cores": os.cpu_count() if allowed is None else len(allowed(0)),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
