"""Every format is read by one rule: the same content becomes the same data set."""

import csv
import json
from dataclasses import replace

import orjson
import pytest

from eval.datasets import load_dataset
from qa_system.config import Settings, StoreSettings
from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.jsonl import write_labels_jsonl
from qa_system.datasets.offset_repair import SpanFinder
from qa_system.datasets.squad import write_squad
from qa_system.errors import DataError
from qa_system.labels import UNLOCATED, gold_texts, is_answered
from qa_system.records import AnswerSpan, Label
from qa_system.stores import open_store

GOOD = "Good bass."
EMOJI = "I ❤️ it 👍👍. The battery lasts. 🔋 The battery lasts!"
BATTERY = AnswerSpan("The battery lasts", 12, 29)
LABELS = (
    Label("1", "How is the bass?", "B0", "r1", GOOD, (AnswerSpan("Good", 0, 4),), split="dev"),
    Label("2", "Is it loud?", "B0", "r1", GOOD, (), split="dev"),
    Label("3", "How is the battery?", "B1", "r2", EMOJI, (BATTERY,), split="test"),
)
WANTED = tuple(
    replace(label, annotations=((label.answers[0],),) if label.answers else ((),))
    for label in LABELS
)
NO_ANSWER = (None, "", "  ", "ANSWERNOTFOUND", "\u200b")
FIELDS = [
    "item_id",
    "q_review_id",
    "question",
    "review_id",
    "review",
    "human_ans_spans",
    "human_ans_indices",
]


# --- the same content, in every format


def subjqa(folder, none="ANSWERNOTFOUND", button=True):
    (folder / "data").mkdir()
    for split in ("dev", "test"):
        with (folder / "data" / f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(FIELDS)
            for label in (label for label in LABELS if label.split == split):
                text = label.context + " ANSWERNOTFOUND" * button
                span = label.answers[0] if label.answers else AnswerSpan(none, 0, 0)
                about = [label.item_id, label.question_id, label.question, label.review_id, text]
                writer.writerow([*about, span.text, f"({span.start}, {span.end})"])
    return folder / "data"


def squad_tree(
    labels, *, none=(), number=str, impossible=True, start=lambda span, text: span.start
):
    def question(label):
        answers = [
            {"text": span.text, "answer_start": start(span, label.context)}
            for span in label.answers
        ] or [{"text": text, "answer_start": -1} for text in none]
        marked = {"is_impossible": not label.answers} if impossible else {}
        about = {"id": number(label.question_id), "question": label.question, "split": label.split}
        return about | {"answers": answers} | marked

    return {
        "version": "v2.0",
        "data": [
            {
                "title": None,
                "item_id": label.item_id,
                "paragraphs": [
                    {
                        "context": label.context,
                        "review_id": label.review_id,
                        "document_id": 3,
                        "qas": [question(label)],
                    }
                ],
            }
            for label in labels
        ],
    }


def squad(folder, **options):
    tree = squad_tree(LABELS, **options)
    (folder / "data.json").write_text(json.dumps(tree), encoding="utf-8-sig")
    return folder / "data.json"


def squad_folder(folder):
    (folder / "data").mkdir()
    for split in ("dev", "test"):
        tree = squad_tree([replace(one, split=None) for one in LABELS if one.split == split])
        (folder / "data" / f"{split}.json").write_text(json.dumps(tree))
    return folder / "data"


def jsonl(folder, *, none=(), number=str, layout=lambda answers: answers, annotated=True):
    lines = []
    for label in LABELS:
        answers = layout(
            [{"text": span.text, "start": span.start} for span in label.answers] or list(none)
        )
        row = {
            "question_id": number(label.question_id),
            "question": label.question,
            "item_id": label.item_id,
            "review_id": label.review_id,
            "context": label.context,
            "split": label.split,
            "answers": answers,
        }
        marked = [[answer] for answer in answers or ()] or [[]] if annotated else []
        lines.append(json.dumps(row | ({"annotations": marked} if annotated else {})))
    (folder / "data.jsonl").write_text("\n".join(lines), encoding="utf-8-sig")
    return folder / "data.jsonl"


def columns(answers):
    real = [answer for answer in answers if answer]
    return {"text": [one["text"] for one in real], "answer_start": [one["start"] for one in real]}


def store(folder):
    with open_store(StoreSettings(path=str(folder / "store")), create=True) as opened:
        opened.write_labels(WANTED)
    return f"store:{folder / 'store'}"


def utf16(span, text):
    return len(text[: span.start].encode("utf-16-le")) // 2


def utf8(span, text):
    return len(text[: span.start].encode())


FORMATS = {
    "subjqa": subjqa,
    "subjqa without the button": lambda folder: subjqa(folder, button=False),
    "subjqa, blank": lambda folder: subjqa(folder, none=" "),
    "squad": squad,
    "squad without marks": lambda folder: squad(folder, impossible=False),
    "squad of whole numbers": lambda folder: squad(folder, number=int),
    "squad in UTF-16 units": lambda folder: squad(folder, start=utf16),
    "squad in bytes": lambda folder: squad(folder, start=utf8),
    "squad without offsets": lambda folder: squad(folder, start=lambda *_: None),
    "a folder of squad": squad_folder,
    "json lines": jsonl,
    "json lines of whole numbers": lambda folder: jsonl(folder, number=int),
    "json lines as `datasets` writes": lambda folder: jsonl(
        folder, layout=columns, annotated=False
    ),
    "json lines with null": lambda folder: jsonl(
        folder, layout=lambda answers: answers or None, annotated=True
    ),
    "a store": store,
} | {
    f"{name} with {none!r}": lambda folder, make=make, none=none: make(folder, none=[none])
    for name, make in (("squad", squad), ("json lines", jsonl))
    for none in NO_ANSWER
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_content_is_the_same_data_set(name, tmp_path, caplog):
    data = load_dataset(FORMATS[name](tmp_path), Settings())
    labels = sorted((replace(label, meta={}) for label in data.labels), key=by_id)
    wanted = [replace(one, annotations=()) for one in WANTED] if "datasets" in name else WANTED
    assert labels == list(wanted)
    assert sorted((one.id, one.item_id, one.text) for one in data.reviews) == [
        ("r1", "B0", GOOD),
        ("r2", "B1", EMOJI),
    ]
    assert data.splits == ("dev", "test")
    assert data.remarks == ()
    assert "WARNING" not in caplog.text


def by_id(label):
    return label.question_id


# --- what is said of what is odd


def one_squad(folder, context=GOOD, question="How is it?", **fields):
    row = {"id": "q", "question": question} | fields
    path = folder / "one.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": context, "qas": [row]}]}]}))
    return path


def one_line(folder, context=GOOD, question="How is it?", **fields):
    path = folder / "one.jsonl"
    row = {"question_id": "q", "question": question, "context": context} | fields
    path.write_text(json.dumps(row))
    return path


ANSWER = {"text": "Good bass", "start": 0}


@pytest.mark.parametrize("write", [one_squad, one_line])
@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        ({"answers": []}, []),
        ({"answers": [], "is_impossible": True}, []),
        ({"answers": [{"text": "", "start": -1}], "is_impossible": True}, []),
        ({"answers": [ANSWER], "is_impossible": True}, ["contradiction"]),
        ({"answers": [], "is_impossible": False}, ["contradiction"]),
        ({"is_impossible": True}, []),
        ({}, ["no answers"]),
    ],
)
def test_no_answer_has_one_form(write, fields, kinds, tmp_path, caplog):
    data = read_dataset(write(tmp_path, **fields))
    [label] = data.labels
    assert (is_answered(label), gold_texts(label)) == (False, ())
    assert UNLOCATED not in label.meta
    assert "is_impossible" not in label.meta
    assert [remark.kind for remark in data.remarks] == kinds
    if kinds:
        assert "1 of 1 rows" in caplog.text
        assert "question 'q'" in caplog.text


@pytest.mark.parametrize("write", [one_squad, one_line])
@pytest.mark.parametrize(
    "blank", [{"context": ""}, {"context": "\u200b \n"}, {"question": " "}, {"context": None}]
)
def test_all_blank_is_an_error(write, blank, tmp_path):
    with pytest.raises(DataError, match=r"all 1 rows were set aside, the first because the \w+ is"):
        read_dataset(write(tmp_path, answers=[], **blank))


def test_blank_rows_are_set_aside_in_every_format(tmp_path, caplog):
    rows = [
        {"question_id": name, "question": question, "context": context, "answers": []}
        for name, question, context in (("a", "Is it?", GOOD), ("b", " ", GOOD), ("c", "Why?", ""))
    ]
    lines, tree = tmp_path / "x.jsonl", tmp_path / "x.json"
    lines.write_text("\n".join(map(json.dumps, rows)))
    questions = [
        {
            "context": row["context"],
            "qas": [{"id": row["question_id"], "question": row["question"], "answers": []}],
        }
        for row in rows
    ]
    tree.write_text(json.dumps({"data": [{"paragraphs": questions}]}))
    table = tmp_path / "x.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        for row in rows:
            about = ["B0", row["question_id"], row["question"], f"r{row['question_id']}"]
            writer.writerow([*about, row["context"], "ANSWERNOTFOUND", "(0, 0)"])
    for path in (lines, tree, table):
        caplog.clear()
        data = read_dataset(path)
        assert [label.question_id for label in data.labels] == ["a"]
        assert len(data.reviews) == 1
        assert [(remark.question_id, remark.what) for remark in data.remarks] == [
            ("b", "the question is blank"),
            ("c", "the context is blank"),
        ]
        assert f"{path}: 2 of 3 rows were set aside" in caplog.text


# --- offsets


@pytest.mark.parametrize(
    ("text", "answer", "start", "found"),
    [
        ("x  bass", " bass", 3, (3, 7)),  # a leading space, and the offset of the word
        ("It is\r\n\r\nvery  loud.", "very loud", 7, (9, 19)),  # white space was normalised
        ("good, good", "good", 3, None),  # as near to both
        ("good " * 2 + "x" * 90 + " good", "good", 104, (101, 105)),
        ("loud at first, later " + "x" * 40 + " loud", "loud", 30, None),
        ("Only once: loud.", "loud", 500, (11, 15)),
        ("👍" * 3 + "good, so good", "good", 6, (3, 7)),  # in UTF-16 units
    ],
)
def test_an_answer_is_found_where_there_is_no_doubt(text, answer, start, found):
    span = SpanFinder(text).find_clearly(answer, start)
    assert (None if span is None else (span.start, span.end)) == found
    assert span is None or span.text == text[span.start : span.end]


@pytest.mark.parametrize(
    ("text", "answer", "start", "found"),
    [
        ("Put the atlas away.", "heat", 0, None),
        ("Put the atlas away.", "heat", None, None),
        ("This eats power.", "seat", 0, None),
        ("Did he at last?", "heat", None, None),  # one word is not two
        ("The book is fine.", "ok", None, None),
        ("This cat is nice", "is", None, (9, 11)),
        ("A smart art piece", "art", None, (8, 11)),
        ("I don't know; nope", "no", None, None),
        ("It isn't bitter / acidic.", "n't bitter/acidic", 0, (5, 24)),  # the tokeniser's word
        ("这个电池很好", "电池", None, (2, 4)),  # no spaces between words
        ("Loud/ clear.", "loud/clear", None, None),
        ("Loud/ clear.", "Loud/clear", None, (0, 11)),
    ],
)
def test_an_answer_is_found_as_whole_words(text, answer, start, found):
    span = SpanFinder(text).find_clearly(answer, start)
    assert (None if span is None else (span.start, span.end)) == found


def test_an_answer_at_its_offset_may_be_part_of_a_word(tmp_path):
    row = {"question": "What?", "context": "Such atlases.", "question_id": "a"}
    for answer, found in (
        ({"text": "atlas", "start": 5}, [("atlas", 5)]),
        ({"text": "atlas", "start": 4}, []),
        ("atlas", []),
    ):
        path = tmp_path / "x.jsonl"
        path.write_bytes(orjson.dumps({**row, "answers": [answer]}))
        [label] = read_dataset(path).labels
        assert [(span.text, span.start) for span in label.answers] == found


def test_what_is_written_is_the_same_when_read_back(sample, tmp_path):
    data = read_dataset(sample)
    write_labels_jsonl(data.labels, tmp_path / "all.jsonl")
    assert read_dataset(tmp_path / "all.jsonl").labels == data.labels
    (tmp_path / "squad").mkdir()
    for split in data.splits:
        write_squad(data.labels_of(split), tmp_path / "squad" / f"{split}.json")
    back = read_dataset(tmp_path / "squad")
    assert {(one.split, one.question_id): one for one in back.labels} == {
        (one.split, one.question_id): one for one in data.labels
    }
    assert {one.id: (one.item_id, one.text) for one in back.reviews} == {
        one.id: (one.item_id, one.text) for one in data.reviews
    }


@pytest.mark.parametrize(
    "meta",
    [
        {"title": 5, "id": 7, "meta": "x", "split": None, "is_impossible": "?"},
        {"title": "", "review_id": [], "item_id": {}, "annotations": "x", "answers": 1},
        {"plausible_answers": 5},
        {"plausible_answers": [{"text": "Good", "answer_start": 0}], "n": [1, {"a": None}]},
    ],
)
def test_whatever_stands_in_meta_comes_back(meta, tmp_path):
    label = replace(WANTED[0], meta=meta)
    write_squad([label], tmp_path / "x.json")
    assert read_dataset(tmp_path / "x.json").labels == (label,)
    unmarked = replace(label, answers=())  # one annotator against the sum of them
    write_squad([unmarked], tmp_path / "x.json")
    assert read_dataset(tmp_path / "x.json").labels == (unmarked,)


@pytest.mark.parametrize("key", ["id", "item_id", "review_id", "title"])
def test_half_a_character_is_refused(key, tmp_path):
    tree = squad_tree(LABELS[:1])
    article = tree["data"][0]
    paragraph = article["paragraphs"][0]
    place = {"id": paragraph["qas"][0], "review_id": paragraph}.get(key, article)
    place[key] = "\ud83d"
    (tmp_path / "x.json").write_text(json.dumps(tree))
    with pytest.raises(DataError, match="half a character"):
        read_dataset(tmp_path / "x.json")
