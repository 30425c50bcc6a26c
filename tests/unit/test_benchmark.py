"""The performance benchmark: whose turn it is, what is counted, what is a reader's size."""

import numpy as np
import pytest

from architectures import save_reader
from eval.report import plots
from eval.report.performance import performance_table
from eval.runs.summary import summarise
from eval.tasks.benchmark import Timing, benchmark_run, costs, files_of, latencies, readers_named
from qa_system.config import Settings
from qa_system.datasets.dataset import dataset_of
from qa_system.errors import ConfigError, EvaluationError
from qa_system.models.locate import locate
from qa_system.records import AnswerSpan, Label

TEXTS = ("The battery lasts two days.", "The strap feels cheap.", "It fits under the seat.")


class Logged:
    """A reader that writes down what it was asked."""

    def __init__(self, name, log):
        self.name, self.log = name, log

    def read(self, questions, documents, top_k=None):
        self.log.append((self.name, *questions, *(each.id for each in documents[0])))
        return []


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Two tiny readers, one of them with the files that a training leaves."""
    folder = tmp_path_factory.mktemp("readers")
    for name in ("bert", "roberta"):
        save_reader(name, folder / name)
    (folder / "bert" / "training.json").write_text("{}")
    (folder / "bert" / "README.md").write_text("How it was trained.")
    return folder


def data(questions=6):
    return dataset_of(
        "made up",
        tuple(
            Label(
                f"q{at}",
                "How long does the battery last?" if at % 2 else "Is it good?",
                f"item-{at % 2}",
                f"r{at}",
                TEXTS[at % 3],
                (AnswerSpan("battery", 4, 11),) if at % 3 == 0 else (),
            )
            for at in range(questions)
        ),
    )


def test_the_readers_take_turns_and_another_one_begins():
    log = []
    readers = {name: Logged(name, log) for name in "ab"}
    asked = [("q1", []), ("q2", [])]
    times = latencies(readers, asked, runs=2, warm_up=1)
    assert "".join(name for name, *_ in log) == "ab" + "abba" + "baab"
    assert [question for _, question in log[:2]] == ["q1", "q1"]
    assert {name: each.shape for name, each in times.items()} == {"a": (2, 2), "b": (2, 2)}
    assert all((each >= 0).all() for each in times.values())


def test_costs_by_hand(tmp_path):
    (tmp_path / "a").write_bytes(b"1234")
    (tmp_path / "b").write_bytes(b"1")
    times = {
        "slow": np.array([[10.0, 20.0], [30.0, 40.0]]),
        "fast": np.array([[10.0, 10.0], [10.0, 10.0]]),
    }
    found = costs(times, {"slow": [tmp_path / "a"], "fast": [tmp_path / "a", tmp_path / "b"]})
    assert found["slow"] == {
        "bytes": 4,
        "files": {"a": 4},
        "size_ratio": 1.0,
        "ms": {"median": 25.0, "p95": pytest.approx(38.5), "mean": 25.0, "runs": [15.0, 35.0]},
        "speedup": 1.0,
    }
    assert found["fast"]["size_ratio"] == 5 / 4
    assert found["fast"]["speedup"] == 2.5  # the median of 1, 2, 3 and 4


def test_the_size_is_that_of_the_files_that_are_loaded(tiny):
    names = [path.name for path in files_of(locate(str(tiny / "bert")))]
    assert names == ["config.json", "model.safetensors", "tokenizer.json"]


def test_a_name_can_carry_a_precision():
    found = readers_named(["a/b", "a/b:fp32", "bundled:reader"], Settings())
    assert [(each.reader.model, each.reader.precision) for each in found.values()] == [
        ("a/b", "auto"),
        ("a/b", "fp32"),
        ("bundled:reader", "auto"),
    ]
    assert list(readers_named([], Settings())) == ["bundled:reader"]
    with pytest.raises(ConfigError, match="named twice"):
        readers_named(["a/b", "a/b"], Settings())


def test_two_readers_are_compared_with_the_first(tiny):
    settings = Settings.model_validate({"reader": {"max_seq_length": 64, "stride": 16}})
    readers = readers_named([f"{tiny / name}:fp32" for name in ("bert", "roberta")], settings)
    timing = Timing(questions=3, runs=2, warm_up=1, reviews=2)
    run = benchmark_run(data(), readers, timing=timing)
    first, second = readers
    assert run.made_with["timing"] == {"questions": 3, "runs": 2, "warm_up": 1, "reviews": 2}
    assert run.made_with["machine"]["cores"] >= 1
    assert len(run.made_with["models"]) == 2
    cost = {name: system.details["performance"] for name, system in run.systems.items()}
    assert (cost[first]["size_ratio"], cost[first]["speedup"]) == (1, 1)
    assert cost[second]["size_ratio"] == cost[second]["bytes"] / cost[first]["bytes"]
    for each in cost.values():
        assert 0 < each["ms"]["median"] <= each["ms"]["p95"]
        assert len(each["ms"]["runs"]) == 2

    summary = summarise(run, resamples=100)
    assert {(e["a"], e["b"]) for e in summary["comparisons"]} == {(second, first)}
    columns, rows = performance_table(summary)
    assert list(rows) == [first, second]
    assert {len(cells) for cells in rows.values()} == {len(columns)}
    assert rows[first][-1] == "+0.000"
    plot = plots.accuracy_over_time(summary)
    assert plot.title in [each.title for each in plots.plots_of(summary)]
    assert all(f"{name}: F1" in plot.alt for name in readers)


def test_the_area_of_a_mark_is_the_size(made_up_run):
    summary = summarise(made_up_run("reader", ("large", "small")), resamples=100)
    for name, size in (("large", 400), ("small", 100)):
        ms = {"median": 1.0, "p95": 2.0, "mean": 1.0, "runs": [1.0]}
        summary["systems"][name]["details"] = {"performance": {"bytes": size, "ms": ms}}
    [ax] = plots.accuracy_over_time(summary).figure.axes
    large, small = (marks.get_sizes()[0] for marks in ax.collections)
    assert large == 4 * small


def test_a_run_without_times_has_no_such_plot_and_no_table(made_up_run):
    summary = summarise(made_up_run("reader"), resamples=100)
    assert plots.accuracy_over_time(summary) is None
    assert performance_table(summary)[1] == {}


def test_a_question_that_a_reader_cannot_answer_is_not_timed(tiny):
    settings = Settings.model_validate({"reader": {"max_seq_length": 64, "stride": 16}})
    readers = readers_named([f"{tiny / 'bert'}:fp32"], settings)
    labels = data(3).labels
    long = Label("q9", "battery " * 100, None, "r9", TEXTS[0], ())
    run = benchmark_run(dataset_of("made up", (*labels, long)), readers, timing=Timing(9, 1, 0, 1))
    [system] = run.systems.values()
    assert system.counts["failed"] == 1
    assert run.made_with["timing"]["questions"] == 3
    with pytest.raises(EvaluationError, match="every question failed"):
        benchmark_run(dataset_of("made up", (long,)), readers)
