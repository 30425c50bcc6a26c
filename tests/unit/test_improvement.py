"""Versions, division and decision of `qa-eval improve`, without a training."""

import json
import multiprocessing
import random
import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from haystack import Document
from hypothesis import given
from hypothesis import strategies as st

from eval.adaptation.collecting import collect, digest_of, joined
from eval.adaptation.decision import ABSTAINING, ELSEWHERE, GUARD, HELD_OUT, Rule, decide
from eval.adaptation.division import Side, divide
from eval.adaptation.improve import Improvement, _attempt
from eval.adaptation.refitting import carry_over
from eval.adaptation.versions import MODEL, Version, Versions
from eval.runs.run import Row, System
from qa_system.config import Settings, changed
from qa_system.consensus.confidence import Confidence, confidence_of, keep_confidence
from qa_system.errors import ConfigError, DataError, ModelError
from qa_system.models.locate import locate, weights_sha256
from qa_system.readers.calibration import Calibration, Sigmoid, calibration_of, keep_calibration
from qa_system.records import AnswerSpan, Label
from qa_system.serving.product_page.feedback import FeedbackFile
from qa_system.stores.faiss import FAISSDocumentStore
from qa_system.training.recipes import Adaptation, load_training

# --- versions


def model_in(folder: Path, weights: str) -> Path:
    """What `locate` takes for a checkpoint."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_text(weights)
    return folder


def staged(versions: Versions, weights: str) -> Path:
    folder = versions.folder / ".staged"
    if not folder.exists():
        model_in(folder / MODEL, weights)
    return folder


def serving_weights(versions: Versions) -> str:
    return (locate(str(versions.link)).path / "model.safetensors").read_text()


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    found = Versions(tmp_path / "models")
    with found.locked():
        found.adopt(locate(str(model_in(tmp_path / "first", "one"))))
    return found


def test_versions_go_forward_and_back(versions: Versions) -> None:
    with versions.locked():
        versions.add(staged(versions, "two"), "promoted", {"labels": ["a"]})
        versions.add(staged(versions, "bad"), "refused", {"labels": ["b"]})
        versions.add(staged(versions, "four"), "promoted", {"labels": ["c"]})
    assert [(each.number, each.parent, each.decision) for each in versions.all()] == [
        (1, None, "adopted"),
        (2, 1, "promoted"),
        (3, 2, "refused"),
        (4, 2, "promoted"),
    ]
    assert serving_weights(versions) == "four"
    assert versions.link.readlink() == Path("4") / MODEL  # the folder may be moved
    with versions.locked():
        assert versions.roll_back("too slow").number == 2
    record = json.loads((versions.folder / "4" / "record.json").read_text())
    assert (record["rolled_back"]["to"], record["rolled_back"]["why"]) == (2, "too slow")
    assert record["rolled_back"]["by"]
    with versions.locked():
        versions.roll_back("also too slow")
    assert serving_weights(versions) == "one"
    with versions.locked(), pytest.raises(ConfigError, match="no version served before"):
        versions.roll_back("further")
    with versions.locked():
        versions.add(staged(versions, "five"), "promoted", {"labels": []})
    assert [versions.serving().number, versions.serving().parent] == [5, 1]


def link_by_hand(versions: Versions, target: str) -> None:
    versions.link.unlink()
    versions.link.symlink_to(target)


def meant(versions: Versions, **given: object) -> None:
    """What a command writes down before it does anything else, and was killed."""
    (versions.folder / "served.json").write_text(json.dumps({**given, "done": False}))


def record_of(versions: Versions, number: int) -> dict[str, Any]:
    return json.loads((versions.folder / str(number) / "record.json").read_text())


def test_what_a_kill_left_is_completed(versions: Versions) -> None:
    with versions.locked():
        versions.add(staged(versions, "two"), "promoted", {"labels": []})
    # Killed after the version was there, and before the link led to it.
    link_by_hand(versions, "1/model")
    meant(versions, number=2, instead_of=1)
    with versions.locked():
        assert serving_weights(versions) == "two"
    # Killed before the rollback was recorded.
    meant(versions, number=1, instead_of=2, rolled_back={"to": 1, "why": "why not"})
    with versions.locked():
        assert serving_weights(versions) == "one"
    assert record_of(versions, 2)["rolled_back"]["why"] == "why not"
    with versions.locked():  # what was rolled back does not come again
        assert serving_weights(versions) == "one"
    meant(versions, number=3, instead_of=1)  # killed before version 3 was there
    with versions.locked():
        assert serving_weights(versions) == "one"


def test_a_link_that_a_person_set_is_respected_and_recorded(
    versions: Versions, caplog: pytest.LogCaptureFixture
) -> None:
    with versions.locked():
        versions.add(staged(versions, "two"), "promoted", {"labels": []})
    link_by_hand(versions, "1/model")
    for _ in range(2):
        with versions.locked():
            assert serving_weights(versions) == "one"
    assert record_of(versions, 1)["linked_by_hand"]["instead_of"] == 2
    assert caplog.text.count("linked by hand to version 1") == 1
    link_by_hand(versions, str(versions.folder / "2" / MODEL))  # a whole path
    with versions.locked():
        assert versions.roll_back("after all").number == 1


def read_and_roll_back(versions: Versions) -> None:
    with versions.locked():
        versions.all()
        versions.roll_back("why not")


def test_what_is_damaged_is_an_error_and_never_moves_the_link(versions: Versions) -> None:
    with versions.locked():
        versions.add(staged(versions, "two"), "promoted", {"labels": []})
    folder, link = versions.folder, versions.link
    good = {n: (folder / n / "record.json").read_text() for n in ("1", "2")}

    def refused(message: str) -> None:
        before = link.readlink() if link.is_symlink() else None
        with pytest.raises(ModelError, match=message) as error:
            read_and_roll_back(versions)
        assert "ln -sfn NUMBER/model" in str(error.value)
        assert (link.readlink() if link.is_symlink() else None) == before
        for number, text in good.items():
            (folder / number / "record.json").write_text(text)

    (folder / "1" / MODEL).rename(folder / "away")
    refused("version 1 cannot serve: it has no reader")
    model_in(folder / "1" / MODEL, "other weights")
    refused("version 1 cannot serve: it has other weights")
    shutil.rmtree(folder / "1" / MODEL)
    (folder / "away").rename(folder / "1" / MODEL)
    for number, change, message in [
        ("2", {"parent": 99}, "the parent of version 2 is 99"),
        ("2", {"parent": 2}, "the parent of version 2 is 2"),
        ("2", {"rolled_back": 5}, "rolled_back: "),
        ("1", {"decision": "banana"}, "decision: "),
        ("1", {"labels": None}, "labels: "),
        ("1", {"items": {"learnt": None}}, "items.learnt: "),
        ("1", {"version": 7}, "it is the record of version 7"),
    ]:
        record = {**json.loads(good[number]), **change}
        (folder / number / "record.json").write_text(json.dumps(record))
        refused(message)
    for text in ("[]", '{"ver', "{}"):
        (folder / "1" / "record.json").write_text(text)
        refused("the record of a version cannot be read")
    (folder / "1").rename(folder / "away")
    good.pop("1")
    refused("1/record.json")
    link_by_hand(versions, "2")
    refused("which is no version")
    link.unlink()
    refused("no link to the one that serves")
    link.mkdir()
    refused("something else in the place of the link")
    (folder / "file").write_text("")
    with pytest.raises(ConfigError, match="File exists"), Versions(folder / "file").locked():
        pass


def test_two_commands_do_not_work_on_the_same_versions(versions: Versions) -> None:
    other = Versions(versions.folder)
    with versions.locked(), pytest.raises(ConfigError, match="another command"), other.locked():
        pass


def promote_and_roll_back(folder: Path) -> None:
    versions = Versions(folder)
    while True:
        with versions.locked():
            number = len(versions.all())
            versions.add(staged(versions, f"weights {number}"), "promoted", {"labels": []})
        if number % 3 == 0:
            with versions.locked():
                versions.roll_back("every third")


def test_whatever_is_killed_a_whole_version_serves(versions: Versions) -> None:
    draw = random.Random(13)
    fork = multiprocessing.get_context("fork")
    for _ in range(8):
        before = len(list(versions.folder.glob("[0-9]*")))
        process = fork.Process(target=promote_and_roll_back, args=(versions.folder,))
        process.start()
        while len(list(versions.folder.glob("[0-9]*"))) == before:
            assert process.is_alive()
        time.sleep(draw.uniform(0, 0.05))
        process.kill()
        process.join()
        number = int(versions.link.readlink().parts[0])
        record = json.loads((versions.folder / str(number) / "record.json").read_text())
        assert weights_sha256(locate(str(versions.link))) == record["sha256"]
        with versions.locked():
            assert versions.serving() is not None
    numbers = [each.number for each in versions.all()]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) > 8


# --- labels


def label(item: str, number: int, *answers: AnswerSpan, text: str | None = None) -> Label:
    context = text or f"Good {item} {number}."
    return Label(f"q{number}", "How is it?", item, f"r{item}{number}", context, answers)


@given(
    st.lists(st.lists(st.tuples(st.integers(-1, 12), st.integers(0, 20)), min_size=1), max_size=5),
    st.integers(),
)
def test_what_is_held_out_is_never_learnt_from(
    rounds: list[list[tuple[int, int]]], seed: int
) -> None:
    """Labels of items (-1: without one) and texts come in rounds; old ones are not named again."""
    learnt, held_out = Side(), Side()
    for number, pairs in enumerate(rounds):
        # The same words in other letters are the same text.
        shout = str.upper if number % 2 else str.lower
        labels = [
            replace(label(f"B{item}", text, text=shout(f"Text {text}.")), item_id=None)
            if item < 0
            else label(f"B{item}", text, text=shout(f"Text {text}."))
            for item, text in pairs
        ]
        now = divide(labels, 0.4, seed + number, learnt=learnt, held_out=held_out)
        learnt, held_out = learnt | Side.of(now.learnt), held_out | Side.of(now.held_out)
        assert not learnt.items & held_out.items
        assert not learnt.texts & held_out.texts
        again = divide(labels, 0.4, seed, learnt=learnt, held_out=held_out)
        assert all(each in again.held_out for each in now.held_out)
        assert all(each in again.learnt for each in now.learnt)


def about(labels: Sequence[Label]) -> set[str]:
    return {each.context for each in labels}


def test_held_out_texts_come_again_under_other_items_and_are_not_learnt() -> None:
    """Old labels are not named; questions to replay count as what is learnt and tested, too."""
    how = Improvement(load_training(Adaptation, Path("improve")))
    first = _attempt([label(f"B{n}", n) for n in range(20)], [], how)
    sides = first.sides.items()
    record = {
        "items": {role: sorted(side.items) for role, side in sides},
        "texts": {role: sorted(side.texts) for role, side in sides},
    }
    tested, learnt = about(first.labels.held_out), about(first.labels.learnt)
    assert (len(tested), len(learnt)) == (8, 12)
    again = [label(f"Z{n}", n, text=text) for n, text in enumerate(sorted(tested | learnt))]
    no_item = [replace(each, item_id=None) for each in again]
    guarded = [replace(each, question="Is it?") for each in first.replay.held_out[:1]]
    for same in (again, no_item):
        new = [label(f"C{n}", n) for n in range(40)] + same + guarded
        second = _attempt(new, [Version(2, record)], how)
        assert not about(second.labels.learnt) & tested
        assert not about(second.labels.held_out) & learnt
        assert not about(second.labels.learnt) & about(guarded)
        assert about(second.labels.learnt) & learnt


def test_labels_are_told_apart_by_what_they_say() -> None:
    one = label("B", 1, AnswerSpan("Good", 0, 4))
    assert digest_of(one) == digest_of(replace(one, question_id="x", review_id="y", split="dev"))
    others = [
        replace(one, answers=()),
        replace(one, item_id="C"),
        replace(one, question="Is it?"),
        replace(one, context="Good one."),
    ]
    assert len({digest_of(each) for each in (one, *others)}) == 5
    # Two annotators of one question and review; ids that contradict each other do not matter.
    [both] = joined([one, replace(one, answers=(), question_id="x", review_id="y")])
    assert both.annotations == ((AnswerSpan("Good", 0, 4),), ())


def test_corrections_of_shoppers_are_labels(tmp_path: Path) -> None:
    settings = changed(Settings(), {"store.path": str(tmp_path / "store")})
    text = "The zip is stuck."
    with closing(FAISSDocumentStore(tmp_path / "store")) as store:
        store.write_documents([Document(id="r1", content=text, meta={"item_id": "coat"})])
    kept = FeedbackFile(tmp_path / "feedback.sqlite3")
    said = {"item_id": "coat", "question": "How is the zip?", "verdict": "down"}

    def correct(request: str, review: str, start: int, end: int) -> None:
        span = {"review_id": review, "start": start, "end": end}
        kept.append({**said, "request_id": request, "correction": span})

    kept.append({**said, "request_id": "a", "verdict": "up"})
    correct("b", "r1", 0, 3)
    correct("b", "r1", 11, 16)  # the last one counts
    correct("c", "r1", 11, 99)  # the review is shorter now
    correct("d", "gone", 0, 3)
    [found] = collect((), tmp_path / "feedback.sqlite3", settings)
    assert (found.item_id, found.question, found.context) == ("coat", "How is the zip?", text)
    assert found.answers == (AnswerSpan("stuck", 11, 16),)
    printed = tmp_path / "feedback.jsonl"  # as `qa feedback` prints it
    printed.write_text("\n".join(map(json.dumps, kept.entries())))
    assert collect((), printed, settings) == (found,)
    # A batch has one id for several questions; who adds a reason keeps the correction.
    kept.append({**said, "request_id": "b", "question": "Is it stuck?", "correction": None})
    correct("b", "r1", 11, 16)
    kept.append({**said, "request_id": "b", "reason": "wrong words", "correction": None})
    assert collect((), tmp_path / "feedback.sqlite3", settings) == (found,)
    kept.append(
        {
            **said,
            "request_id": "b",
            "question": "Is it stuck?",
            "correction": {"review_id": "r1", "start": 11, "end": 16},
        }
    )
    both = collect((), tmp_path / "feedback.sqlite3", settings)
    assert [each.question for each in both] == ["How is the zip?", "Is it stuck?"]


def test_what_is_no_correction_is_set_aside_with_its_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = changed(Settings(), {"store.path": str(tmp_path / "store")})
    with closing(FAISSDocumentStore(tmp_path / "store")) as store:
        reviews = [("r1", "coat"), ("r2", "boot")]
        store.write_documents(
            [
                Document(id=name, content="The zip is stuck.", meta={"item_id": item})
                for name, item in reviews
            ]
        )
    span = {"review_id": "r1", "start": 4, "end": 7}
    said = {"item_id": "coat", "question": "How is the zip?", "correction": span}
    wrong = [
        ({"correction": {"review_id": "r1"}}, "correction.start: is missing"),
        ({"correction": "zip"}, "correction: "),
        ({"correction": {**span, "start": "4"}}, "correction.start: must be a whole"),
        ({"correction": {**span, "start": -5}}, "correction.start: must be 0 or more"),
        ({"question": 5}, "question: must be a text"),
        ({"question": " \u200b"}, "question: the text is blank"),
        ({"request_id": None}, "request_id: "),
        ({"correction": {**span, "start": 3, "end": 4}}, "the words are blank"),
        ({"correction": {**span, "review_id": "r2"}}, "the review is about another item"),
        ({"correction": {**span, "review_id": "r3"}}, "the review is not in the store"),
        ({"correction": {**span, "end": 99}}, "the review is shorter now"),
    ]
    lines = [{**said, "request_id": f"a{n}", **change} for n, (change, _) in enumerate(wrong)]
    path = tmp_path / "feedback.jsonl"
    written = "\n".join(map(json.dumps, [*lines, {**said, "request_id": "good"}]))
    path.write_text(f"{written}\n[1]\n{{")
    [found] = collect((), path, settings)
    assert found.answers == (AnswerSpan("zip", 4, 7),)
    for line, (_, why) in enumerate(wrong, start=1):
        assert f"1 correction set aside, line {line}: {why}" in caplog.text
    assert "line 13: the entry: must be keys with values" in caplog.text
    assert "line 14: the line is not JSON" in caplog.text
    path.write_text('{"question": "?"}\n')
    with pytest.raises(DataError, match="nothing in the file is feedback: request_id"):
        collect((), path, settings)


# --- the decision


def answered(scores: list[float], *, of_each: int = 1, has_ans: float | None = None) -> System:
    """A system with these F1 on questions about as many items, so many about each."""
    return System(
        tuple(
            Row(
                question_id=f"q{item}-{number}",
                split=None,
                question="?",
                item_id=f"B{item}",
                review_id="r",
                references=("x",),
                cluster=f"B{item}",
                scores={"f1": f1, "has_ans_f1": f1 if has_ans is None else has_ans},
            )
            for item, f1 in enumerate(scores)
            for number in range(of_each)
        )
    )


SAME = {"new": answered([0.5] * 8), "serving": answered([0.5] * 8)}


@pytest.mark.parametrize(
    ("new", "p", "promoted"),
    [
        ([1.0, 1.0, 1.0, 1.0, 1.0], 1 / 32, True),
        ([1.0, 1.0, 1.0, 1.0], 1 / 16, False),  # four items cannot show it
        ([1.0, 1.0, 1.0, 1.0, 0.0], 6 / 32, False),
        ([0.0, 0.0, 0.0, 0.0, 0.0], 31 / 32, False),
        ([0.5, 0.5, 0.5, 0.5, 0.5], 1 / 2, False),
    ],
)
def test_only_a_reader_that_is_better_with_confidence_is_promoted(
    new: list[float], p: float, promoted: bool
) -> None:
    systems = {"new": answered(new, of_each=3), "serving": answered([0.5] * len(new), of_each=3)}
    verdict = decide({HELD_OUT: systems, GUARD: SAME}, Rule())
    assert verdict.promoted == promoted
    assert verdict.numbers[HELD_OUT][0]["p"] == pytest.approx(p)
    assert f"p = {p:.3g}" in verdict.reasons[0]


def test_a_reader_that_is_worse_elsewhere_is_refused() -> None:
    better = {"new": answered([0.9] * 6), "serving": answered([0.5] * 6)}
    for lost, promoted in ((0.02, True), (0.04, False)):
        guard = {"new": answered([0.5 - lost] * 8), "serving": answered([0.5] * 8)}
        verdict = decide({HELD_OUT: better, GUARD: guard}, Rule(margin=0.03))
        assert verdict.promoted == promoted
        assert any(each.startswith("worse") for each in verdict.reasons) != promoted
    abstains = {"new": answered([0.9] * 6, has_ans=0.1), "serving": answered([0.5] * 6)}
    verdict = decide({HELD_OUT: abstains, GUARD: SAME}, Rule())
    assert not verdict.promoted
    assert "with an answer 0.100 against 0.500" in verdict.reasons[1]


@pytest.mark.parametrize("control", [ABSTAINING, ELSEWHERE])
def test_a_reader_that_did_not_learn_to_answer_is_refused(control: str) -> None:
    better = {"new": answered([0.9] * 6), "serving": answered([0.5] * 6)}
    for f1, promoted in ((0.4, True), (0.9, False)):
        verdict = decide({HELD_OUT: {**better, control: answered([f1] * 6)}, GUARD: SAME}, Rule())
        assert verdict.promoted == promoted
        assert verdict.reasons[1].startswith("better" if promoted else "not better")


# --- what was fitted to a reader


def test_a_new_reader_is_as_cautious_with_sentences_as_the_one_before(tmp_path: Path) -> None:
    old, new = (locate(str(model_in(tmp_path / name, name))) for name in ("old", "new"))
    keep_calibration(Calibration(threshold=-0.5, fitted_on="reviews"), old)
    keep_calibration(Calibration(threshold=1.0, fitted_on="sentences"), old, of_sentences=True)
    carry_over(old, new)  # training had nothing to calibrate with
    assert calibration_of(new).threshold == -0.5
    keep_calibration(Calibration(2.0, Sigmoid(1.0, 3.0), fitted_on="labels"), new)
    carry_over(old, new)
    fitted = calibration_of(new, of_sentences=True)
    assert (fitted.threshold, fitted.right) == (3.5, Sigmoid(2.5, 3.0))
    assert calibration_of(new).threshold == 2.0


def test_a_fit_of_another_reader_is_not_used_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = changed(Settings(), {"answers.confidence": str(tmp_path / "confidence.json")})
    keep_confidence(Confidence(0.3, Sigmoid()), settings, reads_sentences=True)
    assert confidence_of(settings, reads_sentences=True) is not None
    assert not caplog.records
    model = model_in(tmp_path / "other", "other")
    other = changed(settings, {"reader.model": str(model)})
    assert confidence_of(other, reads_sentences=True) is None
    assert "nothing in it was fitted to the reader" in caplog.text
