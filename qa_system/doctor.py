"""What is installed, which models and stores are found, what is missing and how to get it."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import assert_never

from qa_system.config import ElasticsearchSettings, Settings, StoreSettings, load_settings
from qa_system.console.wording import counted
from qa_system.errors import QASystemError, StoreNotFoundError
from qa_system.records import Finding
from qa_system.retrievers.registry import mode_of

__all__ = ["Finding", "examine"]


def examine(config: Path | Settings | None = None, overrides: Iterable[str] = ()) -> list[Finding]:
    """Check the installation for what the settings need.

    Raises:
        ConfigError: the settings themselves are wrong.

    >>> any(finding.name == "python" for finding in examine())
    True
    """
    settings = config if isinstance(config, Settings) else load_settings(config, overrides)
    findings = [Finding("python", ok=True, required=True, detail=platform.python_version())]
    findings.extend(_packages(settings))
    findings.append(_model("encoder", settings.encoder.model, mode_of(settings).needs_embeddings))
    if settings.ranker.model is not None:
        findings.append(_model("ranker", settings.ranker.model, settings.ranker.type != "none"))
    fitted = [
        _model("reader", settings.reader.model, required=True),
        _model("judge", settings.judge.model, required=settings.judge.sentences > 0),
    ]
    findings += fitted
    if all(each.ok or not each.required for each in fitted):
        findings.append(_confidence(settings))
    if settings.generator.type == "rag":
        findings.append(_model("generator", settings.generator.model, required=False))
    match settings.store:
        case ElasticsearchSettings() as server:
            findings.extend(_server(settings, server))
        case StoreSettings() as store:
            findings.extend(_folder(settings, store))
        case other:
            assert_never(other)
    return findings


def _packages(settings: Settings) -> Iterator[Finding]:
    bundled = all(
        name.startswith("bundled:") for name in (settings.encoder.model, settings.reader.model)
    )
    yield _package("haystack", ["haystack-ai"], "qa-system", required=True)
    yield _package("tantivy", ["tantivy"], "qa-system", required=True)
    is_server = settings.store.is_server
    yield _package("faiss", _FAISS, "qa-system[cpu]", required=not is_server)
    yield _package(
        "elasticsearch",
        ["elasticsearch"],
        "qa-system[elasticsearch]",
        required=is_server,
    )
    yield _package("onnxruntime", _ONNXRUNTIME, "qa-system[cpu]", required=bundled)
    yield _package("torch", ["torch"], "qa-system[torch]", required=False)
    yield _package("transformers", ["transformers"], "qa-system[torch]", required=False)
    yield _package(
        "sentence-transformers", ["sentence-transformers"], "qa-system[torch]", required=False
    )
    yield _package(
        "sentence-transformers for Haystack",
        ["sentence-transformers-haystack"],
        "qa-system[torch]",
        required=settings.ranker.type == "cross_encoder",
    )
    yield _package("pyarrow", ["pyarrow"], "qa-system[parquet]", required=False)
    yield _package("fastapi", ["fastapi"], "qa-system[serve]", required=False)
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
    devices = (settings.encoder.device, settings.reader.device)
    wanted = settings.store.gpu or any(device.startswith("cuda") for device in devices)
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
    from qa_system.models.locate import locate, weights_hash

    try:
        found = locate(name)
    except QASystemError as error:
        return Finding(role, ok=False, required=required, detail=error.what, remedy=error.remedy)
    if found.format == "torch" and find_spec("torch") is None:
        return Finding(
            role,
            ok=False,
            required=required,
            detail=f"{name} runs on torch, which is not installed",
            remedy="pip install 'qa-system[torch]'",
        )
    digest = weights_hash(found.path)[:12]
    return Finding(
        role,
        ok=True,
        required=required,
        detail=f"{name} ({found.format}, sha256 {digest}) in {found.path}",
    )


def _server(settings: Settings, store: ElasticsearchSettings) -> Iterator[Finding]:
    from qa_system.stores.elastic.diagnosis import diagnose

    found = list(diagnose(store))
    yield from found
    if found[-1].name == "index" and found[-1].ok:
        yield _store(settings)


def _folder(settings: Settings, store: StoreSettings) -> Iterator[Finding]:
    """Look at a store's folder: the store, who may use it, what else is in it."""
    from qa_system.stores.embedded.access import describe
    from qa_system.stores.embedded.layout import LEDGER, strangers

    found = _store(settings)
    yield found
    path = Path(store.path)
    try:
        if not (path / LEDGER).is_file():
            return
        detail, remedy = describe(path, store.group)
        others = strangers(path)
    except OSError:
        return  # the store itself could not be opened either
    yield Finding("store access", remedy is None, required=False, detail=detail, remedy=remedy)
    if others:
        named = ", ".join(str(each.relative_to(path)) for each in others[:_NAMED])
        more = f" and {len(others) - _NAMED} more" if len(others) > _NAMED else ""
        yield Finding(
            "store files",
            ok=False,
            required=False,
            detail=f"no part of the store, which leaves them alone: {named}{more}",
            remedy="Move them elsewhere, if they are not yours to keep there.",
        )


def _confidence(settings: Settings) -> Finding:
    """Look whether the confidences of answers were fitted with the pipeline of the settings."""
    from qa_system.consensus.confidence import confidence_of
    from qa_system.pipelines import reads_sentences

    name, needed = "confidence of answers", settings.answers.max_error is not None
    try:
        found = confidence_of(settings, reads_sentences=reads_sentences(settings))
    except QASystemError as error:
        detail = error.what if error.where is None else f"{error.what} ({error.where})"
        return Finding(name, ok=False, required=True, detail=detail, remedy=error.remedy)
    if found is not None:
        return Finding(name, ok=True, required=needed, detail=f"fitted on {found.fitted_on}")
    return Finding(
        name,
        ok=False,
        required=False,
        detail="not fitted with this reader, judge, retriever, evidence and budget: it is the "
        "reader's and the judge's own",
        remedy="Fit it on questions of yours: qa-eval calibrate --pipeline --dataset FILE --write.",
    )


_NAMED = 5
"""Files that a finding names; the rest is counted."""


def _store(settings: Settings) -> Finding:
    from qa_system.stores import open_store
    from qa_system.stores.checks import reembed_command

    try:
        with open_store(settings.store) as store:
            status = store.status()
    except QASystemError as error:
        # Without a store, the defaults are as they should be; one that somebody names is missing.
        is_expected = not isinstance(error, StoreNotFoundError) or _is_named(settings)
        detail = error.what if error.where is None else f"{error.what} ({error.where})"
        return Finding("store", False, required=is_expected, detail=detail, remedy=error.remedy)
    filled_by = "no encoder" if status.encoder is None else status.encoder.name
    detail = (
        f"{counted(status.documents, 'document')} of {counted(status.items, 'item')} "
        f"in {status.path}, embedded by {filled_by}"
    )
    undivided, remedy = status.documents - status.sentences, None
    if undivided:
        detail += f"; {counted(undivided, 'document')} without stored sentences"
        command = reembed_command(settings.store.place, status.encoder)
        remedy = f"Questions about those take longer; this stores their sentences: {command}"
    return Finding("store", ok=True, required=False, detail=detail, remedy=remedy)


def _is_named(settings: Settings) -> bool:
    """Tell whether somebody says where the store is, be it by a file, a variable or a flag."""
    return bool({"path", "url", "index"} & settings.store.model_fields_set)
