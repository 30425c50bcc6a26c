"""Filters: as SQL they select what plain Python selects, on anything."""

# ruff: noqa: DTZ001 - naive dates are what is compared

import json
import math
import sqlite3
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from haystack.dataclasses import Document
from haystack.errors import FilterError
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filter_oracle import selects
from qa_system.errors import StoreError
from qa_system.stores.documents import COLUMNS, encode_documents
from qa_system.stores.filters import (
    InvalidFilterError,
    Matcher,
    json_extract,
    of_item,
    parse_filters,
    to_sql,
)
from qa_system.stores.filters.tree import MOST_CONDITIONS, MOST_LEVELS
from qa_system.stores.filters.values import iso_date


class Table:
    """The ledger's documents, in memory."""

    def __init__(self, documents):
        self.connection = sqlite3.connect(":memory:")
        self.connection.create_function("value_matches", 2, Matcher(), deterministic=True)
        self.connection.execute(f"CREATE TABLE documents (row INTEGER PRIMARY KEY, {COLUMNS})")
        self.connection.executemany(
            "INSERT INTO documents VALUES (NULL, ?, ?, ?, ?, ?, ?, ?)", encode_documents(documents)
        )
        for name in ("item_id", "review_id"):
            self.connection.execute(f"CREATE INDEX by_{name} ON documents ({json_extract([name])})")

    def select(self, filters):
        tree = parse_filters(filters)
        if tree is None:
            return [id_ for (id_,) in self.connection.execute("SELECT id FROM documents")]
        condition = to_sql(tree)
        sql = f"SELECT id FROM documents WHERE {condition.sql} ORDER BY row"
        return [id_ for (id_,) in self.connection.execute(sql, condition.parameters)]

    def plan(self, filters):
        condition = to_sql(parse_filters(filters))
        sql = f"EXPLAIN QUERY PLAN SELECT row FROM documents WHERE {condition.sql}"
        return " ".join(row[3] for row in self.connection.execute(sql, condition.parameters))


def equals(field, value):
    return {"field": field, "operator": "==", "value": value}


KEYS = [
    "item_id",
    "stars",
    "a",
    "b",
    'quo"te',
    "back\\slash",
    "dot",
    "",
    "o'clock",
    "Ünïcode",
    "id",
]
texts = st.one_of(
    st.sampled_from(["", "B00", "5", "1", "true", "null", "[1]", '{"a":1}', "2024-02-29", "x"]),
    st.sampled_from(["2024-02-29T00:00:00", "2024-02-29 00:00:00+00:00", "2024-02-28T24:00:00"]),
    st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=5),
)
numbers = st.one_of(
    st.sampled_from([0, 1, -1, 5, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 2**63, 2**64 - 1]),
    st.sampled_from([0.0, -0.0, 1.0, 5.0, 0.1, 0.1 + 0.2, 0.3, 1e300, 5e-324, 2.0**53]),
    st.sampled_from([math.nextafter(5, 6), math.nextafter(5, 4), math.nextafter(1, 2)]),
    st.integers(-3, 7),
    st.floats(allow_nan=False, allow_infinity=False),
)
datetimes = st.one_of(
    st.sampled_from(
        [
            datetime(2024, 2, 29),
            datetime(2024, 2, 29, tzinfo=UTC),
            datetime(2024, 2, 29, 2, tzinfo=timezone(timedelta(hours=2))),
            datetime(2024, 3, 1, 12, 30, 0, 5),
        ]
    ),
    st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)),
)
scalars = st.one_of(st.none(), st.booleans(), texts, numbers, datetimes)
values = st.one_of(
    scalars,
    st.lists(st.one_of(st.none(), st.booleans(), texts, numbers), max_size=3),
    st.dictionaries(st.sampled_from(KEYS), st.one_of(texts, numbers), max_size=2),
)
metas = st.dictionaries(
    st.sampled_from(KEYS),
    st.one_of(values, st.dictionaries(st.sampled_from(KEYS), values, max_size=2)),
    max_size=4,
).map(lambda meta: {key: meta[key] for key in meta if key != "item_id" or _is_item(meta[key])})


def _is_item(value):
    return value is None or isinstance(value, str)


fields = st.one_of(
    st.sampled_from(
        ["id", "content", "score", "meta", "unknown", "item_id", "a.b", "id.x", "meta."]
    ),
    st.sampled_from(KEYS).map(lambda key: f"meta.{key}"),
    st.tuples(st.sampled_from(KEYS), st.sampled_from(KEYS)).map(
        lambda keys: "meta.{}.{}".format(*keys)
    ),
)
comparisons = st.one_of(
    st.builds(
        lambda field, operator, value: {"field": field, "operator": operator, "value": value},
        fields,
        st.sampled_from(["==", "!=", ">", ">=", "<", "<="]),
        values,
    ),
    st.builds(
        lambda field, operator, value: {"field": field, "operator": operator, "value": value},
        fields,
        st.sampled_from(["in", "not in"]),
        st.one_of(
            st.lists(values, max_size=4), st.lists(st.integers(0, 9), min_size=33, max_size=40)
        ),
    ),
)
filter_trees = st.recursive(
    comparisons,
    lambda inner: st.builds(
        lambda operator, conditions: {"operator": operator, "conditions": conditions},
        st.sampled_from(["AND", "OR", "NOT"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=5,
)


@settings(max_examples=600, deadline=None)
@given(st.lists(metas, max_size=6), filter_trees)
@example([{"a": "[1]"}, {"a": [1]}], equals("meta.a", "[1]"))
@example([{"a": True}, {"a": 1}, {"a": 1.0}, {"a": "1"}], equals("meta.a", 1))
@example([{"a": math.nextafter(5, 6)}], equals("meta.a", 5))
@example([{"a": datetime(2024, 2, 29)}], equals("meta.a", "2024-02-29"))
@example([{"a": ["x", 5]}, {"a": "x"}, {"a": []}], equals("meta.a", "x"))
@example([{"a": [1, 7]}, {"a": 7}, {"a": "7"}], {"field": "a", "operator": ">", "value": 5})
@example([{"a": -0.0}, {"a": 0}, {"a": False}], equals("a", 0))
@example([{"a": 5}, {"a": "five"}], {"field": "meta.a", "operator": ">", "value": 3})
def test_selects_what_plain_python_selects(all_metas, filters):
    documents = [
        Document(id=f"d{place}", content=None if place % 3 == 2 else f"text {place}", meta=meta)
        for place, meta in enumerate(all_metas)
    ]
    try:
        selected = Table(documents).select(filters)
    except InvalidFilterError:
        assert any(_is_refused(each) for each in leaves(filters))
    else:
        assert selected == [each.id for each in documents if selects(filters, each)]


def leaves(filters):
    if "field" in filters:
        return [filters]
    return [leaf for each in filters["conditions"] for leaf in leaves(each)]


def _is_refused(leaf):
    """Whether a comparison says nothing, whatever it would be compared with."""
    field, operator, value = leaf["field"], leaf["operator"], leaf["value"]
    if field in ("embedding", "blob", "sparse_embedding"):
        return True
    if operator not in (">", ">=", "<", "<="):
        return False
    return isinstance(value, list | dict) or (isinstance(value, str) and iso_date(value) is None)


def test_the_indexes_are_used():
    table = Table([Document(id=str(n), meta={"item_id": f"B{n % 3}"}) for n in range(9)])
    one = equals("meta.item_id", "B1")
    for filters in (
        one,
        {"field": "item_id", "operator": "in", "value": ["B1", "B2"]},
        {
            "operator": "AND",
            "conditions": [one, {"field": "meta.stars", "operator": ">", "value": 3}],
        },
        equals("meta.item_id", 7),
    ):
        assert "USING COVERING INDEX by_item_id" in table.plan(filters) or (
            "USING INDEX by_item_id" in table.plan(filters)
        ), table.plan(filters)
    assert table.select(one) == ["1", "4", "7"]


@pytest.mark.parametrize("filters", [None, {}])
def test_no_filter_selects_everything(filters):
    assert parse_filters(filters) is None


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        ({"field": "meta.a", "operator": "~", "value": 1}, "==, !=, >, >=, <, <=, in, not in"),
        ({"operator": "XOR", "conditions": []}, "NOT, OR, AND"),
        ({"field": "meta.a", "value": 1}, "operator"),
        ({"field": "meta.a", "operator": "=="}, "value"),
        ({"operator": "AND"}, "conditions"),
        ({"operator": "AND", "conditions": {}}, "list"),
        ({"operator": "AND", "conditions": [{"operator": "==", "value": 1}]}, "unknown logical"),
        ({"conditions": []}, "operator"),
        ({"field": 3, "operator": "==", "value": 1}, "string"),
        ({"field": "meta.a", "operator": "in", "value": "abc"}, "list"),
        ({"field": "meta.a", "operator": "not in", "value": {"a"}}, "set"),
        ({"field": "meta.a", "operator": ">", "value": "soon"}, "not a date"),
        ({"field": "meta.a", "operator": "<", "value": [1]}, "list"),
        ({"field": "meta.a", "operator": "==", "value": object()}, "object"),
        ({"field": "embedding", "operator": "==", "value": [1.0]}, "None"),
        (["not a dictionary"], "dictionary"),
    ],
)
def test_a_malformed_filter_is_refused(filters, told):
    with pytest.raises(InvalidFilterError, match=r".*") as caught:
        parse_filters(filters)
    assert told in str(caught.value)
    assert isinstance(caught.value, StoreError)
    assert isinstance(caught.value, FilterError)


def test_dates_compare_as_their_text():
    table = Table(
        [
            Document(id="old", meta={"on": date(2023, 5, 1)}),
            Document(id="new", meta={"on": date(2024, 5, 1)}),
        ]
    )
    after = {"field": "meta.on", "operator": ">", "value": date(2024, 1, 1)}
    assert table.select(after) == ["new"]
    assert table.select(equals("meta.on", date(2023, 5, 1))) == ["old"]
    assert table.select(equals("meta.on", "2023-05-01T00:00:00")) == ["old"]


def test_many_alternatives_are_one():
    table = Table([Document(id=str(n), meta={"n": n, "t": f"t{n}"}) for n in range(5)])
    many = [equals("meta.n", n) for n in range(3, 20_003)]
    assert table.select({"operator": "OR", "conditions": many}) == ["3", "4"]
    refused = [{"field": "meta.n", "operator": "!=", "value": n} for n in range(3, 20_003)]
    assert table.select({"operator": "AND", "conditions": refused}) == ["0", "1", "2"]
    nested = many[-1]
    for each in many[:18]:
        nested = {"operator": "OR", "conditions": [each, nested]}
    assert len(parse_filters(nested).values) == 19
    listed = {"field": "meta.t", "operator": "in", "value": [f"t{n}" for n in range(4, 50_000)]}
    assert table.select(listed) == ["4"]
    numbers = {"field": "meta.n", "operator": "in", "value": list(range(4, 5_000))}
    assert table.select(numbers) == ["4"]


def nested(levels, kinds=("AND", "OR", "NOT")):
    filters = {"field": "meta.n", "operator": ">", "value": -1}
    for level in range(levels):
        sides = [{"field": f"meta.f{level}", "operator": ">=", "value": n} for n in (1, 2.5)]
        kind = kinds[level % len(kinds)]
        conditions = [sides[0], {"operator": "NOT", "conditions": sides}, filters, sides[1]]
        if level == 0:  # no deeper than it says
            conditions = [filters]
        filters = {"operator": kind, "conditions": conditions}
    return filters


@pytest.mark.parametrize("kinds", [("AND", "OR"), ("NOT",), ("AND", "NOT", "OR"), ("OR", "NOT")])
def test_a_filter_as_deep_as_may_be(kinds):
    documents = [Document(id="d", meta={"n": 1, "f3": 7}), Document(id="e")]
    filters = nested(MOST_LEVELS, kinds)
    expected = [each.id for each in documents if selects(filters, each)]
    assert Table(documents).select(filters) == expected


@pytest.mark.parametrize("kinds", [("AND", "OR"), ("NOT",), ("AND", "NOT", "OR"), ("OR", "AND")])
def test_a_filter_as_deep_as_may_be_of_one_item(kinds):
    documents = [
        Document(id=f"{item}{n}", meta={"n": n, "f3": 7, "item_id": item})
        for item in ("lamp", "jacket")
        for n in (-3, 1)
    ]
    filters = of_item("lamp", nested(MOST_LEVELS, kinds))
    expected = [each.id for each in documents if selects(filters, each)]
    assert Table(documents).select(filters) == expected
    with pytest.raises(InvalidFilterError, match=f"deeper than {MOST_LEVELS} groups"):
        parse_filters(of_item("lamp", nested(MOST_LEVELS + 1, kinds)))


@pytest.mark.parametrize("levels", [MOST_LEVELS + 1, 30, 500, 100_000])
def test_a_filter_too_deep_is_told(levels):
    filters = equals("meta.n", 1)
    for _ in range(levels):
        filters = {"operator": "NOT", "conditions": [filters]}
    with pytest.raises(InvalidFilterError, match=f"deeper than {MOST_LEVELS} groups"):
        parse_filters(filters)
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(InvalidFilterError, match="too deep"):
        parse_filters(equals("meta.n", value))


def test_too_many_conditions_are_told():
    table = Table([Document(id="d", meta={"n": 7})])
    many = [{"field": "meta.n", "operator": ">", "value": n} for n in range(MOST_CONDITIONS)]
    assert table.select({"operator": "OR", "conditions": many}) == ["d"]
    assert table.select(of_item("lamp", {"operator": "OR", "conditions": many})) == []
    for count in (MOST_CONDITIONS + 1, 20_000):
        several = [{"field": "meta.n", "operator": ">", "value": n} for n in range(count)]
        with pytest.raises(InvalidFilterError, match=f"{count:,} conditions, and 500 can be") as e:
            parse_filters({"operator": "OR", "conditions": several})
        assert "`in`" in str(e.value)


def test_a_filter_that_is_no_text_is_told():
    for bad in (equals("meta.n", "\ud83d"), equals("meta.\ud83d", 1), equals("a", ["\ud83d"])):
        with pytest.raises(InvalidFilterError, match="UTF-8"):
            parse_filters(bad)


def test_numpy_numbers_are_numbers():
    table = Table([Document(id="d", meta={"stars": 5})])
    assert table.select(equals("meta.stars", np.int64(5))) == ["d"]
    assert table.select({"field": "meta.stars", "operator": ">", "value": np.float32(4.5)}) == ["d"]


def test_presence_of_content_and_blob():
    table = Table([Document(id="empty"), Document(id="full", content="x")])
    assert table.select(equals("content", None)) == ["empty"]
    assert table.select({"field": "content", "operator": "!=", "value": None}) == ["full"]
    assert table.select(equals("blob", None)) == ["empty", "full"]


def test_a_key_is_no_sql():
    table = Table([Document(id="d", meta={"a') OR 1=1 --": "x"})])
    assert table.select(equals("meta.a') OR 1=1 --", "x")) == ["d"]
    assert table.select(equals("meta.b') OR 1=1 --", "x")) == []
    assert (
        json.loads(json.dumps(json_extract(["o'clock"]))) == "json_extract(meta,'$.\"o''clock\"')"
    )
