"""What is installed, which models and stores are found, what is missing and how to get it."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from qa_system.config import Settings, load_settings
from qa_system.errors import QASystemError

__all__ = ["Finding", "examine"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Args:
        name: what.
        ok: whether it is there and usable.
        required: whether the settings need it.
        detail: the version, the place, or what is wrong.
        remedy: how to get it, where it is missing.
    """

    name: str
    ok: bool
    required: bool
    detail: str
    remedy: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the finding as JSON values."""
        return asdict(self)


def examine(config: Path | None = None, overrides: Iterable[str] = ()) -> list[Finding]:
    """Look at the installation as the settings would use it.

    Raises:
        ConfigError: the settings themselves are wrong.

    >>> any(finding.name == "python" for finding in examine())
    True
    """
    settings = load_settings(config, overrides)
    findings = [Finding("python", ok=True, required=True, detail=platform.python_version())]
    findings.extend(_packages(settings))
    findings.append(_model("encoder", settings.encoder.model, settings.retriever.mode != "bm25"))
    findings.append(_model("reader", settings.reader.model, required=True))
    findings.append(_store(settings))
    return findings


def _packages(settings: Settings) -> Iterator[Finding]:
    bundled = all(
        name.startswith("bundled:") for name in (settings.encoder.model, settings.reader.model)
    )
    yield _package("haystack", ["haystack-ai"], "qa-system", required=True)
    yield _package("tantivy", ["tantivy"], "qa-system", required=True)
    yield _package("faiss", _FAISS, "qa-system[cpu]", required=True)
    yield _package("onnxruntime", _ONNXRUNTIME, "qa-system[cpu]", required=bundled)
    yield _package("torch", ["torch"], "qa-system[torch]", required=False)
    yield _package("transformers", ["transformers"], "qa-system[torch]", required=False)
    yield _package(
        "sentence-transformers", ["sentence-transformers"], "qa-system[torch]", required=False
    )
    yield _package("pyarrow", ["pyarrow"], "qa-system[parquet]", required=False)
    yield _gpu(settings)


_FAISS = ["faiss-cpu", "faiss-gpu-cu12", "faiss-gpu-cu11", "faiss-gpu"]
_ONNXRUNTIME = ["onnxruntime", "onnxruntime-gpu"]


def _package(name: str, distributions: list[str], extra: str, *, required: bool) -> Finding:
    for distribution in distributions:
        try:
            found = version(distribution)
        except PackageNotFoundError:
            continue
        return Finding(name, ok=True, required=required, detail=f"{distribution} {found}")
    return Finding(
        name,
        ok=False,
        required=required,
        detail="not installed",
        remedy=f"pip install '{extra}'",
    )


def _gpu(settings: Settings) -> Finding:
    wanted = settings.store.gpu or "cuda" in (settings.encoder.device, settings.reader.device)
    seen = []
    try:
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            seen.append("onnxruntime")
    except ImportError:
        pass
    try:
        import faiss

        if faiss.get_num_gpus() > 0:
            seen.append("faiss")
    except (ImportError, AttributeError):
        pass
    if seen:
        return Finding("gpu", ok=True, required=wanted, detail=f"seen by {', '.join(seen)}")
    return Finding(
        "gpu",
        ok=False,
        required=wanted,
        detail="none seen; everything runs on the CPU",
        remedy="pip install 'qa-system[gpu]' on a machine with CUDA" if wanted else None,
    )


def _model(role: str, name: str, required: bool) -> Finding:
    from qa_system.models import locate, weights_hash

    try:
        found = locate(name)
    except QASystemError as fault:
        return Finding(role, ok=False, required=required, detail=fault.what, remedy=fault.remedy)
    digest = weights_hash(found.path)[:12]
    return Finding(
        role,
        ok=True,
        required=required,
        detail=f"{name} ({found.format}, sha256 {digest}) in {found.path}",
    )


def _store(settings: Settings) -> Finding:
    from qa_system.stores import open_store

    try:
        with open_store(settings.store) as store:
            status = store.status()
    except QASystemError as fault:
        return Finding(
            "store",
            ok=False,
            required=False,
            detail=fault.what,
            remedy=fault.remedy,
        )
    filled_by = "no encoder" if status.encoder is None else status.encoder.name
    return Finding(
        "store",
        ok=True,
        required=False,
        detail=f"{status.documents:,} documents of {status.items:,} items in {status.path}, "
        f"embedded by {filled_by}",
    )
