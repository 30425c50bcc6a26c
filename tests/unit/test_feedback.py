"""Feedback in a file: what is kept, by whom it can be read, and how it is erased."""

import multiprocessing
import os
import signal
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from time import sleep

import pytest
from pydantic import ValidationError

from qa_system.errors import StoreLockedError, StoreUnavailableError
from qa_system.serving.kept import file
from qa_system.serving.kept.traces import Traces
from qa_system.serving.product_page.feedback import Feedback, FeedbackFile, latest_feedback

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SAID = {"request_id": "r1", "item_id": "boots", "question": "Loud?", "verdict": "up"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feedback.sqlite3"


def bytes_of(path: Path) -> bytes:
    """All that the disk has of a file."""
    return b"".join(each.read_bytes() for each in path.parent.glob(f"{path.name}*"))


def test_entries_are_kept_in_their_order(path: Path) -> None:
    kept = FeedbackFile(path)
    assert [kept.append({"question": f"q{n}"}, NOON) for n in range(3)] == [1, 2, 3]
    at = "2026-05-01T12:00:00.000+00:00"
    assert list(FeedbackFile(path).entries(after=1)) == [
        {"number": 2, "at": at, "question": "q1"},
        {"number": 3, "at": at, "question": "q2"},
    ]


def test_entries_about_one_answer_of_a_batch_are_joined(path: Path) -> None:
    feedback = FeedbackFile(path)
    span = {"review_id": "r1", "start": 0, "end": 4}
    for question, item, said in (
        ("Loud?", "fan", {"verdict": "down", "correction": span, "reason": None}),
        ("Warm?", "fan", {"verdict": "up"}),
        ("Loud?", "lamp", {"verdict": "down"}),
        ("Loud?", "fan", {"verdict": "down", "correction": None, "reason": "it hums"}),
        ("Loud?", "lamp", {"verdict": "up"}),
    ):
        feedback.append({"request_id": "batch", "item_id": item, "question": question, **said})

    assert [
        (each["item_id"], each["question"], each["verdict"], each.get("correction"), each["number"])
        for each in latest_feedback(feedback.entries())
    ] == [
        ("fan", "Loud?", "down", span, 4),
        ("fan", "Warm?", "up", None, 2),
        ("lamp", "Loud?", "up", None, 5),
    ]
    assert latest_feedback(feedback.entries())[0]["reason"] == "it hums"


def test_the_file_is_its_owners(path: Path) -> None:
    FeedbackFile(path).append(SAID)
    modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_entries_are_only_appended(path: Path) -> None:
    FeedbackFile(path).append(SAID)
    with sqlite3.connect(path) as connection, pytest.raises(sqlite3.IntegrityError):
        connection.execute("UPDATE feedback SET entry = '{}'")
    connection.close()


def test_forgotten_reviews_leave_no_trace(path: Path) -> None:
    kept = FeedbackFile(path)
    span = {"start": 0, "end": 4}
    kept.append({**SAID, "reason": "personal-one", "shown": [{"review_id": "a", **span}]})
    kept.append({**SAID, "reason": "personal-two", "correction": {"review_id": "b", **span}})
    # What is said later of the same answer need not name its quotes.
    kept.append({**SAID, "reason": "personal-three"})
    other = {**SAID, "request_id": "r2"}
    kept.append({**other, "reason": "general-one", "shown": [{"review_id": "ab", **span}]})
    kept.append({**SAID, "item_id": "lamp", "reason": "general-two"})
    assert kept.forget(Traces(["a", "b", "'); --"])) == 3
    assert [entry["reason"] for entry in kept.entries()] == ["general-one", "general-two"]
    found = bytes_of(path)
    assert b"general-one" in found
    assert b"personal-" not in found
    # A number is never given again, so that an export goes on where it ended.
    assert kept.append(SAID) == 6


def test_what_is_forgotten_during_an_export_is_told_to_be_there_still(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LONGEST_WAIT", "LONGEST_EMPTYING"):
        monkeypatch.setattr(file, name, 0.05)
    kept = FeedbackFile(path)
    kept.append({**SAID, "reason": "personal-one", "shown": [{"review_id": "a"}]})
    kept.append({**SAID, "request_id": "r2"})
    export = kept.entries()
    assert next(export)["reason"] == "personal-one"
    with pytest.raises(StoreLockedError, match="1 rows are erased, but") as error:
        kept.forget(Traces(["a"]))
    assert "run the same command again" in str(error.value.remedy)
    assert b"personal-one" in bytes_of(path)
    assert [entry["request_id"] for entry in export] == ["r1", "r2"][1:]
    assert kept.forget(Traces(["a"])) == 0
    assert b"personal-one" not in bytes_of(path)


def write(path: Path, name: str) -> None:
    kept = FeedbackFile(path)
    for number in range(20):
        kept.append({**SAID, "request_id": f"{name}{number}"})


def write_much(path: Path) -> None:
    """Move the log into the file after each transaction, until the process is ended."""
    with file.KeptFile(path, "", "serving.feedback", durable=False).connected() as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 1")
        while True:
            connection.execute("UPDATE load SET word = hex(randomblob(200000))")
            sleep(0.002)


def test_forgetting_waits_for_the_checkpoints_of_writers(path: Path) -> None:
    kept = FeedbackFile(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE load AS SELECT '' AS word")
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_much, args=(path,)) for _ in "ab"]
    try:
        for each in writers:
            each.start()
        with closing(sqlite3.connect(path, timeout=60)) as connection:
            while connection.execute("SELECT word FROM load").fetchone() == ("",):
                assert all(each.is_alive() for each in writers)
        for number in range(20):
            kept.append({**SAID, "reason": f"personal-{number}", "shown": [{"review_id": "a"}]})
            assert kept.forget(Traces(["a"])) == 1
    finally:
        for each in writers:
            each.kill()
            each.join()
    assert b"personal-" not in bytes_of(path)


def test_several_processes_write_one_file(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write, args=(path, name)) for name in "ab"]
    for each in writers:
        each.start()
    for each in writers:
        each.join(60)
        assert each.exitcode == 0
    entries = list(FeedbackFile(path).entries())
    assert [entry["number"] for entry in entries] == list(range(1, 41))
    ids = [entry["request_id"] for entry in entries]
    for name in "ab":
        assert [each for each in ids if each[0] == name] == [f"{name}{n}" for n in range(20)]


def append_and_die(path: Path) -> None:
    FeedbackFile(path).append(SAID)
    os.kill(os.getpid(), signal.SIGKILL)


def test_what_was_appended_outlives_its_process(path: Path) -> None:
    writer = multiprocessing.get_context("spawn").Process(target=append_and_die, args=(path,))
    writer.start()
    writer.join(60)
    assert writer.exitcode == -signal.SIGKILL
    [entry] = FeedbackFile(path).entries()
    assert entry["request_id"] == "r1"


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no database, and long enough to be seen as none " * 4)
    for path in (tmp_path / "none" / "feedback", tmp_path / "file"):
        with pytest.raises(StoreUnavailableError) as error:
            FeedbackFile(path)
        assert error.value.where == str(path)
    assert "not a database" in error.value.what
    assert str(error.value.remedy).startswith("Move it away")


@pytest.mark.parametrize(
    "wrong",
    [
        {"verdict": "maybe"},
        {"verdict": None},
        {"reason": "x" * 1001},
        {"shown": [{"review_id": "a", "start": -1, "end": 2}]},
        {"shown": [{"review_id": "a", "start": 0, "end": 2}] * 101},
        {"shown": [{"review_id": "a", "start": 0, "end": 2**63}]},
        {"correction": {"review_id": "a", "start": 9, "end": 2}},
        {"generation": 2**63},
        {"reason": "\ud800"},
        {"item_id": "\ud800"},
        {"request_id": "a b"},
        {"question": ""},
        {"ip": "127.0.0.1"},
    ],
)
def test_what_is_refused(wrong: dict[str, object]) -> None:
    assert Feedback.model_validate(SAID).verdict == "up"
    with pytest.raises(ValidationError):
        Feedback.model_validate({**SAID, **wrong})
