"""The settings that have a few values, and which; the flags of the command lines list the same."""

from __future__ import annotations

from typing import Literal

__all__ = [
    "AnswerMode",
    "Backend",
    "Evidence",
    "IndexKind",
    "Misfits",
    "Precision",
    "Similarity",
    "SourceFormat",
]

AnswerMode = Literal["extract", "generate", "auto"]
"""What answers are: spans of reviews; generated, where the reviews support them; or generated, and
spans where all that was generated is withheld."""
Backend = Literal["auto", "onnx", "torch"]
Evidence = Literal["sentences", "reviews"]
IndexKind = Literal["auto", "flat", "hnsw", "ivf_flat", "ivf_pq", "sq8"]
Misfits = Literal["drop", "reject"]
Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]
Similarity = Literal["dot_product", "cosine", "l2"]
SourceFormat = Literal["auto", "subjqa", "csv", "jsonl", "parquet"]
