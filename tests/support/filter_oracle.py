"""What a filter selects, in plain Python: the oracle of both stores.

Single values are compared by Haystack's own functions. Beside them stand the two rules of ours: a
list matches where one of its values does, and what has no order does not match.
"""

import operator
from datetime import date, datetime

import numpy as np
from haystack.utils.filters import COMPARISON_OPERATORS, _looks_like_iso_date, _parse_iso_date

ORDERS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
OPPOSITES = {"!=": "==", "not in": "in"}


def selects(filters, document):
    """Whether a valid filter selects a document."""
    if "field" in filters:
        return _compares(filters["field"], filters["operator"], filters["value"], document)
    found = [selects(each, document) for each in filters["conditions"]]
    if filters["operator"] == "OR":
        return any(found)
    return all(found) == (filters["operator"] == "AND")


def _compares(field, name, wanted, document):
    if name in OPPOSITES:
        return not _compares(field, OPPOSITES[name], wanted, document)
    if name == "in":
        return any(_compares(field, "==", each, document) for each in wanted)
    value = _plain(_value_at(field, document))
    wanted = _plain(wanted)
    values = [value]
    if isinstance(value, list):
        values += [each for each in value if each is not None]
    compare = _is_ordered if name in ORDERS else _equals
    return any(compare(name, each, wanted) for each in values)


def _equals(name, value, wanted):
    return COMPARISON_OPERATORS[name](value, wanted, False)


def _is_ordered(name, value, wanted):
    if isinstance(value, int | float) and isinstance(wanted, int | float):
        return ORDERS[name](value, wanted)
    dates = [_date(value), _date(wanted)]
    return None not in dates and COMPARISON_OPERATORS[name](*dates, False)


def _date(value):
    return _parse_iso_date(value) if _looks_like_iso_date(value) else None


def _value_at(field, document):
    if field in ("id", "content", "blob", "embedding", "sparse_embedding", "meta"):
        return getattr(document, field)
    root, *keys = field.split(".")
    if field == "score" or (keys and root != "meta"):
        return None
    value = document.meta
    for key in keys or [field]:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _plain(value):
    """As JSON keeps it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value
