import json

import pytest

from eval.labels import gold_documents, gold_texts, load_dataset, load_labels
from qa_system.datasets import UNLOCATED
from qa_system.datasets.squad import write_squad
from qa_system.errors import DataError
from qa_system.records import AnswerSpan, Label


def label(*answers, **fields):
    return Label("q", "?", "B00", "r", "Good.", answers, **fields)


def test_gold_texts_are_distinct():
    spans = AnswerSpan("Good", 0, 4), AnswerSpan("o", 1, 2), AnswerSpan("o", 2, 3)
    assert gold_texts(label(*spans)) == ("Good", "o")
    assert gold_documents(label(*spans)) == {"r"}


def test_unlocated_answers_count_only_where_there_is_no_other():
    lost = {UNLOCATED: ["very Good"]}
    assert gold_texts(label(meta=lost)) == ("very Good",)
    assert gold_documents(label(meta=lost)) == {"r"}
    assert gold_texts(label(AnswerSpan("Good", 0, 4), meta=lost)) == ("Good",)


def test_no_answer_has_no_gold():
    assert gold_texts(label()) == ()
    assert gold_documents(label()) == frozenset()


def test_a_subjqa_folder_is_recognised(sample):
    data = load_dataset(sample)
    assert data.splits == ("train", "dev", "test")
    assert data.repairs is not None
    assert {found.split for found in load_labels(sample, "dev")} == {"dev"}
    assert len(data.labels_of(None)) == sum(len(data.labels_of(split)) for split in data.splits)


def test_a_squad_file_is_recognised(sample, tmp_path):
    labels = load_labels(sample, "dev")
    write_squad(labels, tmp_path / "dev.json")
    data = load_dataset(tmp_path / "dev.json")
    assert len(data.labels) == len(labels)
    assert {review.id for review in data.reviews} == {found.review_id for found in labels}


def test_an_unknown_split_lists_those_there(sample, tmp_path):
    with pytest.raises(DataError, match=r"no split 'validation'.*train, dev, test"):
        load_labels(sample, "validation")
    path = tmp_path / "empty.json"
    path.write_text(json.dumps({"version": "1.1", "data": []}))
    with pytest.raises(DataError, match="leave out --split"):
        load_labels(path, "test")


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir()])
def test_anything_else_says_what_to_name(tmp_path, make):
    make(tmp_path / "x")
    with pytest.raises(DataError, match=r"SubjQA folder .* or a SQuAD JSON file"):
        load_dataset(tmp_path / "x")


def test_a_damaged_squad_file_says_what_is_wrong(tmp_path):
    (tmp_path / "x.json").write_text('{"data": 5}')
    with pytest.raises(DataError, match="'data' is not a list"):
        load_dataset(tmp_path / "x.json")


def test_the_digest_changes_with_the_labels(sample, tmp_path):
    one, two = load_labels(sample, "dev"), load_labels(sample, "dev")[:-1]
    write_squad(one, tmp_path / "one.json")
    write_squad(two, tmp_path / "two.json")
    digests = {load_dataset(tmp_path / f"{name}.json").sha256 for name in ("one", "two")}
    assert len(digests) == 2
    assert load_dataset(tmp_path / "one.json").sha256 in digests
