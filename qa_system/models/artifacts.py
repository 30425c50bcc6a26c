"""A packaged model: its files and those that users add, with their hashes, in `artifacts.json`.

Nothing in a package is a pickle: loading one runs whatever it says. A scikit-learn model is kept by
skops, which builds only the types that its reader trusts.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import Field, ValidationError, field_validator, model_validator

from qa_system.config.store_schema import Strict
from qa_system.errors import MissingDependencyError, ModelError
from qa_system.models.locate import locate
from qa_system.models.pickles import PICKLES, refuse_pickle

__all__ = [
    "CONTENTS",
    "LARGEST",
    "SKOPS",
    "Contents",
    "File",
    "artifact",
    "check_file",
    "contents_of",
    "load_artifact",
    "read_contents",
    "skops_io",
]

CONTENTS: Final = "artifacts.json"
LARGEST: Final = 1 << 20
"""Bytes that `artifacts.json` has at most."""
SKOPS: Final = ".skops"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_SEGMENT: Final = re.compile(r"[^/\\:\x00-\x1f\x7f]+")
REMEDY: Final = "Export the model again with `qa export`, or take it from its author again."


class File(Strict):
    """What a file has to be."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size: Annotated[int, Field(ge=0)]


class Contents(Strict):
    """What a package consists of; an unknown key, or a path that leads out of it, is an error."""

    format: Literal[1] = 1
    model: str
    """What it was made of."""
    files: Annotated[dict[str, File], Field(max_length=10_000)]
    """By path below the package's folder, with `/`."""
    artifacts: dict[str, str] = Field(default_factory=dict)
    """The paths of the files that the user added, by name."""

    @field_validator("files")
    @classmethod
    def _paths_are_sound(cls, files: dict[str, File]) -> dict[str, File]:
        for path in files:
            _check_path(path)
        folded = {path.casefold() for path in files}
        if len(folded) < len(files):
            raise ValueError("names two files that are one where case does not count")
        for path in folded:
            if any(parent.as_posix() in folded for parent in Path(path).parents):
                raise ValueError(f"says that a file is a folder: {path!r}")
        return files

    @model_validator(mode="after")
    def _artifacts_are_files(self) -> Contents:
        for name, path in self.artifacts.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"has an artifact of the name {name!r}")
            if path not in self.files:
                raise ValueError(f"does not list the file {path!r} of the artifact {name!r}")
        return self


def _check_path(path: str) -> None:
    """Raise a ValueError for what is no plain path below a folder."""
    segments = path.split("/")
    if any(not _SEGMENT.fullmatch(each) or each.strip(". ") == "" for each in segments):
        raise ValueError(f"has the path {path!r}, which is not one below its folder")
    if path.casefold() == CONTENTS or segments[0].startswith("."):
        raise ValueError(f"lists {path!r}")
    if Path(path).suffix.casefold() in PICKLES:
        raise ValueError(f"lists a pickle: {path!r}")


def read_contents(data: bytes, where: str) -> Contents:
    """Read an `artifacts.json`.

    Args:
        data: its bytes.
        where: it is from, for errors.

    Raises:
        ModelError: it is damaged, too large, or names what no package may.
    """
    from qa_system.config import describe

    try:
        if len(data) > LARGEST:
            raise ValueError(f"it is larger than {LARGEST:,} bytes")
        return Contents.model_validate(orjson.loads(data), strict=True)
    except ValidationError as error:
        said = describe(error, {})
    except ValueError as error:
        said = str(error)
    raise ModelError(f"{CONTENTS} cannot be used: {said}", where=where, remedy=REMEDY)


def contents_of(folder: Path) -> Contents | None:
    """Return what a package consists of; None: the folder is no package.

    Raises:
        ModelError: as in `read_contents`.
    """
    path = folder / CONTENTS
    if not path.is_file():
        return None
    return read_contents(path.read_bytes(), str(path))


def check_file(folder: Path, path: str, expected: File) -> Path:
    """Return a file of a package that is what the package says.

    Args:
        folder: the package's.
        path: below it.
        expected: of the file.

    Raises:
        ModelError: it is missing, is another one, or is reached by a link.
    """
    place = folder / path
    links = [each for each in (place, *place.parents) if each.is_symlink()]
    if any(each.is_relative_to(folder) and each != folder for each in links):
        raise ModelError("a file of the package is a link", where=str(place), remedy=REMEDY)
    if not place.is_file():
        raise ModelError("a file of the package is missing", where=str(place), remedy=REMEDY)
    with place.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if (place.stat().st_size, found) != (expected.size, expected.sha256):
        raise ModelError(
            "a file of the package is not the one that was exported",
            where=str(place),
            remedy=REMEDY,
        )
    return place


def artifact(model: str | Path, name: str) -> Path:
    """Return the file that was exported with a model under a name, its hash checked.

    Args:
        model: a folder, or an address such as `s3://BUCKET/MODEL`.
        name: as in `qa export --with NAME=FILE`.

    Raises:
        ModelError: there is none of that name, or it is not what was exported.
        MissingDependencyError: the address needs a package that is not installed.
    """
    folder = locate(str(model)).path
    contents = contents_of(folder)
    known: Mapping[str, str] = {} if contents is None else contents.artifacts
    if contents is None or name not in known:
        raise ModelError(
            f"{str(model)!r} has no artifact {name!r}",
            where=str(folder),
            remedy=f"It has {', '.join(sorted(known))}."
            if known
            else "Export one with it: `qa export --with NAME=FILE`.",
        )
    path = known[name]
    return check_file(folder, path, contents.files[path])


def load_artifact(model: str | Path, name: str, *, trusted: Sequence[str] = ()) -> Any:
    """Load a scikit-learn model that was exported with a model.

    Args:
        model: a folder, or an address.
        name: of the artifact, which is a `.skops` file.
        trusted: types that may be built beside those that skops trusts by itself.

    Raises:
        ModelError: it has other types, or is not what was exported.
        MissingDependencyError: skops or scikit-learn is not installed.
    """
    path = artifact(model, name)
    if path.suffix != SKOPS:
        raise ModelError(
            f"the artifact {name!r} is no {SKOPS} file",
            where=str(path),
            remedy="Read the file `artifact(model, name)` yourself.",
        )
    refuse_pickle(path)
    sio = skops_io()
    try:
        untrusted = sorted({*sio.get_untrusted_types(file=path)} - {*trusted})
        if not untrusted:
            return sio.load(path, trusted=list(trusted))
    except Exception as error:  # zip files, JSON and scikit-learn share no base
        raise ModelError(
            f"the artifact {name!r} cannot be loaded: {error}", where=str(path), remedy=REMEDY
        ) from error
    raise ModelError(
        f"the artifact {name!r} has types that are not trusted: {', '.join(untrusted)}",
        where=str(path),
        remedy="If you know them and their author, name them: trusted=[...].",
    )


def skops_io() -> Any:
    """Return `skops.io`.

    Raises:
        MissingDependencyError: skops is not installed.
    """
    try:
        import skops.io as sio
    except ImportError as error:
        raise MissingDependencyError(
            "a scikit-learn model needs the package 'skops'",
            remedy="Install it: pip install 'qa-system[artifacts]'.",
        ) from error
    return sio
