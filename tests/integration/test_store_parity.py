"""One table of documents, filters and questions: each store takes it all, with the same result."""

# ruff: noqa: DTZ001 - naive dates are what is compared

import math
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from haystack.dataclasses import Document
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filter_oracle import selects
from qa_system.errors import QASystemError, StoreError
from qa_system.stores.faiss import FAISSDocumentStore
from qa_system.stores.filters import InvalidFilterError

LONG = "word " * 8_000
LONG_UNICODE = "電" * 12_000
DEEP = {"a": {"b": {"c": {"d": 1}}}}
ODD_KEYS = ["", " ", "two words", "a.b", ".", "ключ", 'quo"te', "back\\slash", "o'clock", "\t"]
METADATA = {
    "long text": {"descr": LONG},
    "long unicode": {"descr": LONG_UNICODE},
    "long in a dictionary": {"deep": {"descr": LONG}},
    "long list": {"tags": ["short", LONG, LONG_UNICODE]},
    "long item": {"item_id": LONG, "review_id": LONG_UNICODE},
    "splits": {"item_id": "lamp", "split": ["train", "test"]},
    "one split": {"split": "dev"},
    "minus zero": {"n": -0.0},
    "zero": {"n": 0},
    "false": {"n": False},
    "one": {"n": 1.0},
    "true": {"n": True},
    "text one": {"n": "1"},
    "exact int": {"n": 2**53 + 1},
    "near int": {"n": 2**53},
    "largest int": {"n": 2**63 - 1},
    "unsigned int": {"n": 2**64 - 1},
    "smallest int": {"n": -(2**63)},
    "large float": {"n": 1e308},
    "small float": {"n": 5e-324},
    "fraction": {"n": 0.1},
    "empty": {"n": "", "item_id": "", "brand": ""},
    "null": {"n": None},
    "list": {"n": [1, "x", None, 4.5]},
    "empty list": {"n": []},
    "dictionary": {"n": {"x": 1}},
    "nested": {"n": DEEP},
    "day": {"on": date(2024, 2, 29)},
    "clock": {"on": datetime(2024, 2, 29, 0, 0, 0, 1)},
    "utc": {"on": datetime(2024, 2, 29, tzinfo=UTC)},
    "east": {"on": datetime(2024, 2, 29, 2, tzinfo=timezone(timedelta(hours=2)))},
    "first": {"on": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))},
    "date as text": {"on": "2024-02-29T00:00:00"},
    "no date": {"on": "2024-02-30"},
    "another language's date": {"on": "29 February 2024"},
    "first a number": {"size": 5},
    "then a text": {"size": "five"},
    "then a list": {"size": [5, "five"]},
    **{f"key {key!r}": {key: "x", "deep": {key: {"y": 3}}} for key in ODD_KEYS},
    "no metadata": {},
}
TEXTS = {"long text": "It is bright.", "no metadata": None, "day": "2024-02-29", "clock": ""}


def documents():
    """One for each row of the table, and many whose metadata is keyed by data."""
    table = [
        Document(id=name, content=TEXTS.get(name, f"The light of {name}."), meta=meta)
        for name, meta in METADATA.items()
    ]
    voted = [
        Document(id=f"v{n}", content="Votes.", meta={"votes": {f"u{n}_{j}": j for j in range(3)}})
        for n in range(600)
    ]
    return [*table, *voted]


@pytest.fixture(scope="module")
def stores(lasting_elastic_store, tmp_path_factory):
    made = {
        "embedded": FAISSDocumentStore(tmp_path_factory.mktemp("parity") / "store"),
        "elasticsearch": lasting_elastic_store("parity"),
    }
    for store in made.values():
        assert store.write_documents(documents()) == len(METADATA) + 600
    yield made
    made["embedded"].close()


@pytest.fixture(params=["embedded", "elasticsearch"])
def store(request, stores):
    return stores[request.param]


def compare(field, operator, value):
    return {"field": field, "operator": operator, "value": value}


def ids(found):
    return {each.id for each in found}


ZEROS = {"minus zero", "zero", "false"}
ONES = {"one", "true", "list"}
SELECTIONS = {
    "long text": (compare("meta.descr", "==", LONG), {"long text"}),
    "long unicode": (compare("descr", "in", [LONG_UNICODE]), {"long unicode"}),
    "long, but another": (compare("descr", "==", f"{LONG}."), set()),
    "long in a dictionary": (compare("meta.deep.descr", "==", LONG), {"long in a dictionary"}),
    "long in a list": (compare("meta.tags", "==", LONG_UNICODE), {"long list"}),
    "long item": (compare("meta.item_id", "==", LONG), {"long item"}),
    "item number": (compare("meta.item_id", "==", 7), set()),
    "item": (compare("meta.item_id", "in", ["lamp", None, 7]), None),
    "one of the splits": (compare("split", "==", "train"), {"splits"}),
    "splits": (compare("split", "in", ["test", "dev"]), {"splits", "one split"}),
    "list of splits": (compare("split", "==", ["train", "test"]), {"splits"}),
    "empty item": (compare("meta.item_id", "==", ""), {"empty"}),
    "minus zero": (compare("n", "==", 0), ZEROS),
    "zero": (compare("n", "==", -0.0), ZEROS),
    "above zero": (
        {"operator": "AND", "conditions": [compare("n", ">", 0), compare("n", "<", 1e-9)]},
        {"small float"},
    ),
    "from zero": (
        {"operator": "AND", "conditions": [compare("n", ">=", 0), compare("n", "<=", -0.0)]},
        ZEROS,
    ),
    "one": (compare("n", "in", [1]), ONES),
    "exact int": (compare("n", "==", 2**53 + 1), {"exact int"}),
    "near float": (compare("n", "==", 2.0**53), {"near int"}),
    "above 2**53": (
        compare("n", ">", 2**53),
        {"exact int", "largest int", "unsigned int", "large float"},
    ),
    "unsigned": (compare("n", ">=", 2**64 - 1), {"unsigned int", "large float"}),
    "unsigned, nearly": (compare("n", "==", 2.0**64), set()),
    "large float": (compare("n", "==", 1e308), {"large float"}),
    "larger than all": (compare("n", ">", 10**400), set()),
    "smallest": (compare("n", "<", -(10**30)), set()),
    "least": (compare("n", "<=", -(2**63)), {"smallest int"}),
    "not a number": (compare("n", "==", math.nan), set()),
    "below infinity": (
        {"operator": "AND", "conditions": [compare("n", "<", math.inf), compare("n", ">", 1e300)]},
        {"large float"},
    ),
    "empty text": (compare("n", "==", ""), {"empty"}),
    "value of a list": (compare("n", "==", "x"), {"list"}),
    "whole list": (compare("n", "==", [True, "x", None, 4.5]), {"list"}),
    "empty list": (compare("n", "==", []), {"empty list"}),
    "dictionary": (compare("n", "==", {"x": 1.0}), {"dictionary"}),
    "in a dictionary": (compare("meta.n.x", ">=", 1), {"dictionary"}),
    "deep": (compare("meta.n.a.b.c.d", "==", 1), {"nested"}),
    "one day": (
        compare("on", "==", "2024-02-29"),
        {"day", "date as text", "utc"},
    ),
    "one moment": (
        compare("on", "==", "2024-02-29T00:00:00+00:00"),
        {"day", "date as text", "utc", "east"},
    ),
    "a microsecond later": (
        compare("on", ">", datetime(2024, 2, 29)),
        {"clock", "east"},
    ),
    "before Christ, nearly": (compare("on", "<", "0001-01-02"), {"first"}),
    "text that looks like a date": (compare("on", "==", "2024-02-30"), {"no date"}),
    "number of a field with texts": (compare("size", ">", 3), {"first a number", "then a list"}),
    "text of a field with numbers": (compare("size", "==", "five"), {"then a text", "then a list"}),
    "date in a text": (compare("content", ">=", "2024-02-29"), {"day"}),
    "no text": (compare("content", "==", None), {"no metadata"}),
    "empty content": (compare("content", "==", ""), {"clock"}),
    "no metadata": (compare("meta", "==", {}), {"no metadata"}),
    "vote": (compare("meta.votes.u17_2", ">", 1), {"v17"}),
    "votes": (compare("meta.votes.u17_1", "in", [1, "x"]), {"v17"}),
    "all votes": (compare("meta.votes", "==", {"u17_0": 0, "u17_1": 1, "u17_2": 2}), {"v17"}),
    "8,000 numbers": (
        compare("n", "in", [*range(2, 8_002), 0.1, 2**64 - 1]),
        {"fraction", "unsigned int"},
    ),
    "8,000 fractions": (compare("n", "in", [n + 0.5 for n in range(8_000)]), {"list"}),
    "8,000 texts": (compare("n", "in", ["x", *map(str, range(8_000))]), {"list", "text one"}),
    "8,000 dates": (
        compare("on", "in", [date(2001, 1, 1) + timedelta(n) for n in range(8_000 + 500)]),
        {"day", "utc", "date as text"},
    ),
    "80,000 ids": (compare("id", "in", ["v3", *map(str, range(80_000))]), {"v3"}),
    "20,000 alternatives": (
        {"operator": "OR", "conditions": [compare("n", "==", n / 10) for n in range(1, 20_001)]},
        ONES | {"fraction"},
    ),
    "dotted key": (compare("meta.a.b", "==", "x"), set()),
    **{
        f"key {key!r}": (compare(f"meta.{key}", "==", "x"), {f"key {key!r}"})
        for key in ODD_KEYS
        if "." not in key
    },
    **{
        f"in key {key!r}": (compare(f"meta.deep.{key}.y", ">", 2), {f"key {key!r}"})
        for key in ODD_KEYS
        if "." not in key
    },
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_filter_selects_what_it_says(store, name):
    chosen, expected = SELECTIONS[name]
    every = documents()
    if "000" not in name:
        selected = {each.id for each in every if selects(chosen, each)}
        assert expected is None or selected == expected
        expected = selected
    assert ids(store.filter_documents(chosen)) == expected
    assert store.count_documents_by_filter(chosen) == len(expected)
    opposite = {"operator": "NOT", "conditions": [chosen]}
    assert store.count_documents_by_filter(opposite) == len(every) - len(expected)
    if expected and expected <= METADATA.keys():
        assert ids(store.search_bm25("light", 50, chosen)) == expected


def test_documents_come_back_as_they_were(store):
    found = store.filter_documents()
    assert found == documents()
    [zero] = [each.meta["n"] for each in found if each.id == "minus zero"]
    assert math.copysign(1, zero) == -1


def test_metadata_is_told_alike(stores):
    ours, theirs = stores["embedded"], stores["elasticsearch"]
    assert theirs.get_metadata_fields_info() == ours.get_metadata_fields_info()
    chosen = compare("meta.votes", "==", None)
    for field in ("meta.n", "size", "on", "descr", "item_id", "deep.descr", "split", "votes"):
        for some in (None, chosen):
            expected = ours.get_metadata_field_unique_values(field, size=1_000, filters=some)
            found = theirs.get_metadata_field_unique_values(field, size=1_000, filters=some)
            assert found == expected
        assert theirs.get_metadata_field_min_max(field) == ours.get_metadata_field_min_max(field)
    counted = [each.count_unique_metadata_by_filter(chosen, ["n", "on"]) for each in (ours, theirs)]
    assert counted[0] == counted[1]
    assert ours.get_metadata_field_min_max("deep.descr") == {"min": LONG, "max": LONG}


@pytest.mark.parametrize("value", [math.nan, math.inf, 2**64, -(2**63) - 1, object(), {1: "x"}])
def test_what_json_cannot_hold_is_refused(store, value):
    for meta in ({"n": value}, {"deep": {"n": [value]}}):
        with pytest.raises(StoreError, match="JSON cannot hold"):
            store.write_documents([Document(id="bad", meta=meta)])
    assert store.count_documents() == len(METADATA) + 600


def test_a_question_of_9_000_words(stores):
    question = "light " * 3_000 + " ".join(f"word{n}" for n in range(6_000))
    chosen = compare("n", "!=", None)
    found = [ids(each.search_bm25(question, 1_000, chosen)) for each in stores.values()]
    assert found[0] == found[1] == ids(stores["embedded"].filter_documents(chosen))
    characters = "".join(chr(0x4E00 + n) for n in range(9_000))
    for asked in (question, characters, "x" * 200_000, "the " * 9_000):
        assert len({len(each.search_bm25(asked, 1_000)) for each in stores.values()}) == 1


def test_half_a_character_is_told(store):
    for ask in (
        lambda: store.search_bm25("\ud83d battery"),
        lambda: store.filter_documents(compare("meta.n", "==", "\ud83d")),
        lambda: store.write_documents([Document(id="bad", meta={"n": "\ud83d"})]),
        lambda: store.write_documents([Document(id="bad", content="\ud83d")]),
    ):
        with pytest.raises(QASystemError, match=r"UTF-8|JSON cannot hold"):
            ask()


@pytest.mark.parametrize("levels", [21, 30, 500, 5_000])
def test_a_filter_too_large_is_told_alike(stores, levels):
    deep = compare("n", "==", 1)
    for level in range(levels):
        kind = ("NOT", "AND", "OR")[level % 3]
        deep = {"operator": kind, "conditions": [deep]}
    wide = [compare("n", ">", n) for n in range(1_000 * levels)]
    for filters in (deep, {"operator": "OR", "conditions": wide[:20_000]}):
        told = []
        for each in stores.values():
            with pytest.raises(InvalidFilterError) as caught:
                each.filter_documents(filters)
            told.append(str(caught.value))
        assert told[0] == told[1]
        assert "20 groups" in told[0] or "500 can be" in told[0]


def test_a_filter_as_large_as_may_be(stores):
    chosen = compare("n", ">=", 0)
    for level in range(20):
        kind = ("NOT", "AND", "OR")[level % 3]
        sides = [compare(f"meta.f{level}_{n}", ">", n) for n in range(24)]
        chosen = {"operator": kind, "conditions": [*sides, chosen] if level % 2 else [chosen]}
    expected = {each.id for each in documents() if selects(chosen, each)}
    for each in stores.values():
        assert ids(each.filter_documents(chosen)) == expected


def test_an_unknown_field_is_told_once(store, caplog):
    for _ in range(2):
        store.filter_documents(compare("meta.itemid", "==", "lamp"))
        store.search_bm25("light", 3, compare("meta.itemid", "in", ["lamp"]))
    [warning] = caplog.messages
    assert "'itemid'" in warning
    assert "did you mean 'item_id'?" in warning
    caplog.clear()
    store.count_documents_by_filter(compare("meta.item_id", "==", "lamp"))
    store.count_documents_by_filter(compare("meta.votes.u3_1", "==", 1))
    store.count_documents_by_filter(compare("meta.copy_of", "==", None))
    assert not caplog.messages
    store.count_documents_by_filter(compare("meta.zzz", "!=", 1))
    assert "there is '" in caplog.text


def test_an_empty_store_knows_no_fields(elastic_store, tmp_path, caplog):
    with FAISSDocumentStore(tmp_path / "store") as ours:
        for store in (ours, elastic_store("empty")):
            assert store.filter_documents(compare("meta.itemid", "==", "lamp")) == []
    assert not caplog.messages


# --- random documents and filters: both stores and plain Python

texts = st.one_of(
    st.sampled_from(["", "x", "5", "true", "[1]", "2024-02-29", "2024-02-28T24:00:00", "é", "\0"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
)
numbers = st.one_of(
    st.sampled_from([0, -0.0, 1, 5, 4.5, 2**53 + 1, 2.0**53, 2**63, 2**64 - 1, -(2**63), 1e308]),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
)
dates = st.datetimes(timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=-5))]))
scalars = st.one_of(st.none(), st.booleans(), texts, numbers, dates)
values = st.one_of(
    scalars,
    st.lists(st.one_of(st.none(), st.booleans(), texts, numbers), max_size=3),
    st.dictionaries(st.sampled_from(["a", "b"]), st.one_of(texts, numbers), max_size=2),
)
KEYS = ["a", "b", "item_id", "split", "two words", "é"]
metas = st.fixed_dictionaries(
    {}, optional={key: values for key in KEYS if key != "item_id"} | {"item_id": texts}
)
FIELDS = [*KEYS, *(f"meta.{key}" for key in KEYS), "meta.a.b", "content", "id", "meta", "score"]
wanted = st.one_of(
    scalars, st.sampled_from([math.inf, -math.inf, math.nan, 2**70, -(10**400)]), values
)


@st.composite
def comparisons(draw):
    field = draw(st.sampled_from(FIELDS))
    operator = draw(st.sampled_from(["==", "!=", ">", ">=", "<", "<=", "in", "not in"]))
    if operator.endswith("in"):
        return compare(field, operator, draw(st.lists(wanted, max_size=4)))
    return compare(field, operator, draw(wanted if operator in ("==", "!=") else numbers | dates))


trees = st.recursive(
    comparisons(),
    lambda parts: st.builds(
        lambda operator, conditions: {"operator": operator, "conditions": conditions},
        st.sampled_from(["AND", "OR", "NOT"]),
        st.lists(parts, max_size=3),
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def random_stores(lasting_elastic_store, tmp_path_factory):
    with FAISSDocumentStore(tmp_path_factory.mktemp("random") / "store") as ours:
        yield [ours, lasting_elastic_store("random")]


@settings(max_examples=40)
@given(st.lists(metas, min_size=1, max_size=6), st.lists(trees, min_size=1, max_size=10))
@example([{"a": -0.0}, {"a": 0}, {"a": ["x"]}], [compare("a", "==", 0), compare("a", "in", ["x"])])
def test_random_filters_select_what_plain_python_selects(random_stores, all_metas, filters):
    given = [
        Document(id=f"d{place}", content=None if place % 3 == 2 else f"text {place}", meta=meta)
        for place, meta in enumerate(all_metas)
    ]
    for store in random_stores:
        store.delete_all_documents()
        store.write_documents(given)
        for chosen in filters:
            expected = [each.id for each in given if selects(chosen, each)]
            assert [each.id for each in store.filter_documents(chosen)] == expected, chosen
