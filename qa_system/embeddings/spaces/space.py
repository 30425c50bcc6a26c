"""A fitted space: steps in their order, clusters if there are any, and the folder of both."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from qa_system.embeddings.spaces.checks import Floats, Ints, check_vectors, extra_package
from qa_system.embeddings.spaces.clusters import Clusters, fit_clusters
from qa_system.embeddings.spaces.steps import KINDS, Step, fit_step
from qa_system.embeddings.working import write_whole
from qa_system.errors import DataError, InvalidArgumentError

__all__ = ["Space", "fit_space"]

FORMAT: Final = 1
SAID: Final = "space.json"
ARRAYS: Final = "space.safetensors"
CLUSTERS: Final = "clusters"
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Space:
    """Steps that were fitted together, and clusters in what they make of vectors.

    Args:
        steps: each with its name, as `fit_space` was told, in order.
        clusters: None: none were fitted.
        made_with: what made the vectors (model, pooling, layer), as JSON values; whoever applies
            the space compares it.
    """

    steps: tuple[tuple[str, Step], ...]
    clusters: Clusters | None = None
    made_with: Mapping[str, Any] = field(default_factory=dict)

    def apply(self, vectors: Floats) -> Floats:
        """Return the vectors after all steps, shape (texts, dimension of the last step).

        Raises:
            InvalidArgumentError: they are not of the dimension that was fitted.
        """
        vectors = check_vectors(vectors)
        for _, step in self.steps:
            vectors = step.apply(vectors)
        return vectors

    def assign(self, vectors: Floats) -> Ints:
        """Return the number of the cluster of each vector, as it comes from the encoder.

        Raises:
            InvalidArgumentError: there are no clusters, or the vectors have another dimension.
        """
        if self.clusters is None:
            raise InvalidArgumentError(
                "the space has no clusters", remedy="Fit some: space.with_clusters(vectors)."
            )
        return self.clusters.assign(self.apply(vectors))

    def with_clusters(
        self, vectors: Floats, texts: Sequence[str] | None = None, **options: Any
    ) -> tuple[Space, Ints]:
        """Find clusters in the space, as `fit_clusters` does.

        Args:
            vectors: as they come from the encoder.
            texts: theirs, whose words name the clusters.
            options: of `fit_clusters`.

        Returns:
            The space with clusters, and the number of each text's.

        Raises:
            QASystemError: as in `fit_clusters`.
        """
        clusters, labels = fit_clusters(self.apply(vectors), texts, **options)
        return replace(self, clusters=clusters), labels

    def save(self, folder: str | Path) -> None:
        """Write `space.json` and `space.safetensors` to a folder; it is made if it is not there.

        A writer that is killed leaves each file as it was, or whole; files that are not of one
        writing are refused by `load`.

        Raises:
            DataError: they cannot be written.
            MissingDependencyError: safetensors is not installed.
        """
        package = extra_package("safetensors.numpy", "saving a space", "spaces")
        parts = [(str(at), name, step) for at, (name, step) in enumerate(self.steps)]
        if self.clusters is not None:
            parts.append((CLUSTERS, CLUSTERS, cast("Any", self.clusters)))
        arrays: Arrays = {}
        said = []
        for stem, name, part in parts:
            plain = {}
            for each in fields(cast("Any", part)):
                value = getattr(part, each.name)
                if isinstance(value, np.ndarray):
                    arrays[f"{stem}.{each.name}"] = np.ascontiguousarray(value)
                else:
                    plain[each.name] = value
            said.append({"name": name, **plain})
        content = cast("bytes", package.save(arrays))
        body = {
            "format": FORMAT,
            "parts": said,
            "made_with": dict(self.made_with),
            "arrays": hashlib.sha256(content).hexdigest(),
        }
        sealed = {**body, "sha256": _digest(body)}
        text = orjson.dumps(sealed, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        _write(Path(folder), {ARRAYS: content, SAID: text})

    @classmethod
    def load(cls, folder: str | Path) -> Space:
        """Read a folder that `save` has written.

        Raises:
            DataError: a file is missing, damaged, of another writing or a newer format.
            MissingDependencyError: safetensors is not installed.
        """
        package = extra_package("safetensors.numpy", "loading a space", "spaces")
        folder = Path(folder)
        said = _read_said(folder / SAID)
        content = _read(folder / ARRAYS)
        if hashlib.sha256(content).hexdigest() != said["arrays"]:
            raise _damaged(folder / ARRAYS, "its bytes are not those that were written")
        arrays = package.load(content)
        steps: list[tuple[str, Step]] = []
        clusters = None
        for at, part in enumerate(said["parts"]):
            plain = dict(part)
            name = plain.pop("name")
            stem = CLUSTERS if name == CLUSTERS else str(at)
            own = {
                key.removeprefix(f"{stem}."): value
                for key, value in arrays.items()
                if key.startswith(f"{stem}.")
            }
            if name == CLUSTERS:
                plain |= {key: tuple(plain[key]) for key in ("names", "sizes")}
                clusters = Clusters(**plain, **own)
            else:
                steps.append((name, cast("Step", KINDS[name](**plain, **own))))
        return cls(tuple(steps), clusters, said["made_with"])


def fit_space(
    vectors: Floats,
    steps: Sequence[str] = ("normalize",),
    *,
    seed: int = 13,
    made_with: Mapping[str, Any] | None = None,
) -> Space:
    """Fit steps one after the other, each on what those before it return.

    Args:
        vectors: shape (texts, dimension).
        steps: as `fit_step` takes them, for example `normalize`, `pca:50`, `umap:2`.
        seed: of UMAP and t-SNE.
        made_with: what made the vectors, kept with the space.

    Raises:
        InvalidArgumentError: there is no such step, or it cannot be fitted on these vectors.
        MissingDependencyError: UMAP or scikit-learn is needed and not installed.

    >>> vectors = np.array([[0, 1], [2, 0], [4, 1]], np.float32)
    >>> fit_space(vectors, ["whiten:1"]).apply(vectors).ravel().tolist()
    [-1.0, 0.0, 1.0]
    """
    changed = check_vectors(vectors)
    fitted = []
    for said in steps:
        step = fit_step(said, changed, seed=seed)
        changed = step.apply(changed)
        fitted.append((said.strip().partition(":")[0], step))
    return Space(tuple(fitted), None, dict(made_with or {}))


def _read_said(path: Path) -> dict[str, Any]:
    try:
        said = orjson.loads(_read(path))
        body = {key: said[key] for key in ("format", "parts", "made_with", "arrays")}
        seal = said["sha256"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        raise _damaged(path, "it is not what was written") from None
    if body["format"] != FORMAT:
        raise DataError(
            f"the space has format {body['format']!r}, and this version reads {FORMAT}",
            where=str(path),
            remedy="Install the version of qa-system that wrote it, or fit it again.",
        )
    if seal != _digest(body):
        raise _damaged(path, "its words are not those that were written")
    return body


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _damaged(path: Path, how: str) -> DataError:
    return DataError(
        f"the space is damaged: {how}", where=str(path), remedy="Fit it again, or copy it again."
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"the space cannot be read: {error.strerror}",
            where=str(path),
            remedy=f"Name a folder with {SAID} and {ARRAYS}.",
        ) from error


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_whole(folder / name, content)
    except OSError as error:
        raise DataError(
            f"the space cannot be written: {error.strerror}",
            where=str(error.filename or folder),
            remedy="Name another place, or make room there.",
        ) from error
