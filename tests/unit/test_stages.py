import ast
import re
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

from qa_system.stages import stage, timed


def test_stages_add_up_and_total_covers_them() -> None:
    with timed() as timings:
        for _ in range(3):
            with stage("read"):
                sum(range(1000))
        with stage("retrieve"):
            pass
    assert set(timings) == {"read", "retrieve", "total"}
    assert timings["total"] >= timings["read"] + timings["retrieve"]


def test_nothing_is_collected_when_nobody_asks() -> None:
    with stage("read"):
        pass
    with timed() as timings:
        pass
    assert set(timings) == {"total"}


def test_threads_that_carry_the_context_report_to_the_same_place() -> None:
    def work() -> None:
        with stage("dense"):
            pass

    with timed() as timings, ThreadPoolExecutor(2) as pool:
        pool.submit(copy_context().run, work).result()
    assert "dense" in timings


def test_concurrent_questions_do_not_mix() -> None:
    def ask(name: str) -> set[str]:
        with timed() as timings, stage(name):
            pass
        return set(timings)

    with ThreadPoolExecutor(8) as pool:
        names = [f"stage{number}" for number in range(64)]
        assert list(pool.map(ask, names)) == [{name, "total"} for name in names]


def test_the_documented_stages_are_those_that_are_measured(root: Path) -> None:
    calls = [
        call
        for path in (root / "qa_system").rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "stage"
    ]
    named = [call.args[0] for call in calls if isinstance(call.args[0], ast.Constant)]
    # A batch is a span around all of them, outside of what is timed.
    measured = {str(name.value) for name in named} - {"batch"} | {"total"}
    section = (root / "docs" / "operations.md").read_text().partition("### Stages")[2]
    rows = re.findall(r"^\| (`.*?) \|", section.partition("\nWorth")[0], re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", " ".join(rows))) == measured
