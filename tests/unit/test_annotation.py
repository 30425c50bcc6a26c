"""Annotation without a browser: agreement by hand, questions, the order of tasks, labels kept."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy

from qa_system.annotation.agreement import Agreement, agreements, kappa, span_f1
from qa_system.annotation.annotations import Annotations
from qa_system.annotation.annotators import annotators, at_work
from qa_system.annotation.export import export
from qa_system.annotation.marks import Mark, marks_of
from qa_system.annotation.orders import uncertain_first
from qa_system.annotation.questions import read_questions
from qa_system.annotation.tasks import Task
from qa_system.config import StoreSettings
from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.squad import write_squad
from qa_system.errors import ConfigError, DataError, ReviewChangedError, StoreLockedError
from qa_system.records import AnswerSpan, Label, Question
from qa_system.serving.product_page.feedback import FeedbackFile
from qa_system.stores.faiss import FAISSDocumentStore

TASKS = [Task("Loud?", "fan", f"r{n}", f"It is loud {n}. 😀 Very.") for n in range(4)]
LOUD, IT_IS_LOUD = AnswerSpan("loud", 6, 10), AnswerSpan("It is loud", 0, 10)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FAISSDocumentStore]:
    with FAISSDocumentStore(tmp_path / "store") as store:
        reviews = [
            Document(id=task.review_id, content=task.text, meta={"review_id": task.review_id})
            for task in TASKS
        ]
        store.write_documents(reviews)
        yield store


# --- agreement, by hand


def test_kappa_is_cohens() -> None:
    # Cohen's own layout: 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no of 50.
    pairs = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert kappa(pairs) == pytest.approx((0.7 - 0.5) / (1 - 0.5))
    # Worse than chance: they never agree. By chance 2 * 0.5 * 0.5.
    assert kappa([("y", "n"), ("n", "y")]) == -1.0
    # One says yes to everything, the other to half: no better than chance.
    assert kappa([("y", "y"), ("y", "n")]) == 0.0
    # Three categories; observed 2/4; by chance (2*1 + 1*2 + 1*1) / 16 = 5/16.
    three = [("for", "for"), ("for", "against"), ("against", "against"), ("mixed", "mixed")]
    assert kappa(three) == pytest.approx((12 - 5) / (16 - 5))


@pytest.mark.parametrize("pairs", [[], [("y", "y")], [("y", "y")] * 9])
def test_kappa_is_undefined_without_tasks_or_without_a_second_category(
    pairs: list[tuple[str, str]],
) -> None:
    assert kappa(pairs) is None


def test_spans_overlap_by_characters() -> None:
    assert span_f1(LOUD, LOUD) == 1.0
    assert span_f1(LOUD, IT_IS_LOUD) == pytest.approx(2 * 4 / 14)
    assert span_f1(LOUD, AnswerSpan("It is", 0, 5)) == 0.0
    # The same word elsewhere is another span.
    assert span_f1(LOUD, AnswerSpan("loud", 16, 20)) == 0.0


def test_agreement_of_each_pair() -> None:
    said = {
        "ann": [(LOUD, "for"), (LOUD, "against"), (None, None), (LOUD, None)],
        "ben": [(LOUD, "for"), (IT_IS_LOUD, "for"), (LOUD, "for"), (None, None)],
        "cid": [(None, None)],
    }
    marks = [
        Mark(f"{n}", name, span, polarity, "2026-01-01")
        for name, given in said.items()
        for n, (span, polarity) in enumerate(given)
    ]
    first, with_cid, other_with_cid = agreements(marks)
    # Answerable: observed 2/4, by chance (3*3 + 1*1) / 16; polarity: observed 1/2, chance 1/2.
    assert first == Agreement(
        one="ann",
        other="ben",
        tasks=4,
        answered=2,
        answerable=pytest.approx((8 - 10) / (16 - 10)),
        judged=2,
        polarity=0.0,
        span_f1=pytest.approx((1 + 8 / 14) / 2),
    )
    assert (with_cid.one, with_cid.other, with_cid.tasks) == ("ann", "cid", 1)
    assert (with_cid.answerable, with_cid.polarity, with_cid.span_f1) == (0.0, None, None)
    assert other_with_cid.tasks == 1
    assert agreements(marks[:4]) == []


# --- tasks


def test_the_closest_decisions_come_first() -> None:
    scores = [0.9, 0.0, 0.35, 0.25]
    tasks = [Task("?", "fan", f"{s}", "x", score=s, threshold=0.31) for s in scores]
    assert [task.score for task in uncertain_first(tasks)] == [0.35, 0.25, 0.0, 0.9]


def test_a_task_is_another_when_its_review_changes() -> None:
    assert TASKS[0].id == Task("Loud?", "fan", "r0", TASKS[0].text, LOUD, 0.5, 0.3).id
    assert TASKS[0].id != Task("Loud?", "fan", "r0", "It is quiet now.").id


def test_questions_of_every_kind_of_file(tmp_path: Path) -> None:
    loud, warm = Question("Is it loud?", "fan"), Question("Warm?", "lamp")
    table = "ASIN;question;x\nfan;Is it  loud?;é\nlamp;Warm?;\nfan;Is it loud?;2\n"
    rows = [
        {"question": "Is it loud?", "item_id": "fan", "answers": [{"score": 1}], "error": None},
        {"question": "Good?", "item_id": "fan", "verdict": "up"},
        {"question": "Warm?", "item_id": "lamp", "verdict": "down"},
    ]
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    for name, content in {
        "semicolon.CSV": table.encode("cp1252"),
        "utf16.csv": table.encode("utf-16"),
        "tab.tsv": table.replace(";", "\t").encode("utf-8-sig"),
        "packed.csv.gz": gzip.compress(table.encode()),
        "lines.jsonl": lines.encode(),
        "array.json": json.dumps(rows).encode(),
    }.items():
        (tmp_path / name).write_bytes(content)
        assert read_questions(tmp_path / name) == ([loud, warm], []), name
    (tmp_path / "bare.csv").write_text("question\nIs it loud?\n")
    assert read_questions(tmp_path / "bare.csv", item="fan") == ([loud], [])
    with pytest.raises(ConfigError, match="--item ITEM"):
        read_questions(tmp_path / "bare.csv")
    squad = tmp_path / "squad.json"
    write_squad([Label("q", "Is it loud?", "fan", "r0", "No.", ())], squad)
    assert read_questions(squad) == ([loud], [])
    with pytest.raises(ConfigError, match="for a file of questions"):
        read_questions(squad, item="fan")
    assert (
        Question("How is the zipper?", "jacket-drizzlecrest-shell")
        in read_questions("bundled:sample")[0]
    )


def test_the_last_verdict_of_each_answer_of_a_batch_counts(tmp_path: Path) -> None:
    feedback = FeedbackFile(tmp_path / "feedback.sqlite3")
    said = [
        ("1", "up", "Is it loud?"),
        ("1", "down", "Warm?"),
        ("1", "down", "Is it loud?"),
        ("1", "up", "Good?"),
        ("2", "down", "Better?"),
        ("2", "up", "Better?"),
    ]
    for request, verdict, question in said:
        entry = {"request_id": request, "verdict": verdict, "question": question, "item_id": "fan"}
        feedback.append(entry)
    expected = [Question("Is it loud?", "fan"), Question("Warm?", "fan")]
    assert read_questions(tmp_path / "feedback.sqlite3") == (expected, [])
    printed = "".join(f"{json.dumps(entry)}\n" for entry in feedback.entries())
    (tmp_path / "feedback.jsonl").write_text(printed)
    assert read_questions(tmp_path / "feedback.jsonl") == (expected, [])


def test_a_row_that_cannot_be_asked_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "asked.csv"
    path.write_text("question,product_id\nLoud?,fan\nshort\nWarm?,\n,fan\n")
    questions, bad = read_questions(path)
    assert questions == [Question("Loud?", "fan")]
    assert [each.where for each in bad] == [f"{path}, line {n}" for n in (3, 4, 5)]
    lines = tmp_path / "answers.jsonl"  # as `qa ask --out` writes them
    row = {
        "row": 2,
        "id": None,
        "run": "0",
        "question": None,
        "item_id": None,
        "error": {"code": 1},
    }
    asked = {
        **row,
        "question": "Loud?",
        "item_id": "fan",
        "error": None,
        "answers": [{"text": "x"}],
    }
    lines.write_text(f"{json.dumps(asked)}\n{json.dumps(row)}\n")
    questions, bad = read_questions(lines)
    assert (questions, len(bad)) == ([Question("Loud?", "fan")], 1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"text,item_id\nLoud?,fan\n", "question"),
        ("a.csv", b"question,item_id\n", "there are no questions"),
        ("a.csv", b"question,item_id\nLoud?,\n", r"no questions; .*item_id is empty.*line 2"),
        ("a.jsonl", b"", "there are no questions"),
        ("none.csv", None, "there is nothing"),
    ],
)
def test_files_without_questions_say_why(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises((DataError, ConfigError), match=message):
        read_questions(tmp_path / name)


# --- what is kept


def test_labels_skips_and_steps_back(store: FAISSDocumentStore) -> None:
    annotations = Annotations(store, TASKS)
    first, second, *_ = TASKS
    assert annotations.state("ann").task == first
    assert annotations.skip("ann", first.id).task == second  # type: ignore[union-attr]
    after = annotations.mark("ann", second, LOUD, "against")
    assert (after.task, after.labelled, after.skipped, after.tasks) == (TASKS[2], 1, 1, 4)
    assert after.last_saved is not None
    assert store.count_labels() == 1
    back = annotations.undo("ann")
    assert (back.task, back.labelled, back.previous and back.previous.span) == (second, 0, LOUD)
    assert store.count_labels() == 0
    back = annotations.undo("ann")
    assert (back.task, back.skipped, back.previous) == (first, 0, None)
    assert annotations.undo("ann") == back
    for task in TASKS:
        annotations.mark("ann", task, None, None)
    assert annotations.state("ann").task is None
    assert annotations.skip("ann", first.id) is None
    annotations.mark("ann", first, LOUD, "for")
    assert store.count_labels() == 4, "a second label takes the place of the first"


def test_each_undo_takes_back_one_label(store: FAISSDocumentStore) -> None:
    annotations = Annotations(store, TASKS)
    first, second = TASKS[:2]
    annotations.mark("ann", first, LOUD, "against")
    annotations.mark("ann", second, None, None)
    annotations.mark("ann", second, IT_IS_LOUD, "for")
    annotations.mark("ann", second, LOUD, "mixed")
    taken = []
    for _ in range(4):
        state = annotations.undo("ann")
        kept = {
            mark.task_id: mark.span for mark in marks_of(store.get_labels_aggregated(by_item=False))
        }
        assert store.count_labels() == state.labelled == len(kept)
        taken.append((state.task, state.previous and state.previous.polarity, kept))
    assert taken == [
        (second, "mixed", {first.id: LOUD, second.id: IT_IS_LOUD}),
        (second, "for", {first.id: LOUD, second.id: None}),
        (second, None, {first.id: LOUD}),
        (first, "against", {}),
    ]


def test_a_label_of_a_review_that_has_gone_or_changed_is_refused(
    store: FAISSDocumentStore, tmp_path: Path
) -> None:
    annotations = Annotations(store, TASKS)
    for task in TASKS[:3]:
        annotations.mark("ann", task, None, None)
    annotations.mark("ann", TASKS[0], LOUD, "for")
    with FAISSDocumentStore(tmp_path / "store") as other_process:
        other_process.forget(["r0"])
        other = Document(id="r1", content="It hums.", meta={"review_id": "r1"})
        other_process.write_documents([other], DuplicatePolicy.OVERWRITE)
        other_process.delete_documents(["r2"])
    for task in TASKS[:3]:
        with pytest.raises(ReviewChangedError):
            annotations.mark("ann", task, LOUD, "for")
    assert store.count_labels() == 2, "those of r1 and r2; forgetting has erased the one of r0"
    annotations.undo("ann")
    assert store.count_labels() == 2, "what was forgotten does not come back"
    with pytest.raises(DataError, match="all 2 labels"):
        export(store, tmp_path / "labels.json")
    annotations.mark("ann", TASKS[3], LOUD, "for")
    assert export(store, tmp_path / "labels.json") == (1, 2)
    [label] = read_dataset(tmp_path / "labels.json").labels
    assert label.review_id == "r3"


@pytest.mark.parametrize("name", ["", " ann", "a\0b", "a\nb", "\u202eann", "x" * 101])
def test_names_that_cannot_be_shown_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no name of an annotator"):
        annotators(["ann", name])


def test_an_annotator_works_at_one_place_at_a_time(tmp_path: Path) -> None:
    settings = StoreSettings(path=str(tmp_path))
    with at_work(["ann"], settings):
        with pytest.raises(StoreLockedError, match="ann annotates"):
            at_work(["ben", "ann"], settings).__enter__()
        with at_work(["ben"], settings):
            pass
    with at_work(["ann", "ben"], settings):
        assert {path.name[:10] for path in tmp_path.iterdir()} == {"annotator-"}


def test_annotators_beside_each_other_and_after_a_restart(
    store: FAISSDocumentStore, tmp_path: Path
) -> None:
    foreign = Label("q", "Loud?", "fan", "r0", TASKS[0].text, (LOUD,), meta={"at": ["now"]})
    store.write_labels([foreign])
    store.close()
    with FAISSDocumentStore(tmp_path / "store") as other_process:
        ann, ben = Annotations(store, TASKS), Annotations(other_process, TASKS)
        for task in TASKS[:2]:
            ann.mark("ann", task, LOUD, "against")
            ben.mark("ben", task, IT_IS_LOUD, "for")
        [pair] = ben.agreements()
        assert (pair.tasks, pair.span_f1) == (2, pytest.approx(8 / 14))
        again = Annotations(store, uncertain_first(TASKS))
        assert again.state("ann").task == TASKS[2]
        assert again.state("cid").labelled == 0
        assert again.undo("ann").task == TASKS[1], "what was done last, in the run before"
    kept = marks_of(store.get_labels_aggregated(by_item=False))
    assert {(mark.annotator, mark.task_id) for mark in kept} == {
        ("ann", TASKS[0].id),
        ("ben", TASKS[0].id),
        ("ben", TASKS[1].id),
    }


def test_labels_are_written_and_read_back(store: FAISSDocumentStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nobody has annotated"):
        export(store, tmp_path / "labels.json")
    annotations = Annotations(store, TASKS)
    annotations.mark("ann", TASKS[3], None, None)
    store.delete_documents(["r3"])
    annotations.mark("ann", TASKS[0], LOUD, "against")
    annotations.mark("ben", TASKS[0], None, None)
    annotations.mark("ben", TASKS[1], AnswerSpan("Very", 16, 20), "mixed")
    annotations.mark("ben", TASKS[2], None, None)
    kept = store.get_labels_aggregated(by_item=False)[1:]
    for name in ("labels.json", "labels.jsonl"):
        assert export(store, tmp_path / name) == (3, 1)
        assert list(read_dataset(tmp_path / name).labels) == kept
    first, second, third = kept
    assert (first.answers, first.annotations) == ((LOUD,), ((LOUD,), ()))
    assert first.meta["annotator"] == ["ann", "ben"]
    assert first.meta["polarity"] == ["against", None]
    assert (second.answers[0].text, third.is_answerable) == ("Very", False)
    with pytest.raises(ConfigError, match="format"):
        export(store, tmp_path / "labels.csv")
