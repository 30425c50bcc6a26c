"""Filters through the whole system: on the sample catalogue, with and without an item."""

import signal
import subprocess
import sys
import time

import pytest

from indexing.job import run_job
from qa_system import QASystem
from qa_system.config import load_settings
from qa_system.stores.faiss import FAISSDocumentStore
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
    assert system.ask(QUESTION, filters={}).read > 0
    read = {system.ask(QUESTION, item_id=ITEM, filters=each).reviews for each in ({}, None)}
    assert read == {13}


def test_the_split_of_a_reviews_questions_is_filtered_by(system):
    read = {
        split: system.ask(QUESTION, item_id=ITEM, filters=of_split("==", split)).reviews
        for split in ("train", "dev", "test", "none")
    }
    assert read["none"] == 0
    assert max(read.values()) > 0
    everything = of_split("in", ["train", "dev", "test"])
    assert system.ask(QUESTION, item_id=ITEM, filters=everything).reviews == 13


@pytest.mark.parametrize("levels", [21, 30, 500, 50_000])
def test_a_filter_too_deep_is_told(system, levels):
    filters = of_split("==", "test")
    for _ in range(levels):
        filters = {"operator": "NOT", "conditions": [filters]}
    for item in (None, ITEM):
        with pytest.raises(InvalidFilterError, match="nested deeper than 20 groups"):
            system.ask(QUESTION, item_id=item, filters=filters)


@pytest.mark.parametrize("kinds", [("OR", "NOT"), ("NOT", "AND"), ("AND", "OR")])
def test_an_item_adds_nothing_to_the_limits_of_a_filter(system, kinds):
    deep = of_split("!=", "none")
    for level in range(20):
        deep = {"operator": kinds[level % 2], "conditions": [deep]}
    wide = {
        "operator": kinds[0],
        "conditions": [{"field": "n", "operator": ">", "value": n} for n in range(500)],
    }
    for filters in (deep, wide):
        assert system.ask(QUESTION, filters=filters).error is None
        answers = system.ask(QUESTION, item_id=ITEM, filters=filters)
        assert answers.error is None
    assert system.ask(QUESTION, item_id=ITEM, filters=deep).reviews == 13
    wider = {"operator": "OR", "conditions": [wide, of_split("!=", "none")]}
    with pytest.raises(InvalidFilterError, match="501 conditions, and 500 can be"):
        system.ask(QUESTION, item_id=ITEM, filters=wider)


def test_a_misspelt_field_is_told(system, caplog):
    misspelt = {"field": "meta.star", "operator": ">", "value": 3}
    assert system.ask(QUESTION, item_id=ITEM, filters=misspelt).reviews == 0
    assert "did you mean 'stars'?" in caplog.text


SLOW = """
import sys
from haystack.dataclasses import Document
from qa_system.stores.faiss import FAISSDocumentStore

with FAISSDocumentStore(sys.argv[1]) as store:
    meta = {"on": "2024-02-29", "price": 0.1, "tags": [str(n) for n in range(200)]}
    store.write_documents([Document(id=str(n), meta=meta) for n in range(3_000)])
    kinds = {"python": ("meta.on", "1{n:03}-01-01", str), "sqlite": ("meta.f{n}", "{n}", int)}
    field, value, kind = kinds[sys.argv[2]]
    conditions = [
        {"field": field.format(n=n), "operator": "<", "value": kind(value.format(n=n))}
        for n in range(500)
    ]
    condition = {"operator": "OR", "conditions": conditions}
    print("begins", flush=True)
    for _ in range(1_000):
        store.count_documents_by_filter(condition)
"""


@pytest.mark.parametrize("kind", ["python", "sqlite"])
def test_a_long_filter_can_be_interrupted(tmp_path, kind):
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW, tmp_path / "store", kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "begins\n"
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGINT
    assert error.rstrip().endswith("KeyboardInterrupt")
    with FAISSDocumentStore(tmp_path / "store") as store:
        assert store.count_documents() == 3_000
