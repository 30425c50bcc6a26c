"""`qa questions` on a few reviews: what is kept and why, a run that is stopped, what is refused."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from qa_system.aspects.words import words
from qa_system.cli import app
from qa_system.datasets.dataset import read_dataset
from qa_system.errors import ConfigError
from qa_system.models.locate import locate, weights_hash
from qa_system.training.questions.candidates import Candidate
from qa_system.training.questions.writers import RulesWriter

pytestmark = pytest.mark.slow

BOTTLE = [
    "The lid leaks all over my bag. The handle is comfortable.",
    "I love the colour. The lid closes tightly. The handle broke off in a week.",
    "The handle is sturdy and the lid never leaks.",
    "Keeps tea hot for hours. The lid is hard to clean.",
    "My son uses it at school every day.",
]
LAMP = [
    "The switch is hard to find in the dark. The light is warm.",
    "The light flickers after a week. The switch feels cheap.",
    "The cable is far too short. The light is bright enough for reading.",
    "Nice and small, and the cable is long enough for my desk.",
]


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("questions") / "reviews.jsonl"
    rows = [
        {"review_id": f"{item}-{at}", "item_id": item, "text": text}
        for item, texts in (("bottle", BOTTLE), ("lamp", LAMP))
        for at, text in enumerate(texts)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in [*rows, {"item_id": "lamp"}]))
    return path


def run(reviews: Path, out: Path, *options: str, code: int = 0) -> Any:
    done = CliRunner().invoke(
        app, ["questions", str(reviews), "--out", str(out), "--json", *options]
    )
    if code:
        assert done.exception is not None
        return done
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def made(reviews: Path) -> tuple[Path, dict[str, Any]]:
    out = reviews.with_name("made.jsonl")
    return out, run(reviews, out)


def test_every_clause_is_kept_or_counted_with_its_reason(
    made: tuple[Path, dict[str, Any]],
) -> None:
    out, report = made
    counts = report["counts"]
    reasons = ("no_question", "duplicate", "too_long", "not_answered", "elsewhere", "kept")
    assert sum(counts[name] for name in reasons) == counts["asked"] == counts["clauses"]
    assert counts["kept"] > 3
    assert counts["rejected"] == 1
    labels = read_dataset(out).labels
    assert sum(label.is_answerable for label in labels) == counts["kept"]
    assert sum(not label.is_answerable for label in labels) == counts["unanswerable"] > 0
    assert len(labels) == report["labels"]


def test_the_reader_finds_the_answers_again(made: tuple[Path, dict[str, Any]]) -> None:
    from haystack import Document

    from qa_system.readers.extractive import ExtractiveReader

    labels = read_dataset(made[0]).labels
    reader = ExtractiveReader("bundled:reader")
    readings = reader.read(
        [label.question for label in labels],
        [[Document(content=label.context)] for label in labels],
        top_k=1,
    )
    for label, reading in zip(labels, readings, strict=True):
        assert reading.decision.abstains != label.is_answerable
        aspect = {word.stem for word in words(label.meta["aspect"])}
        named = {word.stem for word in words(label.context)}
        assert aspect.isdisjoint(named) != label.is_answerable
        for span in label.answers:
            place = reading.answers[0].document_offset
            assert place.start < span.end
            assert span.start < place.end


def test_labels_and_record_say_how_they_were_made(made: tuple[Path, dict[str, Any]]) -> None:
    out, report = made
    record = json.loads(Path(report["record"]).read_text())
    assert record["finished"]
    assert record["made_with"]["reader"] == {
        "model": "bundled:reader",
        "sha256": weights_hash(locate("bundled:reader").path),
    }
    assert record["made_with"]["seed"] == 13
    assert record["made_with"]["generator"]["by"] == "rules"
    labels = read_dataset(out).labels
    assert {label.meta["generated_by"] for label in labels} == {"rules"}
    assert len({label.meta["generated_in"] for label in labels}) == 1
    assert len({label.question_id for label in labels}) == len(labels)


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(
    reviews: Path, made: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = RulesWriter.write

    def stops_at_the_lamp(self: RulesWriter, candidates: Sequence[Candidate]) -> list[str | None]:
        if candidates[0].document.meta["item_id"] == "lamp":
            raise OSError(28, "No space left on device")
        return write(self, candidates)

    out = reviews.with_name("stopped.jsonl")
    monkeypatch.setattr(RulesWriter, "write", stops_at_the_lamp)
    run(reviews, out, code=1)
    monkeypatch.undo()
    assert not json.loads(out.with_name("stopped.record.json").read_text())["finished"]
    with out.open("ab") as stream:  # what a killed process wrote last
        stream.write(b'{"question_id":"half')
    moved = reviews.with_name("moved.jsonl")
    shutil.copy(reviews, moved)
    report = run(moved, out)
    assert report["resumed"] == 1
    assert report["counts"] == made[1]["counts"]
    assert out.read_bytes() == made[0].read_bytes()
    assert run(reviews, out)["resumed"] == 2


def test_labels_of_another_run_and_files_of_others_are_left_alone(
    reviews: Path, made: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    before = made[0].read_bytes()
    done = run(reviews, made[0], "--overlap", "0.9", code=1)
    assert isinstance(done.exception, ConfigError)
    assert "made with other overlap" in str(done.exception)
    assert made[0].read_bytes() == before
    other = tmp_path / "notes.jsonl"
    other.write_text("my notes\n")
    assert "no run was stopped in it" in str(run(reviews, other, code=1).exception)
    assert other.read_text() == "my notes\n"
    stricter = run(reviews, other, "--restart", "--overlap", "0.9", "--unanswerable", "0")
    assert 0 < stricter["labels"] < made[1]["counts"]["kept"]
    written = reviews.read_bytes()
    done = run(reviews, reviews, "--restart", code=1)
    assert "would overwrite the reviews" in str(done.exception)
    assert reviews.read_bytes() == written
    assert "Name a file.jsonl" in str(run(reviews, tmp_path / "x.csv", code=1).exception)


def test_a_store_is_asked_in_the_forms_of_its_own_questions(reviews: Path, tmp_path: Path) -> None:
    from indexing.job import run_job
    from qa_system.config import load_settings
    from qa_system.records import Label
    from qa_system.stores.faiss import FAISSDocumentStore

    path = tmp_path / "store"
    overrides = {"store.path": str(path), "indexing.sources": [str(reviews)]}
    run_job(load_settings(None, overrides | {"indexing.max_rejects": 1}, environ={}))
    own = Label("q", "Any thoughts on the lid?", "bottle", "bottle-0", BOTTLE[0], ())
    with FAISSDocumentStore(path) as store:
        store.write_labels([own])
    out = tmp_path / "questions.jsonl"
    done = CliRunner().invoke(app, ["questions", f"store:{path}", "--out", str(out), "--json"])
    assert done.exit_code == 0, done.output
    record = json.loads(out.with_name("questions.record.json").read_text())
    assert record["made_with"]["generator"]["forms"] == {"any thoughts on the {aspect}": 1}
    assert read_dataset(out).labels


def test_an_adaptation_generates_from_the_texts_that_are_learnt_from(tmp_path: Path) -> None:
    from eval.adaptation.generated import Generation, generated_labels
    from qa_system.readers.extractive import ExtractiveReader
    from qa_system.records import Label
    from qa_system.training.recipes import Adaptation

    labels = [
        Label(f"{item}-{at}", "Any good?", item, f"{item}-{at}", text, ())
        for item, texts in (("bottle", BOTTLE), ("lamp", LAMP))
        for at, text in enumerate(texts)
    ]
    splits = {"train": labels, "dev": [labels[0]], "test": [labels[2]]}
    generation = Generation(ExtractiveReader("bundled:reader"))
    recipe = Adaptation(dev_of_fold=0.5)
    places, told = generated_labels(generation, splits, recipe, tmp_path / "out")
    train, dev = (read_dataset(places[split]).labels for split in ("train", "dev"))
    assert (told["train"]["labels"], told["dev"]["labels"]) == (len(train), len(dev))
    assert {label.item_id for label in train} ^ {label.item_id for label in dev} == {
        "bottle",
        "lamp",
    }
    contexts = {label.context for label in (*train, *dev)}
    assert contexts <= {label.context for label in labels} - {BOTTLE[2]}
    assert not any(label.question == "Any good?" for label in (*train, *dev))
    again, _ = generated_labels(generation, splits, recipe, tmp_path / "out")
    assert [read_dataset(again[split]).labels for split in ("train", "dev")] == [train, dev]
