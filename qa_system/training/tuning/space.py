"""A search space: keys of a recipe, and the values that are tried for each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import TypeAdapter, ValidationError, model_validator

from qa_system.config import (
    Override,
    Overrides,
    Strict,
    apply_overrides,
    described_errors,
    read_yaml,
)
from qa_system.config.shipped import resource
from qa_system.errors import ConfigError
from qa_system.training.tuning.kinds import recipe_of

if TYPE_CHECKING:
    from optuna.trial import Trial

    from qa_system.training.recipes import Training

__all__ = ["Dimension", "Search", "Value", "load_search"]

Value = str | int | float | bool | None

GOLDEN = (3 - math.sqrt(5)) / 2
"""A share of a range at which no whole number stands by chance."""


class Dimension(Strict):
    """The values that are tried for one key."""

    type: Literal["float", "log", "int", "categorical"]
    """`log`: numbers whose logarithms are evenly spread."""
    low: float | None = None
    high: float | None = None
    step: float | None = None
    """Between values, counted from `low`; None: any number, or every whole number."""
    choices: tuple[Value, ...] | None = None

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if problem := self._problem():
            raise ValueError(problem)
        return self

    def _problem(self) -> str | None:
        if self.type == "categorical":
            if not self.choices or (self.low, self.high, self.step) != (None, None, None):
                return "`categorical` has `choices`, and nothing else"
            return None
        if self.low is None or self.high is None or self.choices is not None:
            return f"`{self.type}` has `low` and `high`, and no `choices`"
        if not self.low <= self.high or (self.type == "log" and self.low <= 0):
            least = " above 0" if self.type == "log" else ""
            return f"`low` must be a number{least}, and no more than `high`"
        if self.step is not None and (self.type == "log" or self.step <= 0):
            return "`step` is a number above 0, and not for `log`"
        if self.type == "int" and not all(
            float(each).is_integer() for each in (self.low, self.high, self.step or 1)
        ):
            return "`int` has whole numbers"
        return None

    def probes(self) -> tuple[Value, ...]:
        """Return values of which the schema accepts all if it accepts every one that is tried.

        >>> Dimension(type="int", low=2, high=4).probes()
        (2, 4)
        >>> Dimension(type="categorical", choices=(8, "all")).probes()
        (8, 'all')
        """
        if self.type == "categorical":
            return self.choices or ()
        low, high = self._bounds()
        if self.type == "int":
            return int(low), int(high)
        # A key with whole numbers would take both ends, and nothing between them.
        between = low + (self.step or float(f"{GOLDEN * (high - low):.2g}"))
        return low, min(between, high), high

    def holds(self, value: object) -> bool:
        """Tell whether a value is one of those that are tried.

        >>> tenths = Dimension(type="float", low=0, high=1, step=0.1)
        >>> [tenths.holds(value) for value in (0.3, 0.35, None)]
        [True, False, False]
        """
        if self.type == "categorical":
            return any(value == each and type(value) is type(each) for each in self.choices or ())
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        low, high = self._bounds()
        step = self.step or (1 if self.type == "int" else None)
        steps = 0.0 if step is None else (value - low) / step
        return low <= value <= high and abs(steps - round(steps)) < 1e-9

    def suggested(self, trial: Trial, key: str) -> Value:
        """Let a trial choose a value; the same one whenever this trial is asked."""
        if self.type == "categorical":
            chosen: Value = trial.suggest_categorical(key, self.choices or ())
            return chosen
        low, high = self._bounds()
        if self.type == "int":
            return trial.suggest_int(key, int(low), int(high), step=int(self.step or 1))
        return trial.suggest_float(key, low, high, step=self.step, log=self.type == "log")

    def _bounds(self) -> tuple[float, float]:
        low, high = float(self.low or 0), float(self.high or 0)
        if self.step is None:
            return low, high
        return low, low + math.floor((high - low) / self.step + 1e-9) * self.step


@dataclass(frozen=True)
class Search:
    """What a search tries, checked.

    Args:
        kind: of the training; see `qa_system.training.tuning.kinds`.
        tree: the recipe's keys and values.
        space: by key, with dots between its parts.
    """

    kind: str
    tree: Mapping[str, Any]
    space: Mapping[str, Dimension]

    def recipe(self, values: Mapping[str, Value]) -> Training:
        """Return the recipe with values in their places.

        Raises:
            ConfigError: together they are no recipe.
        """
        tree, _ = _placed(self.tree, values, "this trial")
        try:
            return recipe_of(self.kind).model_validate(tree)
        except ValidationError as error:
            raise ConfigError("; ".join(described_errors(error, {}, whole="recipe"))) from None

    def own_values(self) -> dict[str, Value]:
        """Return the recipe's own values, or defaults, that the space holds."""
        refused = {path for path, _ in _errors(recipe_of(self.kind), self.tree, {})}
        lacking = {
            key: dimension.probes()[0]
            for key, dimension in self.space.items()
            if tuple(key.split(".")) in refused
        }
        whole = self.recipe(lacking).model_dump(mode="json")
        found = {key: _at(whole, key) for key in self.space if key not in lacking}
        return {key: value for key, value in found.items() if self.space[key].holds(value)}


def load_search(
    kind: str, recipe: str | Path, space: str | Path, overrides: Overrides = ()
) -> Search:
    """Read a recipe and a space, and check the space against the recipe's schema.

    Args:
        kind: of the training.
        recipe: a YAML file, or the name of one that ships with qa-system.
        space: likewise.
        overrides: what takes the place of the recipe's values.

    Raises:
        ConfigError: naming every unknown key and wrong value of both.

    >>> load_search("distill", "distill", "distill", ["teacher=large", "model=small"]).own_values()
    {'alpha': 0.5, 'temperature': 2.0}
    """
    tree = read_yaml(recipe, "recipe")
    sources = apply_overrides(tree, overrides)
    if kind == "distill" and "teacher" in tree:
        tree.setdefault("model", tree["teacher"])  # as `qa distill TEACHER` has it
    dimensions, problems = _dimensions(read_yaml(space, "space"))
    problems += _refused(kind, tree, sources, dimensions)
    if problems:
        raise ConfigError(
            "; ".join(dict.fromkeys(problems)),
            where=f"{recipe} with {space}",
            remedy=f"{resource('configs') / 'tune' / 'distill.yaml'} explains how a space is "
            f"written, the recipes in {resource('configs') / 'train'} every key.",
        )
    return Search(kind, tree, dimensions)


def _dimensions(tree: Mapping[str, Any]) -> tuple[dict[str, Dimension], list[str]]:
    found: dict[str, Dimension] = {}
    problems = [] if tree else ["the space has no key"]
    one = TypeAdapter(Dimension)
    for key, value in tree.items():
        try:
            found[str(key)] = one.validate_python(value)
        except ValidationError as error:
            lines = described_errors(error, {}, whole="")
            problems += [f"space, {key}: {line.removeprefix(': ')}" for line in lines]
    return found, problems


def _refused(
    kind: str,
    tree: Mapping[str, Any],
    sources: Mapping[str, str],
    space: Mapping[str, Dimension],
) -> list[str]:
    """Return what the recipe's schema refuses: of the recipe, and of each key's values."""
    schema = recipe_of(kind)
    paths = {tuple(key.split(".")) for key in space}
    problems = [
        line for path, line in _errors(schema, tree, sources) if path not in paths or not path
    ]
    for key, dimension in space.items():
        asked = tuple(key.split("."))
        for value in dimension.probes():
            tried, told = _placed(tree, {key: value}, "space")
            for path, line in _errors(schema, tried, told):
                if path[: len(asked)] == asked:
                    problems.append(line)
                elif path and asked[: len(path)] == path:  # what holds it has no keys, or is none
                    problems.append(f"{key}: no such key [space]")
    return problems


def _errors(
    schema: type[Training], tree: Mapping[str, Any], sources: Mapping[str, str]
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the place of each error, and what it is."""
    try:
        schema.model_validate(tree)
    except ValidationError as error:
        lines = described_errors(error, sources, whole="recipe")
        for each, line in zip(error.errors(), lines, strict=True):
            yield tuple(map(str, each["loc"])), line


def _placed(
    tree: Mapping[str, Any], values: Mapping[str, Value], source: str
) -> tuple[dict[str, Any], dict[str, str]]:
    copy = deepcopy(dict(tree))
    told = [Override(tuple(key.split(".")), value, source) for key, value in values.items()]
    return copy, apply_overrides(copy, told)


def _at(tree: Any, key: str) -> Any:
    for part in key.split("."):
        tree = tree.get(part) if isinstance(tree, Mapping) else None
    return tree
