"""The pipeline that users run, evaluated on the sample with its real store and reader."""

import pytest

from eval.datasets import load_dataset
from eval.tasks.candidates import temporary_index
from eval.tasks.pipeline import evaluate_pipeline
from eval.tasks.reader import evaluate_reader
from qa_system import QASystem, Question
from qa_system.config import load_settings


@pytest.fixture(scope="module")
def data(sample):
    return load_dataset(sample)


@pytest.fixture(scope="module")
def system(data):
    settings = load_settings(overrides={"retriever.mode": "bm25"}, environ={})
    with (
        temporary_index(data.reviews, settings, embed=False) as placed,
        QASystem.open(placed) as opened,
    ):
        yield opened


@pytest.fixture(scope="module")
def labels(data):
    return data.labels_of("dev")[:24]


def test_it_is_what_users_get(system, labels):
    systems, first_read = evaluate_pipeline(labels, system, scope="item", alone=False)
    for row, label, text in zip(systems["pipeline"].rows, labels, first_read, strict=True):
        answers = system.ask(label.question, label.item_id)
        assert row.output["answers"] == [
            {"text": each.text, "review_id": each.review_id, "confidence": each.confidence}
            for each in answers.answers
        ]
        said = ""
        if answers.answers:
            first = answers.answers[0]
            said = first.text if first.exact is None else first.exact.text
        assert row.output["prediction"] == said
        if answers.score is not None:
            assert row.output["confidence"] == pytest.approx(answers.score)
        assert len(row.output["ranked"]) == answers.reviews_read
        assert text


@pytest.mark.slow
def test_the_size_of_batches_changes_nothing(system, labels):
    """int8 has one scale for a whole forward pass: nobody may share one with another."""
    alone = evaluate_pipeline(labels, system, scope="item", batch=1)
    assert evaluate_pipeline(labels, system, scope="item", batch=24) == alone
    # Nor does it matter what else was asked.
    part = evaluate_reader(labels[5:9], system.reader)
    assert part.rows == alone[0]["reader alone"].rows[5:9]


def test_a_question_that_fails_is_counted(system, labels):
    long = type(labels[0])("long", "why " * 500, labels[0].item_id, "r", "x", ())
    systems, _ = evaluate_pipeline([*labels[:3], long], system, scope="item", alone=False)
    pipeline = systems["pipeline"]
    assert pipeline.counts["failed"] == 1
    assert "room" in pipeline.rows[-1].error
    assert pipeline.rows[-1].output["outcome"] == "failed"
    assert all(row.error is None for row in pipeline.rows[:-1])


def test_examine_is_ask_with_its_reasons(system):
    [examined] = system.examine([Question("Is it bright?", "lamp-noctella-clamp")], top_k=2)
    asked = system.ask("Is it bright?", "lamp-noctella-clamp", top_k=2)
    assert examined.answers.answers == asked.answers
    assert len(examined.documents) == asked.reviews_read
    assert examined.reading.decision == asked.decision
