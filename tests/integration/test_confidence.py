"""Confidences fitted with a whole pipeline: found by what made it, on one scale, promises kept."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from eval.cli import app
from indexing.job import run_job
from qa_system import QASystem, doctor
from qa_system.config import Settings, changed, load_settings
from qa_system.consensus.confidence import (
    Confidence,
    confidence_of,
    keep_confidence,
    kept_in,
    key_of,
)
from qa_system.consensus.weighing import Counting, Leaning, Weighing
from qa_system.errors import ConfigError, ModelError
from qa_system.readers.calibration import Sigmoid

ITEM = "ereader-lumen-6"
COMPOUND = "How much does it weigh and how long does the battery last?"
QUESTIONS = ("How much does it weigh?", "Does it come with a bicycle?")
OUTCOMES = (*[(0.9, True)] * 60, *[(0.9, False)] * 2, *[(0.1, False)] * 62)
FITTED = Confidence(0.3, Sigmoid(center=1.0, temperature=2.0), OUTCOMES, "some questions")


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Settings:
    folder = tmp_path_factory.mktemp("confidence")
    over = {
        "store.path": str(folder / "store"),
        "indexing.sources": [str(sample)],
        "answers.confidence": str(folder / "confidence.json"),
    }
    settings = load_settings(None, over, environ={})
    run_job(settings)
    keep_confidence(FITTED, settings, reads_sentences=True)
    return settings


def probability(confidence: float) -> float:
    return FITTED.probability(confidence)


def test_score_and_threshold_are_probabilities_on_one_scale(settings):
    with QASystem.open(settings) as system:
        told = [system.ask(each, ITEM, top_k=100) for each in QUESTIONS]
    with QASystem.open(changed(settings, {"answers.confidence": os.devnull})) as without:
        raw = [without.ask(each, ITEM, top_k=100) for each in QUESTIONS]
    for answers in told:
        assert answers.threshold == pytest.approx(probability(0.3))
        # Nothing that is shown contradicts the decision.
        assert answers.abstained == (answers.score < answers.threshold)
        assert answers.abstained == (not answers.answers) == (answers.mentions == 0)
        assert answers.abstained == (not answers.points)
        for each in answers.answers:
            assert answers.threshold <= each.confidence <= answers.score
    assert any(answers.answers for answers in told)
    # The reader's confidence in its best span is the same; it has another probability.
    for answers, bare in zip(told, raw, strict=True):
        assert answers.score == pytest.approx(probability(bare.score))


def test_all_signals_decide_where_they_were_fitted(settings, tmp_path):
    counting = Counting(
        Weighing(judge=0.6, reader=0.4, marked=0.5, sentence=1.0, bias=-1.0, threshold=0.4),
        Leaning(),
        not_said=0.3,
    )
    fitted = replace(FITTED, counting=counting)
    place = tmp_path / "confidence.json"
    own = changed(settings, {"answers.confidence": str(place)})
    keep_confidence(fitted, own, reads_sentences=True)
    with QASystem.open(own) as system:
        told = [system.ask(each, ITEM, top_k=100) for each in (*QUESTIONS, COMPOUND)]
    for answers, least in zip(told, (0.3, 0.3, 0.4), strict=True):
        assert answers.threshold == pytest.approx(probability(least))
        assert answers.abstained == (answers.score < answers.threshold) == (not answers.answers)
        for each in answers.answers:
            # The surest may be less probable than a mention has to be by itself.
            assert each.confidence >= min(answers.score, probability(0.4)) - 1e-9
        if answers.answers:
            surest = max(each.confidence for each in answers.answers)
            assert surest == pytest.approx(answers.score)
    assert {answers.abstained for answers in told[:2]} == {True, False}
    assert told[2].parts


def test_a_score_is_told_where_nothing_is_answered(settings):
    strict = changed(settings, {"answers.max_error": 0.1})
    with QASystem.open(strict) as system:
        told = [system.ask(each, ITEM) for each in QUESTIONS]
    assert all(each.threshold == pytest.approx(probability(0.9)) for each in told)
    for each in told:
        assert each.score is not None
        assert each.abstained == (each.score < each.threshold) == (not each.points)


def test_a_promise_that_cannot_be_kept_is_refused(settings):
    with pytest.raises(ConfigError, match=r"the lowest error that one keeps is 0\.1"):
        QASystem(changed(settings, {"answers.max_error": 0.01}))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("reader.budget", 256),
        ("retriever.mode", "dense"),
        ("reader.evidence", "reviews"),
        ("judge.sentences", 0),
        ("reader.no_answer_threshold", 0.0),
    ],
)
def test_another_pipeline_has_its_own_confidences(settings, key, value):
    other = changed(settings, {key: value})
    sentences = key != "reader.evidence"
    assert confidence_of(other, reads_sentences=sentences) is None
    [finding] = [each for each in doctor.examine(other) if each.name == "confidence of answers"]
    assert not finding.ok
    assert not finding.required
    assert "not fitted" in finding.detail
    with pytest.raises(ConfigError, match="no error is known"):
        confidence_of(changed(other, {"answers.max_error": 0.1}), reads_sentences=sentences)


def test_doctor_says_what_was_fitted(settings):
    [finding] = [each for each in doctor.examine(settings) if each.name == "confidence of answers"]
    assert finding.ok
    assert "some questions" in finding.detail


def test_a_file_keeps_several_pipelines(settings, tmp_path):
    place = tmp_path / "confidence.json"
    own = changed(settings, {"answers.confidence": str(place)})
    other = changed(own, {"reader.budget": 256})
    keep_confidence(FITTED, own, reads_sentences=True)
    keep_confidence(replace(FITTED, threshold=0.7), other, reads_sentences=True)
    keep_confidence(replace(FITTED, threshold=0.4), own, reads_sentences=True)
    kept = kept_in(place)
    assert len(kept) == 2
    assert kept[key_of(own, reads_sentences=True)].threshold == 0.4
    assert kept[key_of(other, reads_sentences=True)] == replace(FITTED, threshold=0.7)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"threshold": "nan"}, "threshold is 'nan'"),
        ({"threshold": -1}, "threshold is -1"),
        ({"threshold": 5}, "threshold is 5"),
        ({"threshold": True}, "threshold is True"),
        ({"right": {"center": 1.0, "temperature": 0}}, "temperature is 0"),
        ({"right": {"center": 1.0, "temperature": -1.9}}, "temperature is -1.9"),
        ({"right": {"center": "inf", "temperature": 1.0}}, "center is 'inf'"),
        ({"right": {"center": 1.0}}, "'temperature' is missing"),
        ({"outcomes": [[5, 1]] * 200}, "outcomes is 5"),
        ({"outcomes": [[0.5, "yes"]]}, "outcomes is 'yes'"),
        ({"outcomes": [0.5]}, ""),
        ({"format": 9}, "format is 9"),
        ("missing", "No such file"),
        ("a folder", "Is a directory"),
        ("cut", ""),
        ("\0", "null"),
    ],
    ids=str,
)
def test_a_file_is_believed_only_if_it_is_sound(settings, tmp_path, change, told):
    place = tmp_path / ("\0" if change == "\0" else "confidence.json")
    whole = json.loads(Path(settings.answers.confidence).read_bytes())
    if change == "a folder":
        place.mkdir()
    elif change == "cut":
        place.write_text(json.dumps(whole)[:-40])
    elif isinstance(change, dict):
        for each in (whole, whole["fitted"][0]["confidence"]):
            each |= {key: value for key, value in change.items() if key in each}
        place.write_text(json.dumps(whole))
    own = changed(settings, {"answers.confidence": str(place)})
    with pytest.raises(ModelError, match="the fitted confidences cannot be read") as found:
        QASystem(own)
    assert told in found.value.what
    assert found.value.where == str(place)
    [finding] = [each for each in doctor.examine(own) if each.name == "confidence of answers"]
    assert (finding.ok, finding.required) == (False, True)
    assert told in finding.detail


def test_doctor_looks_for_the_judge(settings):
    def named(over):
        return {each.name: each for each in doctor.examine(changed(settings, over))}

    missing = named({"judge.model": "bundled:nope"})
    assert (missing["judge"].ok, missing["judge"].required) == (False, True)
    assert "confidence of answers" not in missing  # what it hangs on is missing
    assert not named({"judge.model": "bundled:nope", "judge.sentences": 0})["judge"].required
    assert "bundled:judge (onnx" in named({})["judge"].detail


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.stdout


KEY_POINTS = {
    "question_id": "1",
    "item_id": "case",
    "question": "Does it scratch?",
    "comments": [
        {"comment_id": "c1", "text": "It does not scratch easily."},
        {"comment_id": "c2", "text": "No scratches after a month."},
        {"comment_id": "c3", "text": "It scratches if you look at it."},
        {"comment_id": "c4", "text": "Arrived on time."},
    ],
    "key_points": [
        {"key_point": "does not scratch", "comment_ids": ["c1", "c2"]},
        {"key_point": "scratches", "comment_ids": ["c3"]},
    ],
}


def test_the_command_for_key_points(tmp_path):
    path = tmp_path / "kp.jsonl"
    path.write_text(json.dumps(KEY_POINTS))
    told = json.loads(run("consensus", "--dataset", path, "--resamples", 100, "--json"))
    metrics = told["systems"]["consensus"]["metrics"]
    assert metrics["mention_map"] == 1.0
    assert metrics["mention_p@10"] == pytest.approx(0.3)
    assert 0 <= metrics["point_f1"] <= 1
    assert 0 <= metrics["count_error"] <= 1
    assert metrics["verdict_accuracy"] is metrics["verdict_coverage"] is None
    assert told["systems"]["consensus"]["measures"]["count_error_median"] is not None
    assert set(told["references"]) == {
        "bm25",
        "sentences",
        "random",
        "each mention a point",
        "one point",
    }


def test_marks_pairs_and_a_fit(tmp_path, root):
    gold = root / "data" / "gold"
    few = [
        line
        for line in (gold / "sample.jsonl").read_text().splitlines()
        if json.loads(line)["item_id"] in (ITEM, "tent-fjellvik-2", "kettle-brimwell-17")
    ]
    path, place = tmp_path / "few.jsonl", tmp_path / "confidence.json"
    path.write_text("\n".join(few))
    pairs = gold / "leading_pairs.jsonl"
    told = json.loads(
        run("consensus", "--dataset", path, "--pairs", pairs, "--resamples", 100, "--json")
    )
    system = told["systems"]["consensus"]
    assert 0 <= system["metrics"]["verdict_coverage"] <= 1
    assert system["counts"]["pairs"] == 7
    assert len(system["details"]["pairs"]) == 7
    assert 0 <= system["measures"]["both_confirmed"] <= system["measures"]["pairs_decided"] <= 1
    arguments = ("calibrate", "--pipeline", "--dataset", path, "--write")
    fitted = json.loads(run(*arguments, "--set", f"answers.confidence={place}", "--json"))
    [kept] = kept_in(place).values()
    assert fitted["confidence"]["threshold"] == kept.threshold
    assert len(kept.outcomes) == fitted["out_of_fold"]["questions"] == len(few)
    assert fitted["confidence"]["counting"] == kept.counting.to_dict()
    assert kept.counting.mentions.threshold > 0
    [measured] = fitted["out_of_fold"]["counting"]["data"]
    assert 0 < measured["recall"] <= 1
    refused = CliRunner().invoke(app, [*map(str, arguments)])
    assert isinstance(refused.exception, ConfigError)
