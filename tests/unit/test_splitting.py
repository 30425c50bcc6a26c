"""Labels divided: by whole groups, by seed and name alone, every label once."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.splitting import (
    converted,
    division_of,
    group_of,
    undivided,
    write_divided,
    write_splits,
)
from qa_system.datasets.dataset import dataset_of, read_dataset
from qa_system.datasets.jsonl import write_labels_jsonl
from qa_system.datasets.splitting import folds, split_labels
from qa_system.errors import DataError
from qa_system.labels import UNLOCATED
from qa_system.records import AnswerSpan, Label

GROUPS = {
    "item": lambda label: label.item_id,
    "article": lambda label: label.meta["title"],
    "paragraph": lambda label: label.context,
}


def label(number, group="B0", **other):
    about = {
        "item_id": group,
        "review_id": f"r{number}",
        "context": f"About {group}.",
        "answers": (),
        "meta": {"title": group},
    }
    return Label(f"q{number}", "How is it?", **(about | other))


def ids(labels):
    return [each.question_id for each in labels]


some_labels = st.lists(st.sampled_from("ABCDEFGH"), min_size=4, max_size=30).map(
    lambda groups: [label(number, group) for number, group in enumerate(groups)]
)
by_any = st.sampled_from(sorted(GROUPS))
shares = st.floats(0.2, 0.45)


def divided_or_refused(labels, by, test, dev, seed):
    try:
        return split_labels(labels, by, test=test, dev=dev, seed=seed)
    except DataError:
        return None


@given(some_labels, by_any, shares, shares, st.integers(0, 3))
def test_no_group_is_in_two_splits_and_every_label_in_one(labels, by, test, dev, seed):
    divided = divided_or_refused(labels, by, test, dev, seed)
    if divided is None:
        return
    assert [replace(each, split=None) for each in divided] == labels
    of_group = {}
    for each in divided:
        of_group.setdefault(GROUPS[by](each), set()).add(each.split)
    assert all(len(splits) == 1 for splits in of_group.values())
    counts = Counter(next(iter(splits)) for splits in of_group.values())
    assert counts["test"] == round(test * len(of_group))
    assert counts["dev"] == round(dev * len(of_group))
    assert counts["train"] > 0


@given(some_labels, by_any, st.integers(0, 3), st.randoms())
def test_the_order_of_the_file_changes_nothing(labels, by, seed, random):
    shuffled = random.sample(labels, len(labels))
    first = divided_or_refused(labels, by, 0.4, 0.0, seed)
    again = divided_or_refused(shuffled, by, 0.4, 0.0, seed)
    if first is None or again is None:
        assert first is again
        return
    assert {each.question_id: each.split for each in first} == {
        each.question_id: each.split for each in again
    }


@given(some_labels, by_any, st.integers(2, 5), st.integers(0, 3))
def test_folds_test_every_label_once_and_share_no_group(labels, by, number, seed):
    group = GROUPS[by]
    names = {group(each) for each in labels}
    if number > len(names):
        with pytest.raises(DataError, match="cannot make"):
            folds(labels, number, by, seed=seed)
        return
    found = folds(labels, number, by, seed=seed)
    assert sorted(ids(each for _, tested in found for each in tested)) == sorted(ids(labels))
    for learnt, tested in found:
        assert {*map(group, learnt)}.isdisjoint(map(group, tested))
        assert sorted(ids((*learnt, *tested))) == sorted(ids(labels))
    sizes = [len({*map(group, tested)}) for _, tested in found]
    assert max(sizes) - min(sizes) <= 1


def test_a_seed_is_a_draw():
    labels = [label(number, f"B{number}") for number in range(40)]
    draws = {
        tuple(each.split for each in split_labels(labels, "item", test=0.5, seed=seed))
        for seed in range(5)
    }
    assert len(draws) == 5


def test_the_draw_is_that_of_the_hash():
    """`printf '13\\0A' | sha256sum` begins with cffd, for B 5c57, C 5c24, D 7bd5: C, B, D, A."""
    labels = [label(number, group) for number, group in enumerate("ABCD")]
    divided = split_labels(labels, "item", test=1, dev=1)
    assert [each.split for each in divided] == ["train", "dev", "test", "train"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"test": -0.1}, "-0.1 of 4 groups is not a part"),
        ({"test": float("nan")}, "nan of 4 groups"),
        ({"test": float("inf")}, "inf of 4 groups"),
        ({"test": 0.1}, "0.1 of 4 groups is not a part"),
        ({"test": 0.2, "dev": -3}, "-3 of 4 groups"),
        ({"test": 3, "dev": 1}, "leave nothing to train on"),
    ],
)
def test_parts_that_are_none(parts, message):
    labels = [label(number, group) for number, group in enumerate("ABCD")]
    with pytest.raises(DataError, match=message):
        split_labels(labels, "item", **parts)


def test_a_label_without_the_group():
    with pytest.raises(DataError, match="'q1' belongs to no item"):
        split_labels([label(0), label(1, item_id=None)], "item", test=1)


def test_pairs_in_several_splits_are_joined():
    good = AnswerSpan("About", 0, 5)
    seen = label(1, split="train")
    again = replace(seen, split="test", answers=(good,), annotations=((good,),))
    [one] = undivided([seen, again])
    assert (one.split, one.answers, one.annotations) == (None, (good,), ((), (good,)))
    with pytest.raises(DataError, match="two questions or two texts"):
        undivided([seen, replace(again, question="Why?")])


def test_what_is_written_is_read_back(tmp_path):
    labels = undivided(read_dataset("bundled:sample").labels)
    assert group_of(labels) == "item"
    divided = split_labels(labels, "item", test=0.3, dev=2)
    unlocated = label(1, group=divided[0].item_id, meta={UNLOCATED: ["fine"]}, split="train")
    divided = (*divided, unlocated)
    for name, left_out in (("all.json", 1), ("all.jsonl", 0)):
        written = write_divided(divided, tmp_path / name)
        assert len(divided) - len(written) == left_out
        read = read_dataset(tmp_path / name)
        assert division_of(read.labels) == division_of(written)
        assert {each.question_id: each.split for each in read.labels} == {
            each.question_id: each.split for each in written
        }
    with pytest.raises(DataError, match=r"ends in \.json"):
        write_divided(divided, tmp_path / "all.csv")


def test_a_file_a_split(tmp_path):
    splits = {"train": [label(0)], "dev": [label(1)]}
    places = write_splits(splits, tmp_path / "data")
    assert {split: len(read_dataset(path).labels) for split, path in places.items()} == {
        "train": 1,
        "dev": 1,
    }


@pytest.mark.parametrize("splits", [None, ("train", "dev", "test")])
def test_a_converted_data_set_reads_back_the_same(sample, tmp_path, splits):
    labels = read_dataset(sample).labels
    if splits is None:
        labels = undivided(labels)
    lost = replace(labels[0], question_id="lost", answers=(), annotations=())
    lost = replace(lost, meta={**lost.meta, UNLOCATED: ["nowhere"]})
    partly = next(label for label in labels if label.answers)
    partly = replace(
        partly,
        question_id="partly",
        annotations=((partly.answers[0],), ()),
        answers=partly.answers[:1],
        meta={"id": 7, "meta": "x", "title": partly.item_id, UNLOCATED: ["nowhere"]},
    )
    write_labels_jsonl([*labels, lost, partly], tmp_path / "all.jsonl")
    with (tmp_path / "all.jsonl").open("a") as file:
        file.write('{"question_id": "blank", "question": " ", "context": "x", "answers": []}\n')
    data = read_dataset(tmp_path / "all.jsonl")
    found = converted(data, tmp_path / "out")

    back = read_dataset(tmp_path / "out")
    key = {(label.split, label.question_id): label for label in back.labels}
    assert key == {(label.split, label.question_id): label for label in [*labels, partly]}
    names = {f"{split}.json" for split in splits or ("all",)}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*names, "rejects.jsonl"}
    rejects = [json.loads(line) for line in Path(found["rejects"]).read_text().splitlines()]
    assert [(each["question_id"], each["reason"]) for each in rejects] == [
        ("blank", "the question is blank"),
        ("lost", "none of its answers was found in the context"),
    ]
    assert sum(counts["questions"] for counts in found["files"].values()) == len(key)
    with pytest.raises(DataError, match="holds files"):
        converted(data, tmp_path / "out")


def test_a_split_that_is_no_file_name(tmp_path):
    label = Label("q", "How?", None, "r", "Good.", (), split="../x")
    with pytest.raises(DataError, match="cannot be the name of a file"):
        converted(dataset_of("mine", (label,)), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
