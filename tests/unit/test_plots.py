"""Plots: what they draw, that they are the same every time, and that no text can harm them."""

import re
import xml.etree.ElementTree as ET

import pytest

from eval.report import plots
from eval.runs.summary import summarise

HOSTILE = "$\\frac{$</svg><script>alert(1)</script> \x00\x1b 日本 _"


@pytest.fixture(scope="module")
def summaries(made_up_run):
    return {
        kind: summarise(made_up_run(kind, systems, questions=60), resamples=100)
        for kind, systems in (
            ("retriever", ("hybrid", "bm25")),
            ("reader", ("ours", "theirs")),
            ("pipeline", ("pipeline",)),
        )
    }


def texts(plot):
    root = ET.fromstring(plot.svg)
    return [
        "".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")
    ]


@pytest.mark.parametrize(
    ("kind", "titles"),
    [
        ("retriever", ["Recall over k", "Scores", "Slices"]),
        (
            "reader",
            ["Scores", "Slices", "Risk over coverage", "Reliability", "Score over threshold"],
        ),
        (
            "pipeline",
            [
                "Scores",
                "From the reader alone to the whole pipeline",
                "Outcomes",
                "Slices",
                "Risk over coverage",
                "Reliability",
                "Score over threshold",
            ],
        ),
    ],
)
def test_a_summary_has_its_plots(summaries, kind, titles):
    drawn = plots.plots_of(summaries[kind])
    assert [plot.title for plot in drawn] == titles
    for plot in drawn:
        assert plot.caption
        assert plot.alt
        for ax in plot.figure.axes:
            assert ax.get_xlabel() or plot.figure.get_supxlabel(), plot.title


def test_the_recall_plot_draws_every_system_and_reference(summaries):
    plot = plots.recall_over_k(summaries["retriever"])
    for ax, field in zip(plot.figure.axes, ("gold", "answer"), strict=True):
        drawn = {line.get_label(): line.get_ydata() for line in ax.lines}
        assert drawn.keys() == {"hybrid", "bm25", "random"}
        curve = summaries["retriever"]["systems"]["hybrid"]["details"]["recall_at"]
        assert list(drawn["hybrid"]) == curve[field]
    assert "hybrid: " in plot.alt


def test_bars_are_as_long_as_the_scores(summaries):
    summary = summaries["reader"]
    plot = plots.score_bars(summary, ["em"])
    bars = [bar.get_width() for bar in plot.figure.axes[0].patches]
    assert bars == [
        each["metrics"]["em"]
        for each in [*summary["systems"].values(), *summary["references"].values()]
    ]


def test_the_steps_lead_from_the_reader_alone_to_the_pipeline(summaries):
    summary = summaries["pipeline"]
    parts = summary["systems"]["pipeline"]["details"]["outcomes"]
    bars = plots.gap(summary).figure.axes[0].patches
    alone, pipeline = bars[0].get_width(), bars[-1].get_width()
    assert pipeline == summary["systems"]["pipeline"]["metrics"]["f1"]
    assert alone - sum(part["gap"] for part in parts.values()) == pytest.approx(pipeline)
    assert alone + sum(bar.get_width() for bar in bars[1:-1]) == pytest.approx(pipeline, abs=0.004)


def test_outcomes_fill_the_bar(summaries):
    bars = plots.outcomes(summaries["pipeline"]).figure.axes[0].patches
    assert sum(bar.get_width() for bar in bars) == pytest.approx(1)


def test_without_a_reader_alone_there_is_no_gap(summaries):
    system = summaries["pipeline"]["systems"]["pipeline"]
    parts = {
        outcome: {**part, "gap": None} for outcome, part in system["details"]["outcomes"].items()
    }
    summary = {"systems": {"pipeline": {**system, "details": {"outcomes": parts}}}}
    assert plots.gap(summary) is None


@pytest.mark.parametrize("kind", ["retriever", "reader", "pipeline"])
def test_a_legend_fits_into_its_figure(made_up_run, kind):
    systems = ("reader alone", "bm25 + cross_encoder", "uniform prior", "supported")
    summary = summarise(made_up_run(kind, systems, questions=60), resamples=100)
    for plot in plots.plots_of(summary):
        plot.figure.canvas.draw()
        for legend in plot.figure.legends:
            box, room = legend.get_window_extent(), plot.figure.bbox
            assert room.x0 - 1 <= box.x0 < box.x1 <= room.x1 + 1, plot.title


def test_the_same_numbers_give_the_same_drawing(summaries):
    first, second = ([p.svg for p in plots.plots_of(summaries["reader"])] for _ in range(2))
    assert first == second


def test_a_drawing_stands_alone(summaries):
    for plot in plots.plots_of(summaries["pipeline"]):
        svg = plot.svg
        assert svg.startswith("<svg ")
        assert "currentColor" in svg
        assert plots.INK not in svg
        outside = set(re.findall(r"https?://[^\"'\s]+", svg))
        assert outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
        assert "<metadata" not in svg
        assert re.search(r"20\d\d-\d\d-\d\d", svg) is None


def test_drawings_in_one_page_share_no_ids(summaries):
    seen = set()
    for plot in plots.plots_of(summaries["reader"]):
        ids = set(re.findall(r' id="([^"]+)"', plot.svg))
        assert not ids & seen
        seen |= ids


def test_strangers_words_are_text(made_up_run):
    run = made_up_run("pipeline", (HOSTILE,), questions=60)
    for plot in plots.plots_of(summarise(run, resamples=100)):
        assert "<script" not in plot.svg
        texts(plot)  # It is well-formed.
    plot = plots.slice_dots(summarise(run, resamples=100))
    assert any("<script>" in text for text in texts(plot))


def test_a_histogram_draws_its_counts_and_lines():
    plot = plots.histogram(
        "Length", [0, 10, 20], {"reviews": [3, 1]}, "tokens", "reviews", lines={"window": 15}
    )
    (ax,) = plot.figure.axes
    assert list(ax.patches[0].get_data().values) == [3, 1]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("tokens", "reviews")
    assert "window" in texts(plot)


def test_nothing_counts(made_up_run):
    """No question has an answer: no retrieval score and nothing to draw, which is no error."""
    run = made_up_run("retriever", ("hybrid",), questions=60)
    summary = summarise(run, resamples=100)
    system = summary["systems"]["hybrid"]
    empty = {**system, "metrics": dict.fromkeys(system["metrics"]), "slices": {}, "details": {}}
    empty["intervals"] = dict.fromkeys(system["metrics"])
    assert plots.plots_of({**summary, "systems": {"hybrid": empty}, "references": {}}) == []


def test_the_state_of_matplotlib_stays_as_it_was(summaries):

    import matplotlib as mpl

    before = dict(mpl.rcParams)
    plots.plots_of(summaries["reader"])[0].svg  # noqa: B018
    assert dict(mpl.rcParams) == before
