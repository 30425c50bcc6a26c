"""What ships with qa-system: found inside the wheel, or in the checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, assert_never

__all__ = ["Kind", "named", "resource", "shipped"]

Kind = Literal["settings", "recipe", "space", "attributes"]

_PACKAGE = Path(__file__).parents[1]
_IN_CHECKOUT = {
    "models": "models",
    "sample": "data/sample",
    "gold": "data/gold",
    "configs": "configs",
    "web": "web",
}


def resource(name: str) -> Path:
    """Return the folder of something that ships with the project.

    Args:
        name: `models`, `sample`, `gold` (labels over all reviews of an item), `configs` or `web`.

    >>> resource("models").name
    'models'
    """
    packaged = _PACKAGE / "bundled" / name
    return packaged if packaged.exists() else _PACKAGE.parent / _IN_CHECKOUT[name]


def shipped(kind: Kind) -> dict[str, Path]:
    """Return the shipped files of a kind by their names, in the order of the names.

    >>> list(shipped("settings"))
    ['default', 'elasticsearch', 'long-form', 'sample', 'yes-no']
    >>> "reader-general" in shipped("recipe")
    True
    """
    configs = resource("configs")
    match kind:
        case "settings":
            files = [*configs.glob("*.yaml"), *configs.glob("generate/*.yaml")]
        case "recipe":
            files = [*configs.glob("train/*.yaml")]
        case "space":
            files = [*configs.glob("tune/*.yaml")]
        case "attributes":
            files = [*configs.glob("attributes/*.yaml")]
        case other:
            assert_never(other)
    return {file.stem: file for file in sorted(files, key=lambda file: file.stem)}


def named(name: str | Path, kind: Kind) -> Path:
    """Return the file that a name means: a path, or one that ships with qa-system.

    Args:
        name: a path, or a shipped file's name without its suffix. A file of that name comes
            first; a folder, such as that of a trained model, does not.
        kind: of the shipped files that may be named.

    >>> named("reader-general", "recipe").name
    'reader-general.yaml'
    >>> named("mine.yaml", "recipe").name
    'mine.yaml'
    """
    path = Path(name)
    if path.is_file():
        return path
    return shipped(kind).get(str(name), path)
