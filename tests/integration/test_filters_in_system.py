"""Filters through the whole system: on the sample catalogue, with and without an item."""

import pytest

from indexing.job import run_job
from qa_system import QASystem
from qa_system.config import load_settings
from qa_system.stores.filters import InvalidFilterError

ITEM = "ereader-lumen-6"
QUESTION = "Is it good for reading at night?"


@pytest.fixture(scope="module")
def system(tmp_path_factory, sample):
    overrides = {
        "store.path": str(tmp_path_factory.mktemp("filters") / "store"),
        "indexing.sources": [str(sample)],
        "indexing.embed": False,
        "retriever.mode": "bm25",
    }
    settings = load_settings(None, overrides, environ={})
    run_job(settings)
    with QASystem.open(settings) as system:
        yield system


def of_split(operator, value):
    return {"field": "split", "operator": operator, "value": value}


def test_an_empty_filter_selects_everything(system):
    assert system.ask(QUESTION, filters={}).reviews_read > 0
    read = {system.ask(QUESTION, item_id=ITEM, filters=each).reviews_read for each in ({}, None)}
    assert read == {10}


def test_the_split_of_a_reviews_questions_is_filtered_by(system):
    read = {
        split: system.ask(QUESTION, item_id=ITEM, filters=of_split("==", split)).reviews_read
        for split in ("train", "dev", "test", "none")
    }
    assert read["none"] == 0
    assert max(read.values()) > 0
    everything = of_split("in", ["train", "dev", "test"])
    assert system.ask(QUESTION, item_id=ITEM, filters=everything).reviews_read == 10


@pytest.mark.parametrize("levels", [21, 30, 500, 50_000])
def test_a_filter_too_deep_is_told(system, levels):
    filters = of_split("==", "test")
    for _ in range(levels):
        filters = {"operator": "NOT", "conditions": [filters]}
    for item in (None, ITEM):
        with pytest.raises(InvalidFilterError, match="nested deeper than 20 groups"):
            system.ask(QUESTION, item_id=item, filters=filters)


def test_a_misspelt_field_is_told(system, caplog):
    misspelt = {"field": "meta.star", "operator": ">", "value": 3}
    assert system.ask(QUESTION, item_id=ITEM, filters=misspelt).reviews_read == 0
    assert "did you mean 'stars'?" in caplog.text
