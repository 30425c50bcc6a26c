"""What a judge's logits mean, pairs that it learns from, and its loss, by hand."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.datasets.pairs import Pair, read_pairs
from qa_system.errors import DataError, ModelError
from qa_system.judging.judgements import HEADS, LOGITS, Calibration, Judgements, calibration_of
from qa_system.models.locate import ModelLocation
from qa_system.records import AnswerSpan, Label
from qa_system.training.judge.evaluate import calibrate, measure
from qa_system.training.judge.recipe import JudgeNegatives
from qa_system.training.judge.rows import all_pairs_of, pairs_of

REVIEW = "It is red. The bass is loud. I like loud bass a lot. We flew to Rome."


def label(question: str = "Is the bass loud?", *, answered: bool = True) -> Label:
    spans = (AnswerSpan("loud", 23, 27),) if answered else ()
    return Label(question, question, "B0", "r1", REVIEW, spans, meta={"answer_subj_level": [1, 4]})


def test_logits_become_probabilities_head_by_head() -> None:
    logits = np.zeros((1, len(LOGITS)), np.float32)
    logits[0, LOGITS.index("answers")] = math.log(3)
    logits[0, LOGITS.index("stance.no")] = math.log(2)
    logits[0, LOGITS.index("polarity.mixed")] = math.log(5)
    logits[0, LOGITS.index("subjective")] = -math.log(4)
    judged = Judgements.of_logits(logits)
    assert judged.answers.tolist() == pytest.approx([0.75])
    assert judged.stance[0].tolist() == pytest.approx([0.25, 0.5, 0.25])
    assert judged.polarity[0].tolist() == pytest.approx([0.125, 0.125, 0.125, 0.625])
    assert judged.subjective.tolist() == pytest.approx([0.2])


def test_a_shift_and_temperatures_change_what_logits_mean() -> None:
    logits = np.zeros((1, len(LOGITS)), np.float32)
    logits[0, 0], logits[0, LOGITS.index("stance.yes")] = 2.0, 2 * math.log(2)
    judged = Judgements.of_logits(logits, Calibration(0.5, {"answers": 3.0, "stance": 2.0}, 2.0))
    assert judged.answers.tolist() == pytest.approx([0.5])
    assert judged.stance[0].tolist() == pytest.approx([0.5, 0.25, 0.25])


@given(st.lists(st.floats(-900, 900), min_size=9, max_size=9))
def test_probabilities_add_up_however_large_the_logits(row: list[float]) -> None:
    judged = Judgements.of_logits(np.array([row], np.float32))
    for name, classes in HEADS.items():
        found = getattr(judged, name)
        assert (found >= 0).all()
        if len(classes) > 1:
            assert found.sum() == pytest.approx(1.0, abs=1e-5)
        else:
            assert found[0] <= 1


@pytest.mark.parametrize(
    "entry",
    [
        {"threshold": "high"},
        {"threshold": "0.5"},
        {"threshold": 1.5},
        {"threshold": -0.1},
        {"shift": "nan"},
        {"shift": None},
        {"temperatures": {"answers": -1.0}},
        {"temperatures": {"answers": 0}},
        {"temperatures": {"loudness": 1.0}},
        {"temperature": 1.0},
        [1.0],
    ],
)
def test_a_damaged_calibration_is_refused(entry: object, tmp_path: Path) -> None:
    (tmp_path / "training.json").write_text(json.dumps({"calibration": entry}))
    with pytest.raises(ModelError, match="calibration is damaged"):
        calibration_of(ModelLocation("judge", tmp_path, "torch"))


def test_a_calibration_is_read_as_it_was_written() -> None:
    fitted = Calibration(0.4, {"answers": 1.5}, -0.5, "12 pairs")
    assert Calibration.from_manifest({"calibration": fitted.to_dict()}, "here") == fitted


def test_the_loss_of_a_row_is_that_of_its_own_labels() -> None:
    torch = pytest.importorskip("torch")
    from qa_system.training.judge.loss import judge_loss, targets_of

    pairs = [
        Pair("q", "a", {"answers": (1.0,), "polarity": (0.5, 0.5, 0.0, 0.0)}),
        Pair("q", "b", {"subjective": (0.25,)}),
        Pair("q", "c", {}),
    ]
    logits = torch.zeros(3, len(LOGITS))
    logits[0, 0] = math.log(4)  # probability 4/5
    logits[0, LOGITS.index("polarity.for")] = math.log(2)  # 2/5, 1/5, 1/5, 1/5
    logits[1, 8] = math.log(3)  # probability 3/4
    logits[2] = 100.0  # nobody says what this one should be
    targets = torch.from_numpy(np.stack([targets_of(pair) for pair in pairs]))
    first = -math.log(4 / 5) - 2.0 * (0.5 * math.log(2 / 5) + 0.5 * math.log(1 / 5))
    second = 0.5 * (-0.25 * math.log(3 / 4) - 0.75 * math.log(1 / 4))
    weights = {"polarity": 2.0, "subjective": 0.5}
    loss = judge_loss(logits, targets, weights)
    assert float(loss) == pytest.approx((first + second) / 3, abs=1e-6)


def test_a_head_without_labels_learns_nothing() -> None:
    torch = pytest.importorskip("torch")
    from qa_system.training.judge.loss import judge_loss, targets_of

    logits = torch.randn(2, len(LOGITS), requires_grad=True)
    pairs = [Pair("q", "a", {"stance": (0.0, 1.0, 0.0)}), Pair("q", "b", {"answers": (0.0,)})]
    judge_loss(
        logits, torch.from_numpy(np.stack([targets_of(pair) for pair in pairs])), {}
    ).backward()
    moved = (logits.grad != 0).tolist()
    assert moved[0] == [False, True, True, True] + 5 * [False]
    assert moved[1] == [True] + 8 * [False]


def test_a_sentence_with_a_part_of_an_answer_answers() -> None:
    pairs = all_pairs_of(label())
    assert [pair.labels.get("answers") for pair in pairs] == [(0.0,), (1.0,), (0.0,), (0.0,)]
    assert pairs[1].labels["subjective"] == pytest.approx((0.625,))  # of levels 1 and 4
    assert all("subjective" not in pair.labels for pair in pairs if pair is not pairs[1])


def test_negatives_are_near_and_far_sentences_and_exchanged_questions() -> None:
    other = Label("q2", "Is the strap soft?", "B1", "r2", "Very soft strap.", ())
    negatives = JudgeNegatives(same_text=2, other_text=1, exchanged=1.0)
    found, counts = pairs_of([label(), other], negatives, seed=3)
    assert counts["answering"] == 1
    assert ("Is the bass loud?", "I like loud bass a lot.") in {
        (pair.question, pair.text) for pair in found if pair.labels["answers"] == (0.0,)
    }
    exchanged = [
        pair
        for pair in found
        if pair.question not in ("Is the bass loud?", "q2") and pair.text == "The bass is loud."
    ]
    assert counts["exchanged"] == 1
    assert [pair.labels["answers"] for pair in exchanged] == [(0.0,)]
    assert found == pairs_of([label(), other], negatives, seed=3)[0]


def test_an_unanswered_question_has_negatives_alone() -> None:
    found, counts = pairs_of([label(answered=False)], JudgeNegatives(), seed=3)
    assert counts["answering"] == 0
    assert len(found) == counts["same_text"] == 3


def line(**fields: object) -> str:
    return json.dumps({"question": "Is it loud?", "text": "Very.", **fields})


def test_pairs_have_whatever_labels_are_there(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    shares = {"for": 3, "neither": 1}
    path.write_text(
        "\n".join([line(answers=0.5), "", line(polarity=shares, stance=None, item_id=7)])
    )
    first, second = read_pairs(path)
    assert first.labels == {"answers": (0.5,)}
    assert second.labels == {"polarity": (0.75, 0.0, 0.25, 0.0)}
    assert second.item_id == "7"


def test_a_pair_may_name_a_stretch_of_a_review(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    given = {"question": "Is it loud?", "review_id": "r1", "start": 11, "end": 28, "answers": 1}
    path.write_text(json.dumps(given))
    assert read_pairs(path, {"r1": REVIEW})[0].text == "The bass is loud."
    with pytest.raises(DataError, match="no review 'r1'"):
        read_pairs(path)
    path.write_text(json.dumps(given | {"sha256": "00ff"}))
    with pytest.raises(DataError, match="reads otherwise"):
        read_pairs(path, {"r1": REVIEW})


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("[]", "not an object"),
        ("{", "pairs.jsonl:2"),
        ('{"question": "Is it loud?"}', "review_id is missing"),
        (line(text=" "), "not a text"),
        (line(answers=2), "not a number from 0 to 1"),
        (line(stance="maybe"), "none of yes, no, mixed"),
        (line(polarity={"for": -1, "against": 2}), "shares of polarity"),
        (line(polarity={"for": "much"}), "pairs.jsonl:2"),
        (line(polarity=["for"]), "pairs.jsonl:2"),
    ],
)
def test_a_wrong_line_is_named(given: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"{line(answers=1)}\n{given}\n")
    with pytest.raises(DataError) as caught:
        read_pairs(path)
    assert says in str(caught.value)
    assert "pairs.jsonl:2" in str(caught.value)


def test_scores_are_those_of_the_labels_there_are() -> None:
    pairs = [
        Pair("q", "a", {"answers": (0.0,), "polarity": (1.0, 0.0, 0.0, 0.0)}),
        Pair("q", "b", {"answers": (1.0,), "polarity": (0.0, 1.0, 0.0, 0.0)}),
        Pair("other", "c", {"answers": (1.0,)}),
    ]
    logits = np.zeros((3, len(LOGITS)), np.float32)
    logits[:2, 0] = [2.0, 1.0]
    logits[:2, LOGITS.index("polarity.for")] = 1.0
    scores = measure(pairs, Judgements.of_logits(logits))
    # The answer is the second of two texts; of the two polarities one is right.
    assert scores == pytest.approx({"map": 0.5, "polarity": 1 / 3, "f1": (0.5 + 1 / 3) / 2})


def test_a_calibration_undoes_a_shift() -> None:
    draw = np.random.default_rng(5)
    right = draw.random(400) < 0.4
    logits = np.zeros((400, len(LOGITS)), np.float32)
    logits[:, 0] = 1.5 + 2 * (np.where(right, 1.0, -1.0) + draw.normal(size=400))
    pairs = [Pair("q", str(place), {"answers": (float(each),)}) for place, each in enumerate(right)]
    fitted = calibrate(pairs, logits, "made up")
    answers = Judgements.of_logits(logits, fitted).answers
    assert float(answers.mean()) == pytest.approx(right.mean(), abs=0.03)
    assert 0.2 < fitted.threshold < 0.6


def test_polarity_is_calibrated_on_texts_that_answer() -> None:
    said = {"answers": (1.0,), "polarity": (0.75, 0.0, 0.25, 0.0)}
    pairs = [Pair("q", "yes", said)] * 40
    pairs += [Pair("q", "no", {"answers": (0.0,), "polarity": (0.0, 0.0, 1.0, 0.0)})] * 400
    logits = np.full((440, len(LOGITS)), -50.0, np.float32)
    logits[:, LOGITS.index("polarity.for")] = 0.0
    logits[:, LOGITS.index("polarity.neither")] = 0.0
    fitted = calibrate(pairs, logits, "made up")
    judged = Judgements.of_logits(logits[:1], fitted)
    assert judged.polarity[0].tolist() == pytest.approx([0.75, 0.0, 0.25, 0.0], abs=0.02)
    entry = Calibration.from_manifest({"calibration": fitted.to_dict()}, "here")
    assert entry.neither == fitted.neither > 0


def test_labelled_pairs_name_stretches_of_the_data_sets_and_none_that_is_measured(
    qa_data: Path,
) -> None:
    from qa_system.datasets.dataset import read_dataset

    folder = Path(__file__).parents[2] / "data" / "judging"
    sources = (qa_data / "subjqa", qa_data / "squadshifts" / "amazon_reviews.json")
    labels = [label for path in sources for label in read_dataset(path).labels]
    reviews = {label.review_id: label.context for label in labels}
    measured = {
        json.loads(line)["item_id"]
        for path in (folder / "polarity.jsonl", folder.parent / "gold" / "subjqa.jsonl")
        for line in path.read_text().splitlines()
    }
    for path in sorted(folder.glob("*pairs.jsonl")):
        pairs = read_pairs(path, reviews)  # it compares the digests
        assert not measured & {pair.item_id for pair in pairs}, path.name
