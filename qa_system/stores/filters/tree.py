"""What a filter says, in a form that both stores translate.

`parse_filters` checks a filter, and simplifies it: negations stand at the comparisons, groups in
groups of the same kind are one, and equalities with one field that are alternatives are one `in`.
A filter is limited, so that every store can hold it: see `MOST_LEVELS` and `MOST_CONDITIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from reprlib import Repr
from typing import Any, Final

import numpy as np
from haystack.errors import FilterError
from haystack.utils.filters import COMPARISON_OPERATORS, LOGICAL_OPERATORS

from qa_system.errors import StoreError
from qa_system.review_ids import COPY_OF
from qa_system.stores.filters.values import iso_date

__all__ = [
    "MOST_CONDITIONS",
    "MOST_LEVELS",
    "PRESENCES",
    "Comparison",
    "Group",
    "InvalidFilterError",
    "Node",
    "comparisons",
    "copies_of",
    "of_item",
    "parse_filters",
    "selects_one_item",
]

MOST_LEVELS: Final = 20
"""Groups (AND, OR, NOT) inside one another."""
MOST_CONDITIONS: Final = 500
"""Comparisons in a filter; those that are one `in` count once, however many values it has."""
_ITEM_FIELD: Final = "meta.item_id"
BEYOND_FLOATS: Final = 2**1024
ORDERINGS: Final = frozenset({">", ">=", "<", "<="})
PRESENCES: Final = ("embedding", "blob", "sparse_embedding")
"""Parts of a document that only are there or not."""


class InvalidFilterError(StoreError, FilterError):
    """A filter is malformed, too large, or compares what cannot be compared."""

    public_message = "The filter is not valid."
    exit_code = 2


@dataclass(frozen=True, slots=True)
class Comparison:
    """One field compared with values.

    Args:
        column: "id", "content", "meta" or one of `PRESENCES`.
        keys: the way to a value inside "meta"; none: the whole of the column.
        operator: "in", ">", ">=", "<" or "<=".
        values: any number for "in", where None is a missing value; else one.
        is_negated: whether a document is selected that does not match.
    """

    column: str
    keys: tuple[str, ...]
    operator: str
    values: tuple[Any, ...]
    is_negated: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Parts of which every one, or one at least, selects a document.

    Args:
        every: whether it takes all of them; of no parts, all do, and none does.
        parts: comparisons, and groups of the other kind.
    """

    every: bool
    parts: tuple[Node, ...]


Node = Comparison | Group


def parse_filters(filters: Mapping[str, Any] | None) -> Node | None:
    """Return what a Haystack filter says; None and `{}` select everything and return None.

    Raises:
        InvalidFilterError: the filter is malformed, has an unknown operator (the message lists
            those that exist), or exceeds a limit.

    >>> same = {"field": "meta.stars", "operator": "==", "value": 5}
    >>> parse_filters({"operator": "NOT", "conditions": [same]})
    Comparison(column='meta', keys=('stars',), operator='in', values=(5,), is_negated=True)
    """
    if filters is None:
        return None
    if not isinstance(filters, Mapping):
        raise InvalidFilterError(
            f"a filter is a dictionary, not {type(filters).__name__}",
            remedy='Write {"field": "meta.NAME", "operator": "==", "value": ...}.',
        )
    if not filters:
        return None
    try:
        own = _adds_item(filters)
        tree = _parse(filters, negated=False, level=1 - own)
    except RecursionError as error:
        raise InvalidFilterError(
            "a value of the filter has lists or dictionaries too deep inside one another",
            remedy="Compare with single values, or with flat lists.",
        ) from error
    number = sum(1 for _ in comparisons(tree)) - own
    if number > MOST_CONDITIONS:
        raise InvalidFilterError(
            f"the filter has {number:,} conditions, and {MOST_CONDITIONS} can be",
            where=shown(filters),
            remedy="Use `in` with one list in place of many equalities, or ask several times.",
        )
    return tree


def of_item(item_id: str, filters: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the filter that selects the documents of an item that a filter selects.

    The group and the condition that it adds do not count for the limits: what may be asked of all
    documents may be asked of an item's.

    >>> of_item("lamp", {})
    {'field': 'meta.item_id', 'operator': '==', 'value': 'lamp'}
    """
    item = {"field": _ITEM_FIELD, "operator": "==", "value": item_id}
    return {"operator": "AND", "conditions": [item, dict(filters)]} if filters else item


def selects_one_item(filters: Mapping[str, Any] | None) -> bool:
    """Tell whether a filter selects the documents of one item, or some of them.

    >>> selects_one_item(of_item("lamp", {"field": "meta.stars", "operator": ">", "value": 3}))
    True
    >>> selects_one_item({"field": "meta.stars", "operator": ">", "value": 3})
    False
    """
    tree = parse_filters(filters)
    parts = tree.parts if isinstance(tree, Group) and tree.every else (tree,)
    return any(isinstance(part, Comparison) and _is_of_item(part) for part in parts)


def copies_of(review_ids: Iterable[str]) -> dict[str, Any]:
    """Return the filter that selects the documents of reviews that are copies of these.

    >>> copies_of(["r1"])
    {'field': 'meta.copy_of', 'operator': 'in', 'value': ['r1']}
    """
    return {"field": f"meta.{COPY_OF}", "operator": "in", "value": list(review_ids)}


def _is_of_item(part: Comparison) -> bool:
    is_equal = part.operator == "in" and not part.is_negated
    is_named = is_equal and len(part.values) == 1 and part.values[0] is not None
    return is_named and (part.column, *part.keys) == ("meta", "item_id")


def _adds_item(filters: Mapping[str, Any]) -> bool:
    """Tell whether a filter is one that `of_item` has added an item to."""
    match filters:
        case {
            "operator": "AND",
            "conditions": [{"field": field, "operator": "=="}, Mapping()],
        }:
            return bool(field == _ITEM_FIELD)
    return False


def comparisons(tree: Node) -> Iterator[Comparison]:
    """Stream the comparisons of a filter."""
    if isinstance(tree, Comparison):
        yield tree
    else:
        for part in tree.parts:
            yield from comparisons(part)


def _parse(node: Mapping[str, Any], *, negated: bool, level: int) -> Node:
    if "field" in node:
        return _comparison(node, negated)
    if level > MOST_LEVELS:
        raise InvalidFilterError(
            f"the filter is nested deeper than {MOST_LEVELS} groups",
            remedy="Write the conditions of an AND inside an AND, or of an OR inside an OR, in one"
            " list; use `in` for alternatives.",
        )
    operator = _known(node, LOGICAL_OPERATORS, "logical")
    if "conditions" not in node:
        raise _missing("conditions", node)
    conditions = node["conditions"]
    if not isinstance(conditions, list) or not all(isinstance(c, Mapping) for c in conditions):
        raise InvalidFilterError("'conditions' is not a list of dictionaries", where=shown(node))
    if operator == "NOT":
        negated = not negated
    parts = [_parse(each, negated=negated, level=level + 1) for each in conditions]
    return _group(parts, every=(operator == "OR") == negated)


def _group(parts: Sequence[Node], *, every: bool) -> Node:
    flat: list[Node] = []
    for part in parts:
        is_same = isinstance(part, Group) and part.every == every
        flat += part.parts if is_same and isinstance(part, Group) else [part]
    # Of alternatives, equalities with one field are one; of requirements, inequalities are.
    merged: dict[tuple[str, tuple[str, ...]], dict[Any, Any]] = {}
    kept: list[Node] = []
    for part in flat:
        if isinstance(part, Group) or part.operator != "in" or part.is_negated != every:
            kept.append(part)
            continue
        place = (part.column, part.keys)
        if place not in merged:
            merged[place] = {}
            kept.append(part)
        # By type, too: 1 and True are as good as each other, a text is neither.
        merged[place].update((_identity(value), value) for value in part.values)
    kept = [
        Comparison(
            part.column, part.keys, "in", tuple(merged[part.column, part.keys].values()), every
        )
        if isinstance(part, Comparison) and part.operator == "in" and part.is_negated == every
        else part
        for part in kept
    ]
    return kept[0] if len(kept) == 1 else Group(every, tuple(kept))


def _identity(value: Any) -> Any:
    if isinstance(value, list | dict):
        return id(value)
    return (type(value).__name__, value)


def _comparison(node: Mapping[str, Any], negated: bool) -> Node:
    operator = _known(node, COMPARISON_OPERATORS, "comparison")
    if "value" not in node:
        raise _missing("value", node)
    field = node["field"]
    if not isinstance(field, str):
        raise InvalidFilterError("'field' is not a string", where=shown(node))
    value = plain_value(node["value"], node)
    plain_value(field, node)
    _refuse_incomparable(operator, value, node)
    if operator in ("!=", "not in"):
        negated = not negated
    values = tuple(value) if operator in ("in", "not in") else (value,)
    if operator not in ORDERINGS:
        operator = "in"
    root, *keys = field.split(".")
    if field in PRESENCES:
        if operator != "in" or any(each is not None for each in values):
            raise InvalidFilterError(
                f"{field!r} can only be compared with None",
                where=shown(node),
                remedy="Use == or != with None to select by its presence.",
            )
        return Comparison(field, (), operator, values, negated)
    if field in ("id", "content", "meta"):
        return Comparison(field, (), operator, values, negated)
    if field == "score" or (keys and root != "meta"):
        # Haystack looks for an attribute of the document, which has none, or no such parts.
        return Group((operator == "in" and None in values) != negated, ())
    return Comparison("meta", tuple(keys) or (field,), operator, values, negated)


def plain_value(value: Any, node: Mapping[str, Any]) -> Any:
    """Return the value as JSON has it, dates as ISO text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InvalidFilterError(
                "a text of the filter is not Unicode that UTF-8 can hold",
                where=shown(node),
                remedy="Read it in its own encoding; half of a surrogate pair is no character.",
            ) from error
        return value
    if isinstance(value, int) and abs(value) >= BEYOND_FLOATS:
        return math.inf if value > 0 else -math.inf  # no number of a document is as large
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return [plain_value(part, node) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain_value(part, node) for key, part in value.items()}
    raise InvalidFilterError(
        f"a filter cannot compare with {type(value).__name__}",
        where=shown(node),
        remedy="Use a string, a number, a bool, None, a date, a list or a dictionary of those.",
    )


def _refuse_incomparable(operator: str, value: Any, node: Mapping[str, Any]) -> None:
    if operator in ("in", "not in") and not isinstance(node["value"], list):
        raise InvalidFilterError(
            f"{operator!r} needs a list, not {type(node['value']).__name__}", where=shown(node)
        )
    if operator in ORDERINGS and isinstance(value, list | dict):
        raise InvalidFilterError(
            f"{operator!r} cannot compare with a {type(value).__name__}",
            where=shown(node),
            remedy="Compare with a number or a date.",
        )
    if operator in ORDERINGS and isinstance(value, str) and iso_date(value) is None:
        raise InvalidFilterError(
            f"{value!r:.80} is not a date, and other strings have no order",
            where=shown(node),
            remedy="Compare with a number or an ISO date such as 2024-02-29.",
        )


def _known(node: Mapping[str, Any], operators: Mapping[str, Any], kind: str) -> str:
    if "operator" not in node:
        raise _missing("operator", node)
    operator = node["operator"]
    if not isinstance(operator, str) or operator not in operators:
        raise InvalidFilterError(
            f"unknown {kind} operator {operator!r:.80}",
            where=shown(node),
            remedy=f"The {kind} operators are: {', '.join(operators)}.",
        )
    return operator


def _missing(key: str, node: Mapping[str, Any]) -> InvalidFilterError:
    return InvalidFilterError(
        f"{key!r} is missing from a filter",
        where=shown(node),
        remedy=(
            "A comparison has field, operator and value; a logical node operator and conditions."
        ),
    )


_repr = Repr()
_repr.maxlevel, _repr.maxdict, _repr.maxlist, _repr.maxstring, _repr.maxother = 4, 6, 3, 80, 80


def shown(node: Mapping[str, Any]) -> str:
    """Return the beginning of a filter, however large it is."""
    return _repr.repr(dict(node))[:200]
