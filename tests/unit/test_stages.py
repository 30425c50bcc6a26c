from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

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
