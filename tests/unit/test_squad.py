import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_system.datasets.squad import SquadFile, read_squad, write_squad
from qa_system.datasets.subjqa import read_subjqa
from qa_system.errors import DataError
from qa_system.labels import UNLOCATED
from qa_system.records import AnswerSpan, Label
from qa_system.review_ids import stable_review_id


def squad(context="Good, but loud.", **question):
    fields = {"id": "q1", "question": "How is it?", "answers": []} | question
    return {
        "version": "v2.0",
        "data": [{"title": "Lamp", "paragraphs": [{"context": context, "qas": [fields]}]}],
    }


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
EXTRA = st.dictionaries(st.sampled_from(["x", "note", "é"]), ANYTHING, max_size=2)


def with_extra(**fields):
    return st.tuples(st.fixed_dictionaries(fields), EXTRA).map(lambda pair: pair[0] | pair[1])


ANSWER = with_extra(text=TEXT, answer_start=st.integers(-3, 20))
QUESTION = st.one_of(
    with_extra(id=st.uuids().map(str), question=TEXT, answers=st.lists(ANSWER, max_size=2)),
    with_extra(
        id=st.uuids().map(str),
        question=TEXT,
        answers=st.just([]),
        plausible_answers=st.lists(ANSWER, max_size=2),
        is_impossible=st.booleans(),
    ),
)
PARAGRAPH = with_extra(context=TEXT, qas=st.lists(QUESTION, max_size=2))
ARTICLE = with_extra(title=TEXT, paragraphs=st.lists(PARAGRAPH, max_size=2))
FILE = with_extra(version=st.sampled_from(["1.1", "v2.0", 1.0]), data=st.lists(ARTICLE, max_size=2))


@settings(max_examples=150, deadline=None)
@given(FILE)
def test_a_round_trip_loses_nothing(tmp_path_factory, tree):
    folder = tmp_path_factory.mktemp("squad")
    (folder / "in.json").write_text(json.dumps(tree))
    file = SquadFile.read(folder / "in.json")
    file.write(folder / "out.json")
    assert json.loads((folder / "out.json").read_text()) == tree
    for label in file.labels():
        assert all(label.context[span.start : span.end] == span.text for span in label.answers)


def test_answers_are_annotators():
    answers = [
        {"text": "Good", "answer_start": 0},
        {"text": "loud", "answer_start": 10},
        {"text": "Good", "answer_start": 0},
    ]
    (label,) = SquadFile(squad(answers=answers)).labels()
    good, loud = AnswerSpan("Good", 0, 4), AnswerSpan("loud", 10, 14)
    assert label.answers == (good, loud)
    assert label.annotations == ((good,), (loud,), (good,))
    assert label.item_id is None
    assert label.review_id == stable_review_id("Lamp", "Good, but loud.")
    assert label.meta == {"title": "Lamp"}


def test_version_2_fields_stand_in_meta():
    plausible = [{"text": "Good", "answer_start": 0}]
    tree = squad(is_impossible=True, plausible_answers=plausible)
    (label,) = SquadFile(tree).labels()
    assert not label.is_answerable
    assert label.annotations == ((),)
    assert label.meta == {"title": "Lamp", "plausible_answers": plausible}


@pytest.mark.parametrize("start", [1, -15, 99, None])
def test_an_offset_that_does_not_fit_is_mended(tmp_path, start):
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(squad(answers=[{"text": "Good", "answer_start": start}])))
    (label,) = read_squad(path)
    assert label.answers == (AnswerSpan("Good", 0, 4),)
    assert UNLOCATED not in label.meta


def test_an_answer_that_is_nowhere_is_counted(tmp_path, caplog):
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(squad(answers=[{"text": "Soft", "answer_start": 0}])))
    (label,) = read_squad(path)
    assert (label.answers, label.annotations) == ((), ())
    assert label.meta[UNLOCATED] == ["Soft"]
    assert "1 of 1 answers are not in their context" in caplog.text
    assert "the first: 'Soft' of question 'q1'" in caplog.text


@pytest.mark.parametrize(
    ("tree", "place"),
    [
        ([], r"\$"),
        ({"data": {}}, r"'data' is not a list"),
        ({"data": ["x"]}, r"data\[0\] is not an object"),
        ({"data": [{"title": 5, "paragraphs": []}]}, r"'title' is not a text .*data\[0\]"),
        (squad(id=5.5), r"'id' is not a text .*data\[0\]\.paragraphs\[0\]\.qas\[0\]"),
        (squad(answers=[{"text": "x", "answer_start": "7"}]), r"answers\[0\].answer_start is '7'"),
        (squad(is_impossible="yes"), "'is_impossible' is not true or false"),
        (squad(unlocated_answers="x"), "'unlocated_answers' is not a list of texts"),
        (squad(answers=[{"text": "x", "answer_start": True}]), "whole number"),
        (squad(context="half \ud800"), "lone surrogate"),
    ],
)
def test_what_is_not_squad_says_where(tmp_path, tree, place):
    path = tmp_path / "squad.json"
    path.write_text(json.dumps(tree))
    with pytest.raises(DataError, match=place):
        read_squad(path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b""])
def test_what_is_not_json(tmp_path, content):
    path = tmp_path / "squad.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match="not JSON"):
        read_squad(path)


@pytest.mark.parametrize("open_", ["[", '{"data":', '{"data":[{"paragraphs":'])
@pytest.mark.parametrize("depth", [1_000, 3_000_000])
def test_what_is_nested_too_deep(tmp_path, open_, depth):
    path = tmp_path / "squad.json"
    path.write_text(open_ * depth)
    with pytest.raises(DataError, match="nested too deep"):
        read_squad(path)


def test_what_is_too_deep_to_be_written(tmp_path):
    deep = []
    for _ in range(100_000):
        deep = [deep]
    file = SquadFile({"data": [], "more": deep})
    with pytest.raises(DataError, match="nested too deep"):
        file.write(tmp_path / "squad.json")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_squad(tmp_path / "nowhere.json")


def test_one_id_twice():
    tree = squad()
    tree["data"] *= 2
    with pytest.raises(DataError, match="'q1' occurs twice"):
        SquadFile(tree).labels()


class TestFromLabels:
    def test_there_and_back(self, tmp_path, sample):
        labels = read_subjqa(sample, "dev").labels
        write_squad(labels, tmp_path / "dev.json")
        found = {label.question_id: label for label in read_squad(tmp_path / "dev.json")}
        assert len(found) == len(labels)
        for label in labels:
            assert found[label.question_id] == label

    def test_each_annotators_answer_is_written(self):
        span = AnswerSpan("Good", 0, 4)
        label = Label("q", "?", "B00", "r", "Good.", (span,), ((span,), (span,)))
        (question,) = SquadFile.from_labels([label]).tree["data"][0]["paragraphs"][0]["qas"]
        assert question["answers"] == [{"text": "Good", "answer_start": 0}] * 2

    def test_version_1_has_no_room_for_no_answer(self):
        label = Label("q", "?", "B00", "r", "Good.", ())
        with pytest.raises(DataError, match="Write version 2"):
            SquadFile.from_labels([label], version="1.1")

    def test_ids_must_be_unique(self):
        label = Label("q", "?", "B00", "r", "Good.", ())
        with pytest.raises(DataError, match="one split to a file"):
            SquadFile.from_labels([label, label])

    def test_what_cannot_be_located_is_left_out_and_told(self, caplog):
        label = Label("q", "?", "B00", "r", "Good.", (), meta={UNLOCATED: ["bad"]})
        assert SquadFile.from_labels([label]).tree["data"] == []
        assert "1 labels left out" in caplog.text

    def test_a_file_that_cannot_be_written(self, tmp_path):
        with pytest.raises(DataError, match="cannot be written"):
            write_squad([], tmp_path / "no" / "folder.json")


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "questions"), [("amazon_reviews", 9885), ("reddit", 9803), ("new_wiki", 7938)]
)
def test_squadshifts(qa_data, tmp_path, name, questions):
    path = qa_data / "squadshifts" / f"{name}.json"
    labels = read_squad(path)
    assert len(labels) == questions
    assert all(label.is_answerable and UNLOCATED not in label.meta for label in labels)
    SquadFile.read(path).write(tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_bytes()) == json.loads(path.read_bytes())
