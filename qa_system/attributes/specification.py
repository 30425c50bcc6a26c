"""The attributes that are asked for: a YAML file of names, question forms and allowed values."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from qa_system.attributes.quantities import unit_of
from qa_system.config import Positive, Strict, describe, read_yaml
from qa_system.consensus.questions import is_polar
from qa_system.errors import ConfigError

__all__ = ["Attribute", "Kind", "Specification", "read_specification"]

Kind = Literal["text", "yes_no", "number", "one_of"]
"""What a value is: words of a review; yes, no or divided; a number in a unit; one of a list."""
Words = Annotated[tuple[str, ...], Field(min_length=1)]


class Attribute(Strict):
    """An attribute and how shoppers ask for it.

    >>> Attribute(questions=("How heavy is it?",), type="number", unit="kg").applies_to("tent-2")
    True
    """

    questions: Words
    """The forms of the question. All are asked, and their answers are counted together."""
    type: Kind = "text"
    unit: str | None = None
    """Of a number: values are converted to it. None: a number without a unit."""
    least: float | None = None
    """Of a number: a smaller one is not meant."""
    most: float | None = None
    """Of a number: a larger one is not meant."""
    values: Mapping[str, Words] = Field(default_factory=dict)
    """Of `one_of`: each value, and the words by which reviews say it."""
    items: Words = ("*",)
    """Patterns of the ids of the items that have it: `tent-*`. None written: all items."""
    min_support: Positive = 1
    """Reviews that a value needs."""

    @field_validator("questions")
    @classmethod
    def _has_words(cls, questions: tuple[str, ...]) -> tuple[str, ...]:
        if any(not any(map(str.isalnum, each)) for each in questions):
            raise ValueError("a question has no words")
        if repeated := [text for text, times in Counter(questions).items() if times > 1]:
            raise ValueError(f"the question {repeated[0]!r} stands there twice")
        return questions

    @field_validator("values", mode="before")
    @classmethod
    def _with_words(cls, values: object) -> object:
        if not isinstance(values, list):
            return values
        if repeated := [text for text, times in Counter(map(str, values)).items() if times > 1]:
            raise ValueError(f"the value {repeated[0]!r} stands there twice")
        return {each: (each,) for each in values}

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.type == "one_of") != bool(self.values):
            raise ValueError("values belong to the type one_of, which needs them")
        if any(not word.strip() for words in self.values.values() for word in words):
            raise ValueError("a value has an empty word")
        if {self.unit, self.least, self.most} != {None} and self.type != "number":
            raise ValueError("unit, least and most belong to the type number")
        if self.least is not None and self.most is not None and self.least > self.most:
            raise ValueError("least is above most")
        if self.unit is not None and unit_of(self.unit) is None:
            raise ValueError(f"the unit {self.unit!r} is not known")
        if self.type == "yes_no" and not all(map(is_polar, self.questions)):
            open_ = next(each for each in self.questions if not is_polar(each))
            raise ValueError(f"yes or no does not answer {open_!r}")
        return self

    def applies_to(self, item_id: str) -> bool:
        """Tell whether an item has the attribute."""
        return any(fnmatchcase(item_id, pattern) for pattern in self.items)


class Specification(Strict):
    """The attributes of a catalogue, by their names.

    >>> found = Specification(attributes={"colour": {"questions": ["What colour is it?"]}})
    >>> found.of_item("mug"), found.attributes["colour"].type
    (['colour'], 'text')
    """

    attributes: Annotated[Mapping[str, Attribute], Field(min_length=1)]

    def of_item(self, item_id: str) -> list[str]:
        """Return the names of the attributes that an item has, in the order of the file."""
        return [name for name, each in self.attributes.items() if each.applies_to(item_id)]

    @property
    def digest(self) -> str:
        """Digest of everything that the file says."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


def read_specification(path: str | Path) -> Specification:
    """Read a file of attributes.

    Args:
        path: a YAML file, or the name of one that ships with qa-system (`sample`).

    Raises:
        ConfigError: naming every unknown key and wrong value.

    >>> read_specification("sample").attributes["weight"].unit
    'g'
    """
    tree = read_yaml(path, "attributes")
    try:
        return Specification.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(
            describe(error, {}, whole="attributes"),
            where=str(path),
            remedy="docs/few-labels.md lists every key of a file of attributes.",
        ) from None
