"""No question is both learnt from and measured on."""

from pathlib import Path

import pytest

from qa_system.datasets.dataset import read_dataset
from qa_system.errors import DataError
from qa_system.training.recipes import Source
from qa_system.training.sources import read_sources

SAMPLE = "bundled:sample"


def ids(part):
    return [label.question_id for label in part.labels]


def test_a_question_of_dev_is_not_learnt_from(qa_data: Path):
    folder = str(qa_data / "subjqa" / "electronics")
    train, dev = (Source(path=folder, split=split) for split in ("train", "dev"))
    sources = read_sources([train], [dev], seed=13)
    [learnt], [tuned] = sources.train, sources.dev
    dataset = read_dataset(folder)
    both = set(ids(tuned)) & {label.question_id for label in dataset.labels_of("train")}
    assert len(both) == 249
    assert not both & set(ids(learnt))
    assert sources.asked_on_dev == 1_295 - len(learnt.labels) == 249
    assert [origin["questions"] for origin in sources.data] == [1_295, 255]


def test_splits_that_ask_different_things_stay_as_they_are():
    train, dev = (Source(path=SAMPLE, split=split) for split in ("train", "dev"))
    sources = read_sources([train, train], [dev], seed=7)
    assert sources.asked_on_dev == 0
    labels = read_dataset(SAMPLE).labels_of("train")
    assert [list(part.labels) for part in sources.train] == [list(labels)] * 2
    assert [part.seed for part in (*sources.train, *sources.dev)] == [7, 8, 7]


def test_what_is_held_out_is_measured_on_after_dev():
    train = Source(path=SAMPLE, split="train", held_out=0.25)
    dev = Source(path=SAMPLE, split="dev")
    sources = read_sources([train], [dev], seed=13)
    [learnt], [held_out] = sources.train, sources.held_out
    assert [part.source for part in sources.measured] == [dev, train]
    assert sorted(ids(learnt) + ids(held_out)) == sorted(
        label.question_id for label in read_dataset(SAMPLE).labels_of("train")
    )


def test_dev_that_asks_everything_leaves_nothing_to_learn_from():
    source = Source(path=SAMPLE, split="dev")
    with pytest.raises(DataError, match="dev asks every question") as error:
        read_sources([source], [source], seed=13)
    assert "qa-eval split" in str(error.value)


def test_what_does_not_fit_is_left_out_of_all_parts(caplog):
    train = Source(path=SAMPLE, split="train", held_out=0.25)
    dev = Source(path=SAMPLE, split="dev")
    every = read_sources([train], [dev], seed=13)

    def fits(questions):
        return [len(question) < 24 for question in questions]

    kept = read_sources([train], [dev], seed=13, fits=fits)
    for before, after in zip(
        (*every.train, *every.measured), (*kept.train, *kept.measured), strict=True
    ):
        left = [label for label in before.labels if len(label.question) < 24]
        assert list(after.labels) == left
        aside = len(before.labels) - len(left)
        assert aside
        assert f"{aside} of {len(before.labels)} questions are set aside" in caplog.text
    parts = (*every.train, *every.measured)
    too_long = [label for part in parts for label in part.labels if len(label.question) >= 24]
    assert kept.too_long == len(too_long)
    with pytest.raises(DataError, match=r"none of \d+ questions leaves room.*max_seq_length"):
        read_sources([train], [dev], seed=13, fits=lambda questions: [False] * len(questions))
