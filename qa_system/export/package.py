"""A model with its card and the user's own files: to a folder, an address, or the Hub."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from qa_system.errors import ConfigError, MissingDependencyError
from qa_system.models.artifacts import (
    CONTENTS,
    LARGEST,
    NAME,
    SKOPS,
    Contents,
    File,
    check_file,
    contents_of,
    read_contents,
    skops_io,
)
from qa_system.models.locate import ModelLocation, is_export, locate, named
from qa_system.models.pickles import refuse_pickle
from qa_system.models.remote import BLOCK, is_local, open_address, told

__all__ = ["HUB", "hub_arguments", "package_model", "send"]

HUB: Final = "hf://"
CARD: Final = "README.md"
FOLDER: Final = "artifacts"
WEIGHTS_AND_TEXTS: Final = frozenset({".json", ".txt", ".model", ".onnx", ".safetensors"})
KEPT: Final = frozenset({CARD, "LICENSE", "NOTICE"})
_REPOSITORY: Final = re.compile(r"hf://([\w.-]+/[\w.-]+?)(?:@([\w./-]+))?/?")


def package_model(
    source: str | Path,
    out: str | Path,
    *,
    artifacts: Mapping[str, object] | None = None,
    card: str | Path | None = None,
    build: Callable[[Path], object] | None = None,
) -> Contents:
    """Put a model with further files into a folder or at an address.

    Args:
        source: a model: bundled, a folder, a Hub id or an address. What was added to it before
            goes along where it is not built anew.
        out: a folder; an address that fsspec knows, such as `s3://BUCKET/MODEL`; or
            `hf://OWNER/NAME[@REVISION]`, a repository of the Hub, which is private if it is new.
        artifacts: files by name; or a scikit-learn model in place of a file, which is kept by
            skops.
        card: the model's card, in Markdown; None: the source's, or that which is in the folder, or
            a short one.
        build: writes the model into the folder that it is given, such as `export_model` does;
            None: the source goes as it is.

    Returns:
        What was put there.

    Raises:
        ConfigError: a name cannot be used, a file is not there, or the folder or address holds
            such files of somebody else.
        ModelError: there is no such model, a file is a pickle, or the address cannot be written.
        MissingDependencyError: the address, or a scikit-learn model, needs a package that is not
            installed.
    """
    location = locate(str(source))
    with tempfile.TemporaryDirectory(prefix="qa-export-") as folder:
        work = Path(folder)
        given = {key: _add(key, each, work) for key, each in (artifacts or {}).items()}
        there = {} if build is not None else _copy_model(location, work, given)
        if build is not None:
            build(work)
        artifacts_there = {**there, **given}
        _write_card(work, named(location), artifacts_there, card or _card_in(str(out)))
        contents = Contents(
            model=named(location), files=dict(_hashed(work)), artifacts=artifacts_there
        )
        (work / CONTENTS).write_bytes(
            orjson.dumps(contents.model_dump(), option=orjson.OPT_INDENT_2) + b"\n"
        )
        send(work, contents, str(out))
    return contents


def send(folder: Path, contents: Contents, out: str) -> None:
    """Copy a package to a folder or an address; its `artifacts.json` comes last.

    Raises:
        ConfigError: files of those names are there, and no `artifacts.json`.
        ModelError: the place cannot be written.
        MissingDependencyError: fsspec, its package for such addresses, or huggingface_hub is not
            installed.
    """
    if out.startswith(HUB):
        _upload(hub_arguments(folder, contents, out))
        return
    address = out if "://" in out else Path(out).absolute().as_uri()
    files, root = open_address(address)
    with told(out):
        there = _there(files, root)
        if there is None:
            _refuse_others(files, root, contents)
        else:
            files.rm_file(f"{root}/{CONTENTS}")
        for path in [*contents.files, CONTENTS]:
            _copy(folder / path, files, f"{root}/{path}")
        for path in set() if there is None else there.files.keys() - contents.files.keys():
            if files.exists(f"{root}/{path}"):
                files.rm_file(f"{root}/{path}")


def _there(files: Any, root: str) -> Contents | None:
    """Return what the package at an address consists of; None: there is none."""
    place = f"{root}/{CONTENTS}"
    if not files.exists(place):
        return None
    with files.open(place, "rb") as file:
        return read_contents(file.read(LARGEST + 1), place)


def _refuse_others(files: Any, root: str, contents: Contents) -> None:
    """Refuse to replace files, unless they are those of an export without further files."""
    there = [path for path in contents.files if files.exists(f"{root}/{path}")]
    if there and not (is_local(files) and is_export(Path(root))):
        raise ConfigError(
            f"{', '.join(there[:3])} would be replaced, and no package is there",
            where=root,
            remedy="Name another folder or address.",
        )


def _copy(source: Path, files: Any, place: str) -> None:
    if is_local(files):
        files.makedirs(place.rpartition("/")[0], exist_ok=True)
    with source.open("rb") as ours, files.open(place, "wb") as theirs:
        shutil.copyfileobj(ours, theirs, BLOCK)


def hub_arguments(folder: Path, contents: Contents, address: str) -> dict[str, Any]:
    """Return the arguments of `huggingface_hub.HfApi.upload_folder` for a package.

    Args:
        folder: the package's.
        contents: of it.
        address: `hf://OWNER/NAME[@REVISION]`.

    Raises:
        ConfigError: it is no such address.

    >>> contents = Contents(model="bundled:encoder", files={})
    >>> hub_arguments(Path("built"), contents, "hf://me/mine@main")["repo_id"]
    'me/mine'
    """
    parts = _REPOSITORY.fullmatch(address)
    if parts is None:
        raise ConfigError(
            f"{address!r} is no repository of the Hub",
            where="--out",
            remedy="Write hf://OWNER/NAME, or hf://OWNER/NAME@REVISION.",
        )
    repository, revision = parts.groups()
    return {
        "repo_id": repository,
        "repo_type": "model",
        "folder_path": str(folder),
        "revision": revision,
        "allow_patterns": [*contents.files, CONTENTS],
        "commit_message": f"qa export: {contents.model}",
    }


def _upload(arguments: dict[str, Any]) -> None:
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise MissingDependencyError(
            "an upload to the Hub needs huggingface_hub",
            remedy="Install it: pip install 'qa-system[torch]'.",
        ) from error
    hub = HfApi()
    with told(f"{HUB}{arguments['repo_id']}"):
        hub.create_repo(arguments["repo_id"], repo_type="model", private=True, exist_ok=True)
        hub.upload_folder(**arguments)


def _copy_model(location: ModelLocation, work: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Copy a model's files; return the artifacts that it has and that are not given anew."""
    contents = contents_of(location.path)
    if contents is None:
        for path in _files_of(location.path):
            _put(path, work / path.relative_to(location.path))
        return {}
    kept = {key: path for key, path in contents.artifacts.items() if key not in given}
    replaced = {*contents.artifacts.values()} - {*kept.values()}
    for inside, expected in contents.files.items():
        if inside not in replaced:
            _put(check_file(location.path, inside, expected), work / inside)
    return kept


def _files_of(folder: Path) -> Iterator[Path]:
    """Yield a model's files: not those of its training, and no pickles."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if any(part.startswith((".", "checkpoint")) for part in inside[:-1]):
            continue
        if path.is_file() and (path.suffix in WEIGHTS_AND_TEXTS or path.name in KEPT):
            yield path


def _put(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)


def _add(key: str, given: object, work: Path) -> str:
    """Add a file, or a scikit-learn model, under a name; return its path in the package."""
    if not NAME.fullmatch(key):
        raise ConfigError(
            f"{key!r} cannot be the name of an artifact",
            where="--with",
            remedy="Use letters, digits, dots, dashes and underscores.",
        )
    if not isinstance(given, (str, Path)):
        return _dump(key, given, work)
    source = Path(given).expanduser()
    if not source.is_file():
        raise ConfigError(
            f"the artifact {key!r} is no file", where=str(source), remedy="Name a file."
        )
    refuse_pickle(source)
    inside = f"{FOLDER}/{key}{source.suffix}"
    _put(source, work / inside)
    return inside


def _dump(key: str, model: object, work: Path) -> str:
    if not hasattr(model, "get_params"):
        raise ConfigError(
            f"the artifact {key!r} is neither a file nor a scikit-learn model",
            where=type(model).__name__,
            remedy="Write it to a file, and name the file.",
        )
    inside = f"{FOLDER}/{key}{SKOPS}"
    (work / FOLDER).mkdir(exist_ok=True)
    skops_io().dump(model, work / inside)
    return inside


def _write_card(
    work: Path, name: str, artifacts: Mapping[str, str], card: str | Path | None
) -> None:
    place = work / CARD
    if card is not None:
        try:
            shutil.copyfile(card, place)
        except OSError as error:
            raise ConfigError(
                f"the card cannot be read: {error.strerror}", where=str(card), remedy="Name a file."
            ) from error
    if not place.exists():
        lines = [f"# {name}", "", f"Exported from `{name}` by qa-system."]
        if artifacts:
            lines += ["", "| artifact | file |", "| --- | --- |"]
            lines += [f"| {key} | `{path}` |" for key, path in sorted(artifacts.items())]
        place.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _card_in(out: str) -> Path | None:
    place = Path(out) / CARD
    return place if "://" not in out and place.is_file() else None


def _hashed(work: Path) -> Iterator[tuple[str, File]]:
    for path in sorted(work.rglob("*")):
        if path.is_file() and path.name != CONTENTS:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = path.stat().st_size
            yield path.relative_to(work).as_posix(), File(sha256=digest, size=size)
