"""Labels of one's own: read with every error named, written so that nothing is lost."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.datasets.jsonl import read_labels_jsonl, write_labels_jsonl
from qa_system.datasets.normal_form import is_blank
from qa_system.datasets.subjqa import read_subjqa
from qa_system.errors import DataError, InvalidArgumentError
from qa_system.labels import UNLOCATED, aggregate
from qa_system.records import AnswerSpan, Label
from qa_system.review_ids import stable_review_id

GOOD = AnswerSpan("Good", 0, 4)


@pytest.fixture
def read(tmp_path):
    def read(*rows, encode=json.dumps):
        path = tmp_path / "labels.jsonl"
        path.write_text("\n".join(row if isinstance(row, str) else encode(row) for row in rows))
        return read_labels_jsonl(path)

    return read


def row(**fields):
    return {"question": "How is it?", "context": "Good, but loud.", "answers": []} | fields


def label(question_id="q", *answers, **fields):
    given = {"item_id": "B00", "review_id": "r1", "context": "Good.", "question": "How is it?"}
    return Label(question_id, answers=answers, **given | fields)


# --- reading


def test_the_least_that_a_line_needs(read):
    (found,) = read(row(answers=["loud"]))
    assert found.answers == (AnswerSpan("loud", 10, 14),)
    assert (found.item_id, found.split, found.annotations, found.meta) == (None, None, (), {})
    assert found.review_id == stable_review_id("", "Good, but loud.")


def test_everything_that_a_line_can_hold(read):
    (found,) = read(
        row(
            question_id="q1",
            item_id="B00",
            review_id="r1",
            split="test",
            answers=[{"text": "o", "start": 11}, "Good", "Good"],
            annotations=[["Good"], [], [{"text": "o", "start": 11}, "Good"]],
            meta={"stars": 5},
            on="2024-02-29",
            nothing=None,
        )
    )
    o = AnswerSpan("o", 11, 12)
    assert found == Label(
        question_id="q1",
        question="How is it?",
        item_id="B00",
        review_id="r1",
        context="Good, but loud.",
        answers=(o, GOOD),
        annotations=((GOOD,), (), (o, GOOD)),
        split="test",
        meta={"on": "2024-02-29", "nothing": None, "stars": 5},
    )


def test_ids_are_derived_and_stay(read):
    one, other_question, other_item = read(
        row(item_id="A"), row(item_id="A", question="Is it?"), row(item_id="B")
    )
    assert one.review_id == other_question.review_id == stable_review_id("A", one.context)
    assert len({one.question_id, other_question.question_id, other_item.question_id}) == 3
    assert read(row(item_id="A", stars=3))[0].question_id == one.question_id
    told_by = json.dumps(["A", one.review_id, one.question], separators=(",", ":"))
    assert one.question_id == hashlib.sha256(told_by.encode()).hexdigest()[:32]


def test_an_answer_that_is_not_there_is_kept_as_text(read, caplog):
    (found,) = read(
        row(
            answers=["Good", "quiet", {"text": "Good", "start": 3}],
            annotations=[["Good"], ["quiet"], []],
            unlocated_answers=["soft"],
        )
    )
    assert found.answers == (GOOD,)
    # The second annotator found an answer: () would say that they found none.
    assert found.annotations == ((GOOD,), ())
    assert found.meta == {UNLOCATED: ["soft", "quiet"]}
    assert "1 of 2 answers are not in their context" in caplog.text


def test_a_mark_of_byte_order_empty_lines_and_windows_ends(tmp_path):
    path = tmp_path / "labels.jsonl"
    lines = [json.dumps(row()), "", json.dumps(row(question="Is it?")), "  "]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert [found.question for found in read_labels_jsonl(path)] == ["How is it?", "Is it?"]


def test_all_that_is_wrong_with_a_line_is_said_at_once(read):
    wrong = {
        "question": 5,
        "item_id": 5.5,
        "answers": [" ", 7, {"text": "a", "start": "b", "answer_start": 3}],
        "annotations": ["Good"],
        "meta": {"stars": 5, UNLOCATED: "x"},
        "stars": 4,
    }
    with pytest.raises(DataError) as error:
        read(row(), wrong)
    assert error.value.where.endswith("labels.jsonl:2")
    for said in (
        "'question' is 5, not a text",
        "'context' is missing",
        "'item_id' is 5.5, not a text",
        "answers[1] is neither a text nor has one",
        "answers[2].start is 'b', not a whole number",
        "answers[2] has 'answer_start'",
        "'annotations[0]' is not a list",
        "'stars' is both outside 'meta' and in it",
        "'unlocated_answers' is not a list of texts",
    ):
        assert said in error.value.what


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "it is not an object"),
        ('{"question": "\\ud800"}', "not JSON"),
        ('{"question": "?", "answers": []}', "'context' is missing"),
        ('{"question": "?", "context": "c", "answers": "c"}', "'answers' is not a list"),
        ('{"question": "?", "context": "c", "answers": [], "meta": []', "not JSON"),
        ('{"question": "?", "context": "c", "answers": [], "meta": [1]}', "'meta' is not an obj"),
        ('{"question": "?", "context": "c", "answers": [], "annotations": {"a": 1}}', "not a list"),
        ('{"question": "?", "context": "c", "answers": [true]}', "answers[0] is neither"),
    ],
)
def test_a_bad_line_is_named(read, line, said):
    with pytest.raises(DataError) as error:
        read(row(), line)
    assert error.value.where.endswith(":2")
    assert said in error.value.what


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "x.jsonl").write_bytes(b'{"question": "\xff"}')
    with pytest.raises(DataError, match="not JSON"):
        read_labels_jsonl(tmp_path / "x.jsonl")
    with pytest.raises(DataError, match="cannot be read"):
        read_labels_jsonl(tmp_path / "y.jsonl")


def test_a_question_id_twice_names_both_lines(read):
    one = row(question_id="q", split="test")
    assert len(read(one, one | {"split": "train"}, one | {"split": None})) == 3
    with pytest.raises(DataError, match=r"'q' occurs twice in split 'test'") as error:
        read(one, row(), one)
    first, second = error.value.where.split(" and ")
    assert (first[-2:], second[-2:]) == (":1", ":3")
    # Without ids, the same question about the same review is the same question.
    with pytest.raises(DataError, match="occurs twice"):
        read(row(), row(answers=["Good"]))


@pytest.mark.parametrize("other", [{"context": "Bad."}, {"item_id": "B01"}])
def test_a_review_is_one_text_of_one_item(read, other):
    one = row(review_id="r", item_id="B00")
    with pytest.raises(DataError, match="'r' stands for two texts or two items") as error:
        read(one, one | {"question": "Is it?"} | other)
    assert error.value.where.endswith(":2")


# --- writing

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
WORDS = TEXT.map(lambda text: f"x{text}")
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def labels(draw):
    found = []
    contexts = draw(st.lists(WORDS, min_size=1, max_size=3, unique=True))
    for number, context in enumerate(contexts * draw(st.integers(1, 2))):
        places = st.integers(0, len(context) - 1).map(
            lambda start, context=context: AnswerSpan(context[start], start, start + 1)
        )
        spans = places.filter(lambda span: not is_blank(span.text))
        meta = draw(st.dictionaries(TEXT | st.sampled_from(["split", "meta"]), JSON, max_size=2))
        if draw(st.booleans()):
            meta[UNLOCATED] = draw(st.lists(TEXT, max_size=2, unique=True))
        place = contexts.index(context)
        found.append(
            Label(
                question_id=draw(WORDS) + str(number),
                question=draw(WORDS),
                item_id=f"item{place}" if place else None,
                review_id=f"review{place}",
                context=context,
                answers=tuple(draw(st.lists(spans, max_size=2, unique=True))),
                annotations=tuple(
                    map(tuple, draw(st.lists(st.lists(spans, max_size=2), max_size=3)))
                ),
                split=draw(st.none() | WORDS),
                meta=meta,
            )
        )
    return tuple(found)


@given(labels())
def test_what_is_written_is_read_back(tmp_path_factory, given):
    path = tmp_path_factory.mktemp("jsonl") / "labels.jsonl"
    write_labels_jsonl(given, path)
    assert read_labels_jsonl(path) == given
    before = path.read_bytes()
    write_labels_jsonl(read_labels_jsonl(path), path)
    assert path.read_bytes() == before


def test_subjqa_becomes_json_lines_and_comes_back(sample, tmp_path):
    given = read_subjqa(sample).labels
    write_labels_jsonl(iter(given), tmp_path / "sample.jsonl")
    assert read_labels_jsonl(tmp_path / "sample.jsonl") == given


@pytest.mark.parametrize(
    "bad",
    [
        label("q", AnswerSpan("Good", 1, 5)),
        label("q", AnswerSpan("Good", 0, 5)),
        label("q", GOOD, GOOD),
        label(" "),
        label("q", question="\ud800"),
        label("q", context=""),
        label("q", meta={"x": float("nan")}),
        label("q", meta={"x": (1, 2)}),
        label("q", meta={"x": 2**70}),
        label("q", meta={"x": Path("y")}),
        label("q", meta={1: 2}),
        aggregate([label("q"), label("q2", review_id="r2", context="Fine.")])[0],
    ],
)
def test_what_could_not_be_read_back_is_refused(tmp_path, bad):
    path = tmp_path / "labels.jsonl"
    write_labels_jsonl([label("old")], path)
    with pytest.raises((DataError, InvalidArgumentError)):
        write_labels_jsonl([label("new"), bad], path)
    assert read_labels_jsonl(path) == (label("old"),)
    assert list(tmp_path.iterdir()) == [path]


def test_labels_that_cannot_stand_in_one_file(tmp_path):
    path = tmp_path / "labels.jsonl"
    with pytest.raises(DataError, match="occurs twice"):
        write_labels_jsonl([label("q"), label("q", question="Is it?")], path)
    with pytest.raises(DataError, match="two texts"):
        write_labels_jsonl([label("q"), label("q2", context="Bad.")], path)
    with pytest.raises(DataError, match="cannot be written"):
        write_labels_jsonl([], tmp_path / "nowhere" / "labels.jsonl")
    assert not path.exists()
