"""The commands that remedies name are typed as they stand, on the sample."""

import csv
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qa_system.datasets.dataset import read_dataset
from remedies import APPS, COMMAND, SENTENCE, SOURCES, remedies

pytestmark = pytest.mark.slow

PLACEHOLDERS = {
    "DATASET": "bundled:sample",
    "FILE.json": "divided.json",
    "FOLDER": "run",
    "PATH": "reviews.csv",
}
OF_COMMAND = {
    "qa-eval labels DATASET --store NAME": {"NAME": "store"},
    "qa-index run --source PATH --store NAME": {"NAME": "store"},
    "qa-eval reader --split NAME": {"NAME": "dev --no-sas"},
    "qa-eval calibrate --split NAME": {"NAME": "dev"},
    "qa-eval reader --reader-model NAME": {"NAME": "bundled:reader --split dev --no-sas"},
}
TYPED = [
    "qa-index run --source PATH --store NAME",
    "qa-index run --source reviews.csv",
    "qa-eval labels DATASET --store NAME",
    "qa-eval split DATASET --test 0.2 --dev 0.05 --out FILE.json",
    "qa-eval reader --out FOLDER",
    "qa-eval compare --common",
    "qa-eval reader --split NAME",
    "qa-eval reader --reader-model NAME",
    "qa-eval calibrate --split NAME",
    "qa-eval retriever --scope open",
    "qa export --help",
]
ELSEWHERE = {
    "qa annotate --annotator NAME": "test_annotation_page.py",
    "qa annotate --questions FILE": "test_annotation_page.py",
    "qa feedback --feedback FILE > FILE.jsonl": "test_widget_served.py",
    "qa-eval improve --least NUMBER": "test_improve.py",
    "qa-eval improve --marked FILE": "test_improve.py",
    "qa-eval improve --models FOLDER": "test_improve.py",
    "qa-eval improve --replay DATASET": "test_improve.py",
    "qa-eval attributes --dataset FILE.jsonl": "test_attributes.py",
    "qa-eval attributes --write FILE": "test_attributes.py",
    "qa distill TEACHER --layers 3": "test_distill.py",
    "qa questions --out FILE": "test_generating_questions.py",
    "qa questions --restart": "test_generating_questions.py",
    "qa train generator --recipe generator-questions --out FOLDER": "test_train_generator.py",
    "qa export --with NAME=FILE": "test_packages.py",
    "qa export CHECKPOINT --task TASK --precision int8 --out FOLDER": "test_export.py",
    "qa export MODEL --out ADDRESS": "test_packages.py",
    "qa-eval adapt --out FOLDER": "test_adaptation.py",
    "qa-eval calibrate --pipeline --dataset FILE --write": "test_confidence.py",
    "qa-eval calibrate --write": "test_eval_cli.py",
    "qa-eval consensus --reviews DATA": "test_confidence.py",
    "qa-index digest --item NAME": "test_digest_job.py",
    "qa-index run --rebuild": "test_elasticsearch_job.py",
    "qa-index run --source FOLDER": "test_index_cli.py",
    "qa-index run --store FOLDER": "test_index_cli.py",
}
"""What needs a checkpoint, a server or a pipe is typed by another test."""


def commands() -> set[str]:
    """Return the commands of all remedies that have an option, up to the last of its values."""
    found = set()
    for said in (said for path in SOURCES for said in remedies(path)):
        for match in COMMAND.finditer(said.text):
            command = SENTENCE.split(f"{match[1]} {match[2]}{match[3]}")[0]
            command = re.split(r" makes | writes |, and | \(|: ", f"{command} ")[0]
            if "--" in command:
                found.add(command.strip().rstrip(".)"))
    return found


def test_every_command_of_a_remedy_is_typed_by_a_test() -> None:
    assert commands() == {*TYPED, *ELSEWHERE}
    for file in ELSEWHERE.values():
        assert (Path(__file__).parent / file).is_file()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands take for granted; they run in it one after the other."""
    folder = tmp_path_factory.mktemp("remedies")
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["review_id", "item_id", "text"])
        for review in read_dataset("bundled:sample").reviews[:20]:
            writer.writerow([review.id, review.item_id, review.text])
    return folder


@pytest.mark.parametrize("command", TYPED)
def test_the_command_works(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    values = PLACEHOLDERS | OF_COMMAND.get(command, {})
    program, *words = command.split()
    arguments = [part for word in words for part in values.get(word, word).split()]
    if "--common" in words:
        arguments += ["run", "run:reader"]
    done = CliRunner().invoke(APPS[program], arguments)
    assert done.exit_code == 0, (done.exception, done.output)
