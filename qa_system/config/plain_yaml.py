"""YAML of which the size in memory is in proportion to its text.

An alias stands for all that its anchor holds, so ten lines of aliases of aliases can stand for a
billion values: they are counted as if each alias were written out, before anything is built.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

__all__ = ["load_yaml"]

MAX_CHARS: Final = 1_000_000
MAX_VALUES: Final = 100_000
MAX_DEPTH: Final = 50


def load_yaml(text: str) -> Any:
    """Read one YAML document, of plain values only.

    Args:
        text: a million characters at most.

    Raises:
        ValueError: it is no YAML, or too long, or nested deeper than 50 levels, or stands for more
            than 100,000 values.

    >>> load_yaml("a: [1, x]")
    {'a': [1, 'x']}
    >>> load_yaml("[" * 1000)
    Traceback (most recent call last):
        ...
    ValueError: it is nested more than 50 levels deep
    """
    if len(text) > MAX_CHARS:
        raise ValueError(f"it has more than {MAX_CHARS:,} characters")
    try:
        _check(text)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    except (TypeError, OverflowError, RecursionError) as error:
        # A date such as 2024-99-99, a key that cannot be one.
        raise ValueError(f"a value cannot be read: {error}") from error


def _check(text: str) -> None:
    sizes: dict[str, int] = {}
    # Of the collections that are open: the anchor, and the values so far.
    open_: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        match event:
            case yaml.CollectionStartEvent():
                open_.append((event.anchor, 1))
                if len(open_) > MAX_DEPTH:
                    raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
                continue
            case yaml.CollectionEndEvent():
                anchor, size = open_.pop()
            case yaml.ScalarEvent():
                anchor, size = event.anchor, 1
            case yaml.AliasEvent():
                if event.anchor not in sizes:
                    raise ValueError(f"the alias *{event.anchor} stands for what it stands in")
                anchor, size = None, sizes[event.anchor]
            case _:
                continue
        if anchor is not None:
            sizes[anchor] = size
        outer, total = open_.pop()
        open_.append((outer, total + size))
        if total + size > MAX_VALUES:
            raise ValueError(f"it stands for more than {MAX_VALUES:,} values")
