"""What installed packages offer by their entry points: retrievers, metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.metadata import entry_points
from typing import TypeVar

from qa_system.errors import ConfigError

__all__ = ["expect_kind", "offered"]

Kind = TypeVar("Kind")


def offered(group: str, kind: type[Kind]) -> Iterator[tuple[str, Kind]]:
    """Load what installed packages offer in a group of entry points.

    Args:
        group: the name of the group.
        kind: the class of what is offered. An entry point names one, or an iterable of several.

    Returns:
        Pairs: where it is from, for messages, and what is offered.

    Raises:
        ConfigError: naming the entry point that cannot be loaded or offers something else.

    >>> list(offered("a group that no package has", int))
    []
    """
    for point in entry_points(group=group):
        package = "" if point.dist is None else f" of {point.dist.name}"
        where = f"entry point {point.name} = {point.value}{package}"
        try:
            loaded = point.load()
            several = isinstance(loaded, Iterable) and not isinstance(loaded, (kind, str, type))
            found = list(loaded) if several else [loaded]
        except Exception as error:
            raise ConfigError(
                f"a package's {kind.__name__} cannot be loaded: {type(error).__name__}: {error}",
                where=where,
                remedy="Repair or uninstall that package.",
            ) from error
        yield from ((where, expect_kind(each, kind, where)) for each in found)


def expect_kind(offer: object, kind: type[Kind], where: str) -> Kind:
    """Return what was offered, if it is of the kind.

    Raises:
        ConfigError: it is not.

    >>> expect_kind("recall", int, "register")
    Traceback (most recent call last):
        ...
    qa_system.errors.ConfigError: 'recall' is no int (register). Name an instance of builtins.int.
    """
    if isinstance(offer, kind):
        return offer
    raise ConfigError(
        f"{offer!r:.80} is no {kind.__name__}",
        where=where,
        remedy=f"Name an instance of {kind.__module__}.{kind.__qualname__}.",
    )
