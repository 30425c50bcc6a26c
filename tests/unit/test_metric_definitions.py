"""Metrics describe themselves, and anybody's metric is scored, printed and compared like ours."""

import math
import re

import pytest

from eval.metrics import (
    ALL,
    ANSWERABLE,
    ANSWERED,
    UNANSWERABLE,
    Metric,
    added_names,
    describe,
    markdown_table,
    metrics_of,
    register,
    registry,
    score_all,
)
from eval.metrics.definitions import DEFINITIONS
from eval.report.page import run_page
from eval.report.summary import print_summary
from eval.runs.run import Run
from eval.runs.summary import summarise
from eval.runs.wording import in_words
from eval.tasks import consensus, generator, pipeline, reader, retriever
from eval.tasks.predictions import Failure, Prediction, score_predictions
from qa_system.errors import ConfigError, EvaluationError
from qa_system.records import AnswerSpan, Label

LOUD = Label("q1", "How is it?", "tv", "r1", "It is loud.", (AnswerSpan("loud", 6, 10),))
NOTHING = Label("q2", "Who made it?", "tv2", "r2", "It is loud.", ())


def metric(name="words", **fields):
    texts = {"label": name, "meaning": f"What {name} is.", "source": "this test"}
    return Metric(name=name, **{**texts, **fields})


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    return register


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_definition_says_everything(name):
    found = DEFINITIONS[name]
    assert found.name == name
    assert re.fullmatch(r"[A-Z1`].*\.", found.meaning)
    assert found.label
    assert found.source
    assert found.over.name
    assert found.tasks
    assert found.decimals == 3
    assert found.higher_is_better == (name not in {"ece", "aurc", "count_error", "duplicates"})
    # What is expected at random, question by question, is also said in words.
    assert found.expect is None or found.at_random


@pytest.mark.parametrize(
    ("headline", "task", "ks"),
    [
        (retriever.headline_of([1, 3, 5]), "retriever", [1, 3, 5]),
        (reader.HEADLINE, "reader", []),
        (pipeline.headline_of(3), "pipeline", [3]),
        (generator.HEADLINE, "generator", []),
        (consensus.HEADLINE, "consensus", [10]),
    ],
)
def test_tables_show_defined_metrics(headline, task, ks):
    assert set(headline) <= {each.name for each in metrics_of(task, ks)}


def test_a_metric_at_a_cut_off():
    recall = describe("recall@5")
    assert (recall.name, recall.label, recall.k) == ("recall@5", "recall@5", 5)
    assert recall.meaning == "Share of the gold reviews that are among the first 5."
    assert describe("f1@3").label == "F1, best of 3"
    assert describe("f1").at(3) is describe("f1")


def test_a_name_that_nothing_defines_is_its_own_label():
    found = describe("harness / pipeline@s")
    assert (found.label, found.meaning, found.higher_is_better) == (
        "harness / pipeline@s",
        "",
        True,
    )
    assert found.shown(0.25) == "0.250"


def test_numbers_are_written_with_the_metrics_decimals():
    assert metric(decimals=1).shown(2.25, signed=True) == "+2.2"
    assert metric(decimals=0).shown(12.0) == "12"
    assert metric().shown(None, none="none") == "none"


def test_a_question_counts_where_the_population_says():
    metrics = [
        metric(over.name.replace(" ", "_"), over=over, score=lambda case: 0.5, if_failed=9.0)
        for over in (ALL, ANSWERABLE, UNANSWERABLE, ANSWERED)
    ]
    answered, abstained = {"prediction": "loud"}, {"prediction": ""}
    assert list(score_all(metrics, LOUD, answered).values()) == [0.5, 0.5, None, 0.5]
    assert list(score_all(metrics, NOTHING, abstained).values()) == [0.5, None, 0.5, None]
    failed = score_all(metrics, LOUD, {"prediction": None}, failed=True)
    assert list(failed.values()) == [9.0, 9.0, None, None]


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda case: case.output["nothing"], "metric 'words' failed: KeyError: 'nothing'"),
        (lambda case: math.nan, "metric 'words' returned nan"),
        (lambda case: "high", "metric 'words' failed: ValueError"),
    ],
)
def test_a_metric_that_fails_is_named_with_the_question(score, message):
    with pytest.raises(EvaluationError, match=f"{message}.*question 'q1'"):
        score_all([metric(score=score)], LOUD, {})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (metric("f1"), "metric 'f1' exists already"),
        (metric("recall@k"), "metric 'recall@k' exists already"),
        (metric("two words"), "'two words' has a name"),
        (metric("words@3"), "'words@3' has a name"),
        (len, "<built-in function len> is no Metric"),
    ],
)
def test_what_cannot_be_registered(registered, given, message):
    with pytest.raises(ConfigError, match=message):
        registered(given)
    assert added_names("reader") == ()


def test_a_registered_metric_is_scored_printed_and_compared(registered, capsys):
    registered(
        metric(
            label="words of the answer",
            meaning="Words in the <answer>.",
            over=ANSWERED,
            decimals=1,
            higher_is_better=False,
            score=lambda case: len(case.output["prediction"].split()),
        ),
        metric("reviews@k", tasks=("retriever",), score=lambda case: case.k),
    )
    labels = [LOUD, NOTHING]
    short = score_predictions(labels, [Prediction("loud", "loud"), Failure("no memory")])
    long = score_predictions(labels, [Prediction("it is very loud", "loud"), Prediction("", "x")])
    assert [row.scores["words"] for row in short.rows] == [1.0, None]
    assert (short.metrics["words"], long.metrics["words"]) == (1.0, 4.0)
    headline = ("f1", *added_names("reader"))
    run = Run("reader", "f1", headline, {"short": short, "long": long})
    summary = summarise(run, resamples=100)
    [compared] = [each for each in summary["comparisons"] if each["metric"] == "words"]
    told = in_words({**compared, "p_holm": 0.01, "interval": [-3.0, -3.0]})
    assert told.startswith("short is better than long by 3.0 words of the answer [3.0, 3.0]")
    print_summary(summary)
    assert "4.0" in capsys.readouterr().out
    page = run_page(run, summary)
    assert 'title="Words in the &lt;answer&gt;."' in page
    assert 'class="number best">1.0' in page
    assert [each.name for each in metrics_of("retriever", [2, 4])][-2:] == [
        "reviews@2",
        "reviews@4",
    ]


def test_the_docs_have_the_table_of_metrics(root):
    """To write it anew: `python -m eval.metrics`."""
    docs = (root / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert markdown_table() in docs
