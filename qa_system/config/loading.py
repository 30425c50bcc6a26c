"""Settings from defaults, a YAML file, the environment and flags; later ones win.

Every error is reported at once, each with its path. An environment variable is named after the
path of its key: `QA_STORE__PATH` sets `store.path`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import ValidationError

from qa_system.arguments import check_texts_inside
from qa_system.config.plain_yaml import MAX_CHARS, load_yaml
from qa_system.config.schema import Settings
from qa_system.config.shipped import Kind, named, resource, shipped
from qa_system.config.store_schema import place_store
from qa_system.errors import ConfigError, InvalidArgumentError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = [
    "Override",
    "Overrides",
    "apply_overrides",
    "changed",
    "describe",
    "load_settings",
    "read_yaml",
]

ENVIRONMENT_PREFIX = "QA_"
_OVERRIDES_ARE = 'Pass {"store.path": "x"} or ["store.path=x"].'


class Override(NamedTuple):
    """A value that takes the place of another, and where it came from, for error messages."""

    path: tuple[str, ...]
    value: Any
    source: str

    @classmethod
    def parse(cls, text: str, source: str = "command line") -> Override:
        """Read `KEY=VALUE`, of which the value is YAML; a store's name is text.

        Raises:
            ConfigError: there is no key, or the value is not YAML.

        >>> Override.parse("retriever.top_k=5", "--set")
        Override(path=('retriever', 'top_k'), value=5, source='--set')
        """
        key, equals, written = text.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"{text!r} is not KEY=VALUE", remedy="Write for example retriever.top_k=5."
            )
        value = _yaml_value(written, key)
        if key == "store" and not isinstance(value, Mapping):
            value = written
        return cls(tuple(key.split(".")), value, source)


Overrides = Mapping[str, Any] | Iterable[str | Override]


def load_settings(
    path: str | Path | None = None,
    overrides: Overrides = (),
    *,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read settings; later sources win: defaults, file, environment, overrides.

    Args:
        path: a YAML file, or the name of one that ships with qa-system (`sample`); None takes
            the defaults.
        overrides: `{"store.path": "x"}`; or `["store.path=x"]` with YAML values as after `--set`,
            among which `Override`s are taken as they are. A None in the mapping means "not given"
            and is passed over. `store` alone names the store: its folder, its index where the
            other settings say `type: elasticsearch`, or a server's address with the index.
        environ: the environment; None takes the process's.

    Raises:
        ConfigError: naming every unknown key and wrong value by its path.
        InvalidArgumentError: an argument has a wrong type.

    >>> load_settings(overrides=["retriever.top_k=3"], environ={}).retriever.top_k
    3
    >>> load_settings(overrides={"store": "http://localhost:9200/reviews"}, environ={}).store.index
    'reviews'
    """
    tree = {} if path is None else read_yaml(path, "settings")
    in_environment = _environment(os.environ if environ is None else environ)
    sources = apply_overrides(tree, [*in_environment, *_overrides_of(overrides)])
    return _validated(tree, sources, None if path is None else str(path))


def changed(settings: Settings, overrides: Overrides) -> Settings:
    """Return settings with some of them changed.

    Args:
        settings: as they were.
        overrides: as for `load_settings`.

    Raises:
        ConfigError: naming every unknown key and wrong value by its path.

    >>> changed(Settings(), {"retriever.top_k": 3}).retriever.top_k
    3
    """
    tree = settings.model_dump(exclude_unset=True)
    return _validated(tree, apply_overrides(tree, overrides), None)


def _validated(tree: dict[str, Any], sources: Mapping[str, str], where: str | None) -> Settings:
    check_texts_inside("the settings", tree)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(
            describe(error, sources),
            where=where,
            remedy=f"{resource('configs') / 'default.yaml'} lists every key with its meaning.",
        ) from None


def apply_overrides(tree: dict[str, Any], overrides: Overrides) -> dict[str, str]:
    """Put values into a tree, later ones over earlier ones.

    Returns:
        By key, with dots between its parts: where its value came from.
    """
    given = list(_overrides_of(overrides))
    # What a store's name means depends on the type, which may be given after the name.
    types = [value for path, value, _ in given if path == ("store", "type")]
    type_ = {"type": types[-1]} if types else {}
    sources: dict[str, str] = {}
    for path, value, source in given:
        if path == ("store",) and not isinstance(value, Mapping):
            written = tree.get("store")
            section = written if isinstance(written, Mapping) else {}
            tree["store"] = placed = place_store({**section, **type_}, str(value))
            changed = [key for key in placed if placed[key] != section.get(key)]
            sources |= {f"store.{key}": source for key in changed}
        else:
            _assign(tree, path, value)
            sources[".".join(path)] = source
    return sources


def read_yaml(name: str | Path, kind: Kind) -> dict[str, Any]:
    """Read a file of keys and values.

    Args:
        name: its path, or its name among the shipped files of a kind.
        kind: what it is.

    Raises:
        ConfigError: there is no such file, or it is not YAML with keys.
        InvalidArgumentError: the name is no path.
    """
    if not isinstance(name, str | os.PathLike):
        raise InvalidArgumentError(
            f"the {kind} file is {name!r:.60}, not a path", remedy="Pass a str or a Path."
        )
    path = named(name, kind)
    try:
        with path.open(encoding="utf-8-sig") as file:
            loaded = load_yaml(file.read(MAX_CHARS + 1))
    except OSError as error:
        raise ConfigError(
            f"cannot read the configuration: {error.strerror or error}",
            where=str(path),
            remedy=f"Name an existing YAML file, or one that ships with qa-system: "
            f"{', '.join(shipped(kind))}.",
        ) from error
    except ValueError as error:
        raise ConfigError(
            f"the configuration is not YAML: {error}", where=str(path), remedy="Mend the file."
        ) from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"the configuration holds a {type(loaded).__name__}, not keys",
            where=str(path),
            remedy="Write lines of `key: value`.",
        )
    return loaded


def _environment(environ: Mapping[str, str]) -> Iterator[Override]:
    for name, text in environ.items():
        if name.startswith(ENVIRONMENT_PREFIX) and "__" in name:
            path = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__"))
            yield Override(path, _yaml_value(text, name), f"environment variable {name}")


def _overrides_of(overrides: Overrides) -> Iterator[Override]:
    if isinstance(overrides, Mapping):
        for key, value in overrides.items():
            if not isinstance(key, str):
                raise InvalidArgumentError(
                    f"the key of an override is {key!r:.60}, not a text", remedy="Pass a str."
                )
            if value is not None:
                yield Override(tuple(key.split(".")), value, "override")
        return
    if isinstance(overrides, str) or not isinstance(overrides, Iterable):
        raise InvalidArgumentError(f"overrides is {overrides!r:.60}", remedy=_OVERRIDES_ARE)
    for each in overrides:
        if not isinstance(each, str | Override):
            raise InvalidArgumentError(f"an override is {each!r:.60}", remedy=_OVERRIDES_ARE)
        yield Override.parse(each) if isinstance(each, str) else each


def _yaml_value(text: str, where: str) -> Any:
    try:
        return load_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{text!r:.80} is not a YAML value: {error}", where=where) from error


def _assign(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    *parents, last = path
    node = tree
    for parent in parents:
        child = node.get(parent)
        if not isinstance(child, dict):
            child = {}
            node[parent] = child
        node = child
    node[last] = value


def describe(
    invalid: ValidationError, sources: Mapping[str, str], *, whole: str = "settings"
) -> str:
    """Return every error of settings in one line, with the source of each value if it is known.

    Args:
        invalid: the errors.
        sources: where values came from, by key.
        whole: what an error is of that concerns no single key.
    """
    return "; ".join(described_errors(invalid, sources, whole=whole))


def described_errors(
    invalid: ValidationError, sources: Mapping[str, str], *, whole: str = "settings"
) -> list[str]:
    """Return what `describe` joins: a text for each of `invalid.errors()`, in their order."""
    lines = []
    for error in invalid.errors():
        place = [str(part) for part in error["loc"] if part != "[key]"]
        if place[:1] == ["store"] and len(place) > 1:
            del place[1]  # the type of the store, which is no key
        dotted = ".".join(place) or whole
        origin = _origin(place, sources)
        if error["type"] == "union_tag_invalid":
            given, known = error["ctx"]["tag"], error["ctx"]["expected_tags"]
            lines.append(f"store.type: there is no {given!r}, but {known}{origin}")
        elif error["type"] == "extra_forbidden":
            lines.append(f"{dotted}: no such key{origin}")
        else:
            lines.append(f"{dotted}: {_plain(error)}{origin}")
    return lines


WANTED: Final = {
    "bool": "true or false",
    "dict": "keys with values",
    "invalid_key": "a text",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "keys with values",
    "string": "a text",
    "tuple": "a list",
    "finite_number": "a finite number",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "of the form {pattern}",
    "string_too_short": "at least {min_length} long",
    "too_short": "at least {min_length} long",
}
"""What a value must be, by the error's type; the types of types begin with these: `int_parsing`."""


def _plain(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":  # one of our own checks, which says all
        return str(context["error"])
    if kind == "missing":
        return "is missing"
    wanted = WANTED.get(kind) or WANTED.get(kind.partition("_")[0])
    said = error["msg"].lower() if wanted is None else f"must be {wanted.format(**context)}"
    given = error["input"]
    shown = f"a {type(given).__name__}" if isinstance(given, dict | list) else f"{given!r:.60}"
    return f"{said}, and is {shown}"


def _origin(place: list[str], sources: Mapping[str, str]) -> str:
    for length in range(len(place), 0, -1):
        source = sources.get(".".join(place[:length]))
        if source is not None:
            return f" [{source}]"
    return ""
