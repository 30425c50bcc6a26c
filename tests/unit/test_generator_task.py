"""What becomes of generated answers: given, withheld, scored; worked by hand."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from haystack import Document
from haystack.dataclasses import ExtractedAnswer
from hypothesis import given
from hypothesis import strategies as st

from eval.metrics.selective import precision_coverage
from eval.report import plots
from eval.report.summary import print_summary
from eval.runs.paired import Resampling, compare_pairs
from eval.runs.run import Run, Scores
from eval.runs.significance import bootstrap_means, bootstrap_p_values, intervals
from eval.runs.summary import summarise
from eval.tasks.generator import HEADLINE, PAIRS, Evidence, evaluate_generator
from qa_system.config import GeneratorSettings
from qa_system.errors import EvaluationError, QuestionTooLongError
from qa_system.generators.rag import Generated
from qa_system.readers.extractive import Reading
from qa_system.records import AnswerSpan, Label

TEXTS = {"r1": "The battery lasts ten hours.", "r2": "A good screen.", "r3": "It is loud."}
GOLD = {"q1": "ten hours", "q2": "good screen", "q3": "loud", "q4": None, "q5": None}


def label(number, item="tv"):
    review_id = f"r{(number - 1) % 3 + 1}"
    text, answer = TEXTS[review_id], GOLD.get(f"q{number}")
    spans = ()
    if answer is not None:
        spans = (AnswerSpan(answer, text.index(answer), text.index(answer) + len(answer)),)
    return Label(f"q{number}", f"question {number}", item, review_id, text, spans)


LABELS = [label(number, item=f"item{number}") for number in range(1, 6)]


def documents(scores=(0.5, 0.3, 0.1)):
    return tuple(
        Document(id=name, content=text, meta={"review_id": name}, score=score)
        for (name, text), score in zip(TEXTS.items(), scores, strict=True)
    )


def choose(label):
    return Evidence(documents(), found=label.question_id != "q3")


@dataclass
class Writes:
    """Says what it was told to, another thing without scores, and keeps what it was given."""

    told: dict
    unscored: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)
    priors: list = field(default_factory=list)

    def generate(self, questions, documents, top_k=None, *, prior=None):
        self.priors.append(prior)
        self.calls.append((questions, documents, top_k))
        return [self._answers(*each) for each in zip(questions, documents, strict=True)]

    def _answers(self, question, documents):
        scored = documents[0].score is not None
        said = (self.told if scored else {**self.told, **self.unscored})[question]
        if isinstance(said, Exception):
            raise said
        return [Generated(text, -1.0, -0.5, shares) for text, shares in [said] if text]


@dataclass
class Reads:
    """Finds a span with log-odds, or nothing."""

    told: dict

    def read(self, questions, documents, top_k=None):
        return [self._reading(self.told.get(question), documents[0]) for question in questions]

    def _reading(self, said, documents):
        if said is None:
            return Reading((), (), 1.0)
        text, name, odds = said
        [document] = [each for each in documents if each.id == name]
        probability = 1 / (1 + math.exp(-odds))
        meta = {"log_odds": odds}
        answer = ExtractedAnswer(
            query="?", score=probability, data=text, document=document, meta=meta
        )
        return Reading((answer,) if odds >= 0 else (), (answer,), 1 - probability)


FIRST, SPREAD = (1.0, 0.0, 0.0), (0.2, 0.5, 0.3)
GENERATOR = Writes(
    {
        "question 1": ("Ten hours", FIRST),  # right, and there
        "question 2": ("a good picture", SPREAD),  # half of it is there
        "question 3": ("it weighs two kilos", SPREAD),  # nowhere
        "question 4": ("ten hours", FIRST),  # there, and no answer
        "question 5": ("", FIRST),  # abstains
    },
    {"question 1": ("good", SPREAD)},
)
READER = Reads(
    {
        "question 1": ("ten hours", "r1", 2.0),
        "question 2": ("good", "r2", -1.0),
        "question 4": ("loud", "r3", 1.0),
    }
)
SETTINGS = GeneratorSettings(min_support=0.6, check_with_reader=False)


def evaluated(labels=LABELS, generator=GENERATOR, reader=READER, settings=SETTINGS, **options):
    return evaluate_generator(labels, choose, generator, reader, settings, **options)


def test_scores_by_hand():
    systems, first_read = evaluated()
    assert list(systems) == ["generated", "supported", "uniform prior", "reader"]
    assert first_read == [TEXTS["r1"]] * 5
    f1 = {name: [row.scores["f1"] for row in each.rows] for name, each in systems.items()}
    assert f1["generated"] == [1, 1 / 2, 0, 0, 1]
    assert f1["supported"] == [1, 0, 0, 0, 1]
    assert f1["uniform prior"] == [0, 1 / 2, 0, 0, 1]
    assert f1["reader"] == [1, 0, 0, 0, 1]
    told = {
        name: (each.metrics["coverage"], each.metrics["precision"])
        for name, each in systems.items()
    }
    assert told == {
        "generated": (4 / 5, pytest.approx(1.5 / 4)),
        "supported": (2 / 5, 1 / 2),
        "uniform prior": (4 / 5, pytest.approx(0.5 / 4)),
        "reader": (2 / 5, 1 / 2),
    }
    assert systems["generated"].metrics["has_ans_f1"] == 1.5 / 3
    assert systems["supported"].metrics["no_ans_em"] == 1 / 2
    rows = {name: system.rows for name, system in systems.items()}
    # What the gold review carried: all of the first answer, a half of the second one (no other
    # review more), 0.3 of the third one; questions without an answer do not count.
    column = [row.scores["gold_posterior"] for row in rows["generated"]]
    assert column == [1.0, 0.5, 0.3, None, None]
    assert [row.scores["gold_top"] for row in rows["generated"]] == [1, 1, 0, None, None]
    assert systems["supported"].metrics["gold_posterior"] == 1.0
    assert [row.scores["gold_top"] for row in rows["reader"]] == [1, None, None, None, None]


def test_counts_add_up():
    systems, _ = evaluated()
    for name, system in systems.items():
        counts = system.counts
        assert counts["questions"] == counts["answerable"] + counts["unanswerable"] == 5
        assert counts["answered"] == 5 * system.metrics["coverage"]
        assert counts["gold_put_in"] == 1
        assert counts["documents_median"] == 3
        assert ("withheld" in counts) == (name == "supported")
    kept, withheld = (systems["supported"].counts[key] for key in ("answered", "withheld"))
    assert kept + withheld == systems["generated"].counts["answered"]


def test_what_is_withheld_counts_as_abstention_and_is_kept():
    systems, _ = evaluated()
    for said, kept in zip(systems["generated"].rows, systems["supported"].rows, strict=True):
        supported = said.output.get("supported", True)
        assert kept.output["forced"] == said.output["prediction"] == said.output["forced"]
        assert kept.output["prediction"] == (said.output["prediction"] if supported else "")
        assert kept.output["confidence"] == said.output["confidence"]
        assert kept.scores["coverage"] == bool(kept.output["prediction"])
        if not said.references:
            assert kept.scores["em"] == (not kept.output["prediction"])
    output = systems["generated"].rows[1].output
    assert output["words_supported"] == output["confidence"] == 0.5
    assert output["agreement_with_reader"] is None
    assert output["posterior"] == dict(zip(TEXTS, SPREAD, strict=True))


def test_all_answers_are_written_from_the_same_documents_with_scores_and_without():
    generator = replace(GENERATOR, calls=[])
    evaluated(generator=generator, batch=5)
    (asked, scored, top_k), (again, unscored, _) = generator.calls
    assert asked == again == [each.question for each in LABELS]
    assert top_k == 1
    assert [[each.score for each in own] for own in scored] == [[0.5, 0.3, 0.1]] * 5
    assert {each.score for own in unscored for each in own} == {None}
    assert [[each.id for each in own] for own in unscored] == [list(TEXTS)] * 5


def test_the_reader_has_a_say_where_it_is_asked():
    systems, _ = evaluated(settings=SETTINGS.model_copy(update={"check_with_reader": True}))
    [first, second, *_] = systems["generated"].rows
    assert first.output["agreement_with_reader"] == 1.0
    # "a good picture" against "good": two thirds, and half of its words are there.
    assert second.output["agreement_with_reader"] == pytest.approx(2 / 3, abs=0.2)
    assert second.output["confidence"] == pytest.approx(
        math.sqrt(second.output["words_supported"] * second.output["agreement_with_reader"])
    )


def test_a_chat_has_no_prior_to_be_left_out():
    generator = replace(GENERATOR, calls=[])
    chat = SETTINGS.model_copy(update={"type": "chat"})
    systems, _ = evaluated(generator=generator, settings=chat)
    assert list(systems) == ["generated", "supported", "reader"]
    assert len(generator.calls) == 1


def test_a_question_that_fails_fails_for_all():
    told = {**GENERATOR.told, "question 2": QuestionTooLongError("no room")}
    systems, first_read = evaluated(generator=Writes(told))
    for system in systems.values():
        assert system.counts["failed"] == 1
        assert "no room" in system.rows[1].error
        assert system.rows[1].scores["coverage"] == system.rows[1].scores["f1"] == 0
        assert system.rows[1].scores["precision"] is None
    assert systems["generated"].metrics["precision"] == pytest.approx(1 / 3)
    assert first_read[1] == ""
    with pytest.raises(EvaluationError, match="every question failed"):
        evaluated(labels=LABELS[1:2], generator=Writes(told))
    with pytest.raises(EvaluationError, match="no questions"):
        evaluated(labels=[])


def test_where_nothing_is_ever_said_there_is_no_precision():
    abstains = Writes(dict.fromkeys(GENERATOR.told, ("", FIRST)))
    systems, _ = evaluated(generator=abstains)
    metrics = systems["generated"].metrics
    assert (metrics["coverage"], metrics["precision"], metrics["gold_posterior"]) == (0, None, None)
    assert metrics["no_ans_em"] == 1
    assert systems["generated"].details["precision_coverage"]["at"] == (0.0, None)
    summary = summarise(Run("generator", "f1", HEADLINE, systems), resamples=100)
    assert "reader: precision" in plots.precision_over_coverage(summary).alt


def test_passages_of_one_review_carry_together():
    parts = [
        Document(id=f"r1-{at}", content=text, meta={"review_id": "r1"})
        for at, text in enumerate(("The battery lasts.", "Ten hours."))
    ]
    other = Document(id="r2", content="A good screen.", meta={"review_id": "r2"})
    evidence = Evidence((*parts, other), found=True)
    generator = Writes({"question 1": ("ten hours", (0.3, 0.3, 0.4))})
    systems, _ = evaluate_generator(LABELS[:1], lambda _: evidence, generator, Reads({}), SETTINGS)
    [row] = systems["generated"].rows
    assert row.output["posterior"] == {"r1": 0.6, "r2": 0.4}
    assert (row.scores["gold_posterior"], row.scores["gold_top"]) == (0.6, 1.0)


def test_as_much_is_not_most():
    generator = Writes({"question 1": ("ten hours", (0.5, 0.5, 0.0))})
    systems, _ = evaluated(labels=LABELS[:1], generator=generator)
    assert systems["generated"].metrics["gold_top"] == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.0, 0.2, 0.5, 0.5000001, 1.0, math.nan]),
            st.sampled_from([0.0, 0.5, 1.0]),
        ),
        min_size=1,
        max_size=30,
    )
)
def test_the_curve_is_that_of_withholding_at_every_threshold(answers):
    confidence, scores = map(list, zip(*answers, strict=True))
    curve = precision_coverage(confidence, scores)
    thresholds = sorted({each for each in confidence if not math.isnan(each)}, reverse=True)
    assert curve["threshold"] == thresholds
    for threshold, coverage, precision in zip(*curve.values(), strict=True):
        kept = [score for each, score in answers if each >= threshold]
        assert coverage == pytest.approx(len(kept) / len(answers))
        assert precision == pytest.approx(sum(kept) / len(kept))


def test_a_curve_has_no_more_points_than_can_be_seen():
    confidence = np.random.default_rng(1).random(3000)
    curve = precision_coverage(confidence, confidence > 0.3)
    assert len(curve["threshold"]) == 200
    assert curve["coverage"][-1] == 1
    assert curve["threshold"] == sorted(curve["threshold"], reverse=True)
    assert curve["precision"][-1] == pytest.approx((confidence > 0.3).mean())


@pytest.mark.parametrize("min_support", [0.0, 0.3, 0.5, 0.7, 1.0])
def test_what_is_supported_is_a_point_of_the_curve(min_support):
    systems, _ = evaluated(settings=SETTINGS.model_copy(update={"min_support": min_support}))
    curve = systems["generated"].details["precision_coverage"]
    metrics = systems["supported"].metrics
    assert curve["at"] == pytest.approx((metrics["coverage"], metrics["precision"]))
    points = list(zip(curve["coverage"], curve["precision"], strict=True))
    assert curve["at"] in [pytest.approx(point) for point in points]
    assert points[-1] == pytest.approx(
        (systems["generated"].metrics["coverage"], systems["generated"].metrics["precision"])
    )


def test_withholding_is_compared_by_what_each_system_answers():
    """Over the questions that both answer, withholding could never make a difference."""
    rng = np.random.default_rng(3)
    clusters = [f"item{at // 2}" for at in range(120)]
    score = rng.random(120)
    kept = np.where(score + rng.normal(0, 0.3, 120) > 0.5, score, np.nan)
    scores = {
        "generated": Scores(("f1", "precision"), np.column_stack([score, score])),
        "supported": Scores(("f1", "precision"), np.column_stack([np.nan_to_num(kept), kept])),
    }
    resampling = Resampling(clusters, 500)
    f1, precision = compare_pairs(
        [("supported", "generated")], scores, ("f1", "precision"), resampling
    )
    assert f1["p_permutation"] is not None
    assert precision["difference"] == pytest.approx(np.nanmean(kept) - score.mean())
    assert precision["means"] == pytest.approx([np.nanmean(kept), score.mean()])
    assert precision["questions"] == 120
    drawn = bootstrap_means(kept[:, None], clusters, resamples=500)
    drawn = drawn - bootstrap_means(score[:, None], clusters, resamples=500)
    assert precision["interval"] == pytest.approx(intervals(drawn)[0])
    assert precision["interval"][0] > 0
    [p] = bootstrap_p_values(drawn, [precision["difference"]])
    assert precision["p_permutation"] is None
    assert precision["p_holm"] == precision["p_bootstrap"] == p < 0.05


def test_a_summary_compares_what_was_asked_and_draws_it(capsys):
    systems, _ = evaluated()
    run = Run("generator", "f1", HEADLINE, systems, pairs=PAIRS)
    summary = summarise(run, resamples=200)
    found = {(each["a"], each["b"]) for each in summary["comparisons"]}
    assert found == set(PAIRS)
    assert "precision" in {each["metric"] for each in summary["comparisons"]}
    print_summary(summary)
    said = capsys.readouterr().out
    for words in (
        "2 answers were withheld",
        "1 gold reviews were not retrieved",
        "F1",
        "precision",
    ):
        assert words in said
    plot = plots.precision_over_coverage(summary)
    assert plot.title in [each.title for each in plots.plots_of(summary)]
    [ax] = plot.figure.axes
    marks = {
        line.get_label(): (line.get_xdata()[0], line.get_ydata()[0])
        for line in ax.lines
        if not line.get_label().startswith("_")
    }
    assert marks.keys() == {"generated", "uniform prior", "reader"}
    supported = summary["systems"]["supported"]["metrics"]
    assert marks["generated"] == (supported["coverage"], supported["precision"])
    curves = [line for line in ax.lines if line.get_label().startswith("_")]
    curve = summary["systems"]["generated"]["details"]["precision_coverage"]
    assert list(curves[0].get_xdata()) == curve["coverage"]
    assert list(curves[0].get_ydata()) == curve["precision"]
