"""Where a name leads: `bundled:NAME`, `package:NAME/FOLDER`, a folder, a Hub id, an address.

A model folder is an ONNX export made by `qa export` (it holds `model.json`), a Hugging Face
checkpoint (it holds `config.json`), or a table of static vectors, in the format of model2vec.
"""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import orjson

from qa_system.config.shipped import resource
from qa_system.errors import MissingDependencyError, ModelError

__all__ = [
    "BUNDLED_PREFIX",
    "MANIFEST",
    "SAMPLE",
    "STATIC",
    "TRAINING",
    "ModelFormat",
    "ModelLocation",
    "bundled_models",
    "data_place",
    "is_export",
    "is_static",
    "locate",
    "locate_checkpoint",
    "named",
    "read_manifest",
    "stamp",
    "weights_hash",
    "weights_sha256",
]

BUNDLED_PREFIX = "bundled:"
PACKAGE_PREFIX = "package:"
MANIFEST = "model.json"
CONFIG = "config.json"
TRAINING = "training.json"
SAMPLE = "bundled:sample"
STATIC = "model2vec"
"""The `model_type` of a table of static vectors."""
_DISTRIBUTED = {"generator": "qa_system_generator"}
"""Bundled models that are distributions of their own, by the package that carries them."""

ModelFormat = Literal["onnx", "torch", "static"]


@dataclass(frozen=True, slots=True)
class ModelLocation:
    """A model's name and the folder with its files.

    Args:
        name: as it was given.
        path: the local folder.
        format: `onnx` for an export of `qa export`, `torch` for a Hugging Face checkpoint, `static`
            for a vector of each token (see `qa_system.models.static`).
    """

    name: str
    path: Path
    format: ModelFormat


def data_place(name: str | Path) -> str:
    """Return the path that a data set's name means: `bundled:sample`, or a path as it is.

    >>> Path(data_place("bundled:sample")).name
    'sample'
    >>> data_place("reviews.csv")
    'reviews.csv'
    """
    return str(resource("sample")) if str(name) == SAMPLE else str(name)


def bundled_models() -> list[str]:
    """Name the models that ship with the project, be it in a distribution of their own.

    >>> "bundled:reader" in bundled_models()
    True
    """
    in_folder = (each.name for each in resource("models").iterdir() if _holds_model(each))
    return sorted(BUNDLED_PREFIX + name for name in {*in_folder, *_DISTRIBUTED})


def locate(name: str) -> ModelLocation:
    """Find a model's folder; a Hub id is looked up in the local cache, then downloaded.

    Args:
        name: `bundled:NAME`, which ships with the project; `package:NAME/FOLDER`, which an
            installed Python package carries; a local folder; a Hub id; or an address such as
            `s3://BUCKET/MODEL`, where `qa export` put a packaged model.

    Raises:
        ModelError: nothing is there; the message lists what could be named instead.
        MissingDependencyError: a Hub id was given and huggingface_hub is not installed; or the
            package that has the bundled model's weights is not; or fsspec's for the address.

    >>> locate("bundled:reader").format
    'onnx'
    """
    if name.startswith(BUNDLED_PREFIX):
        folder = _bundled(name)
        return ModelLocation(name, folder, _format_of(folder))
    if name.startswith(PACKAGE_PREFIX):
        folder = _in_package(name)
        return ModelLocation(name, folder, _format_of(folder))
    if "://" in name:
        from qa_system.models.remote import fetch

        folder = fetch(name)
        return ModelLocation(name, folder, _format_of(folder))
    folder = Path(name).expanduser()
    if folder.is_dir():
        # A link that is replaced while a model is loaded must not mix two models.
        folder = folder.resolve() if folder.is_symlink() else folder
        return ModelLocation(name, folder, _format_of(folder))
    if folder.is_absolute() or name.startswith(".") or name.count("/") != 1:
        raise ModelError(
            f"there is no model {name!r}",
            remedy="Name `bundled:NAME`, an existing folder, or a Hub id as OWNER/NAME.",
        )
    folder = _from_hub(name)
    return ModelLocation(name, folder, _format_of(folder))


def locate_checkpoint(name: str) -> ModelLocation:
    """Find a model that can be trained further.

    Raises:
        ModelError: nothing is there, or it is an export.
        MissingDependencyError: as in `locate`.
    """
    location = locate(name)
    if location.format != "torch":
        raise ModelError(
            f"{location.name!r} is an export, which cannot be trained",
            where=str(location.path),
            remedy="Name a checkpoint, in safetensors.",
        )
    return location


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read what `qa export` wrote beside the weights; see `qa_system.models.manifest`.

    Raises:
        ModelError: it is missing or damaged, or a key or a value is not one that is known.
    """
    from pydantic import ValidationError

    from qa_system.config import describe
    from qa_system.models.manifest import Manifest

    path = folder / MANIFEST
    remedy = "Export the model again with `qa export`."
    try:
        manifest: dict[str, Any] = orjson.loads(path.read_bytes())
        Manifest.model_validate(manifest, strict=True)  # JSON has types
    except ValidationError as error:
        raise ModelError(
            f"the model's manifest cannot be used: {describe(error, {})}",
            where=str(path),
            remedy=remedy,
        ) from error
    except (OSError, orjson.JSONDecodeError) as error:
        raise ModelError(
            f"the model's manifest cannot be read: {error}", where=str(path), remedy=remedy
        ) from error
    return manifest


def named(location: ModelLocation) -> str:
    """Return a model's name for others to read: of a folder, its last two parts.

    >>> named(locate("bundled:encoder"))
    'bundled:encoder'
    """
    folder = Path(location.name).expanduser()
    return "/".join(folder.resolve().parts[-2:]) if folder.is_dir() else location.name


def weights_hash(folder: Path) -> str:
    """Return the sha256 of a model's weights, settings and tokenizer.

    >>> len(weights_hash(locate("bundled:reader").path))
    64
    """
    return _hash_files(folder, stamp(folder))


Stamp = tuple[tuple[str, int, int], ...]


def stamp(folder: Path) -> Stamp:
    """Return name, size and time of a model's files: what changes when they do, without a look."""
    suffixes = {".safetensors", ".onnx", ".bin", ".json", ".txt", ".model"}
    files = sorted(path for path in folder.rglob("*") if path.suffix in suffixes)
    return tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)


def weights_sha256(location: ModelLocation) -> str:
    """Return the sha256 of a model's weights alone: what was fitted to them may change beside them.

    >>> len(weights_sha256(locate("bundled:reader")))
    64
    """
    folder = location.path
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.onnx")):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@lru_cache(maxsize=32)
def _hash_files(folder: Path, files: Stamp) -> str:
    total = hashlib.sha256()
    for name, _, _ in files:
        path = Path(name)
        total.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _holds_model(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() or (folder / CONFIG).is_file()


def _bundled(name: str) -> Path:
    short = name.removeprefix(BUNDLED_PREFIX)
    if name not in bundled_models():
        raise ModelError(
            f"there is no bundled model {name!r}",
            remedy=f"Bundled models: {', '.join(bundled_models())}.",
        )
    folder = resource("models") / short
    if _holds_model(folder):
        return folder
    package = _DISTRIBUTED[short]
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise MissingDependencyError(
            f"{name!r} needs the package {package.replace('_', '-')}, which has its weights",
            remedy="Install its wheel, or from a checkout: pip install ./packages/generator",
        )
    return Path(found.submodule_search_locations[0]) / "model"


def _in_package(name: str) -> Path:
    package, _, inside = name.removeprefix(PACKAGE_PREFIX).partition("/")
    found = importlib.util.find_spec(package) if package.isidentifier() else None
    for place in (found and found.submodule_search_locations) or ():
        if (folder := Path(place) / inside).is_dir():
            return folder
    raise ModelError(
        f"there is no model {name!r}",
        remedy="Install the package, or name a folder that it has: package:NAME/FOLDER.",
    )


def _format_of(folder: Path) -> ModelFormat:
    if (folder / MANIFEST).is_file():
        return "onnx"
    if is_static(folder):
        return "static"
    if (folder / CONFIG).is_file() or (folder / "modules.json").is_file():
        return "torch"
    raise ModelError(
        "the folder holds no model",
        where=str(folder),
        remedy=f"A model folder has a {CONFIG} (a checkpoint) or a {MANIFEST} (an export).",
    )


def is_export(folder: Path) -> bool:
    """Tell whether a folder holds what `qa export` writes: a sound manifest, or static vectors."""
    try:
        read_manifest(folder)
    except ModelError:
        return is_static(folder)
    return True


def is_static(folder: Path) -> bool:
    """Tell whether a folder holds static vectors."""
    try:
        said = orjson.loads((folder / CONFIG).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return False  # what a checkpoint's config lacks is told when it is loaded
    return isinstance(said, dict) and said.get("model_type") == STATIC


def _from_hub(name: str) -> Path:
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise MissingDependencyError(
            f"the Hub model {name!r} needs huggingface_hub",
            remedy="Install it: pip install 'qa-system[torch]'.",
        ) from error
    try:
        return Path(
            snapshot_download(
                name,
                allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors", "*.onnx"],
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise ModelError(
            f"the Hub model {name!r} cannot be had: {type(error).__name__}",
            remedy="Check the name and the network, or name a local folder or `bundled:NAME`.",
        ) from error
