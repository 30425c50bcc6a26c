"""Nearest labels: a question has the labels of the labelled questions that are most like it.

Tunstall, von Werra and Wolf, Natural Language Processing with Transformers, 2022, chapter 9: the
embeddings of labelled texts in a FAISS index, the labels of the k nearest counted, and k and a
threshold chosen on a validation set. Nothing is trained.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qa_system.nearest.component import NearestLabels as NearestLabels

__all__ = ["NearestLabels"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("qa_system.nearest.component"), name)
