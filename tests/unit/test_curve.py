"""Learning curves: subsets by their property, numbers by hand, the figure."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.adaptation.curve import METRICS, PLAIN, Plan, _summarised
from eval.adaptation.subsets import nested, taught_and_tuned
from eval.report.curve import print_curve
from eval.report.plots import learning_curves, to_svg
from eval.runs.paired import Resampling
from eval.runs.run import Row
from qa_system.errors import ConfigError
from qa_system.records import Label


def labels_of(counts: list[int]) -> list[Label]:
    return [
        Label(f"{item}-{n}", "How is it?", f"item {item}", f"r{item}-{n}", "Good.", ())
        for item, count in enumerate(counts)
        for n in range(count)
    ]


def ids(labels: list[Label]) -> list[str]:
    return sorted(label.question_id for label in labels)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 99), st.data())
def test_subsets_are_nested_and_have_each_items_share(counts, seed, data) -> None:
    labels = labels_of(counts)
    ordered = nested(labels, seed)
    assert ids(ordered) == ids(labels)
    assert nested(labels, seed) == ordered
    size = data.draw(st.integers(0, len(labels)))
    taken = Counter(label.item_id for label in ordered[:size])
    shares = [(taken[f"item {item}"] / count, 1 / count) for item, count in enumerate(counts)]
    for one, of_one in shares:
        for other, of_other in shares:
            assert abs(one - other) < of_one + of_other
    taught, tuned = taught_and_tuned(ordered, size, 0.2)
    assert ids([*taught, *tuned]) == ids(ordered[:size])
    assert len(tuned) == size // 5
    more_taught, more_tuned = taught_and_tuned(ordered, len(labels), 0.2)
    assert more_taught[: len(taught)] == taught
    assert more_tuned[: len(tuned)] == tuned


def rows(*f1: float) -> list[Row]:
    """Two questions about each item, of which every other one has an answer."""
    return [
        Row(
            f"q{n}",
            "test",
            "?",
            f"i{n // 2}",
            "r",
            ("good",) if n % 2 else (),
            f"i{n // 2}",
            {metric: None if "has_ans" in metric and n % 2 == 0 else each for metric in METRICS},
        )
        for n, each in enumerate(f1)
    ]


def result() -> dict:
    found = {
        PLAIN: {10: [rows(0, 0.5, 0, 0.5), rows(0, 0.25, 0, 0.75)]},
        "both": {0: [rows(0, 0, 0, 0)] * 2, 10: [rows(1, 1, 1, 0.5), rows(1, 1, 1, 1)]},
    }
    return _summarised(found, Resampling(["i0", "i0", "i1", "i1"], 200)) | {
        "data": {"path": "domain", "test_questions": 4},
        "sizes": [0, 10],
        "seeds": 2,
        "left_out": [{"line": PLAIN, "labels": 0, "why": "without labels m is no reader"}],
        "references": {"always_empty": dict.fromkeys(METRICS, 0.5)},
    }


def test_numbers_of_a_point_are_over_seeds_and_intervals_over_items() -> None:
    curve = result()
    [plain] = curve["lines"][PLAIN]
    assert plain["metrics"]["f1"] == pytest.approx((0 + 0.375 + 0 + 0.625) / 4)
    assert plain["metrics"]["has_ans_f1"] == pytest.approx(0.5)
    assert plain["of_seeds"]["f1"] == pytest.approx([0.25, 0.25])
    assert plain["of_seeds"]["has_ans_f1"] == pytest.approx([0.5, 0.5])
    # Two items, whose means over questions and seeds are 3/16 and 5/16: both ends are drawn.
    assert plain["intervals"]["f1"] == pytest.approx([0.1875, 0.3125])
    both = curve["lines"]["both"][1]
    assert both["sd_of_seeds"]["f1"] == pytest.approx(np.std([0.875, 1.0], ddof=1))
    [f1, _] = curve["against_plain"]
    assert (f1["a"], f1["b"]) == ("both, 10 labels", "plain, 10 labels")
    assert f1["difference"] == pytest.approx(0.9375 - 0.25)


def test_the_figure_and_the_table_show_every_point(capsys: pytest.CaptureFixture[str]) -> None:
    plot = learning_curves(result())
    assert plot.alt == "plain: 0.250 at 10; both: 0.000 at 0, 0.938 at 10"
    drawn = to_svg(plot.figure)
    assert all(f">{text}<" in drawn for text in ("plain", "both", "always empty", "labels", "10"))
    print_curve(result())
    printed = capsys.readouterr().out
    assert "0.250" in printed
    assert "[0.188, 0.312]" in printed
    assert "plain: without labels m is no reader" in printed


def test_lines_have_names_of_their_own() -> None:
    with pytest.raises(ConfigError, match="need a name each"):
        Plan("m", {"same": "a"}, {"same": "b"})
    with pytest.raises(ConfigError, match="need a name each"):
        Plan("m", {PLAIN: "a"})
