import io

import pytest

from qa_system.console import progress as module
from qa_system.console.progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_plain_lines_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINE_SECONDS", 0.0)
    stream = io.StringIO()
    with progress("indexing", unit="reviews", total=100, stream=stream) as shown:
        shown.advance(40)
        shown.advance(10)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("indexing: 40 of 100 reviews, ")
    assert lines[1].endswith("s left")
    assert shown.done == 50


def test_a_quick_job_writes_no_lines() -> None:
    stream = io.StringIO()
    with progress("indexing", stream=stream) as shown:
        shown.advance()
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    with progress("indexing", total=10, stream=stream) as shown:
        shown.advance(10)
    assert "indexing" in stream.getvalue()
    assert shown.done == 10


def test_slow_work_has_a_rate_other_than_none(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 4.0, 8.0])
    monkeypatch.setattr(module, "monotonic", lambda: next(clock))
    monkeypatch.setattr(module, "LINE_SECONDS", 0.0)
    stream = io.StringIO()
    with progress("training", unit="steps", total=10, stream=stream) as shown:
        shown.advance()
        shown.advance(99, total=200)
    assert stream.getvalue().splitlines() == [
        "training: 1 of 10 steps, 0.25/s, 36 s left",
        "training: 100 of 200 steps, 12/s, 8 s left",
    ]


def test_what_a_stopped_run_had_done_says_nothing_of_the_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter([0.0, 1.0, 4.0])
    monkeypatch.setattr(module, "monotonic", lambda: next(clock))
    monkeypatch.setattr(module, "LINE_SECONDS", 0.0)
    stream = io.StringIO()
    with progress("training", unit="steps", total=100, stream=stream) as shown:
        shown.go_on(90)
        shown.advance(2)
    assert stream.getvalue().splitlines() == [
        "training: 90 of 100 steps, 0/s",
        "training: 92 of 100 steps, 0.5/s, 16 s left",
    ]
