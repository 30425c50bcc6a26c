"""Every command reads a data set alike: all take it, and set aside the same, or all refuse it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from haystack import Document
from transformers import BertConfig, BertModel
from typer.testing import CliRunner

import eval.cli
import qa_system.cli
from qa_system.config import StoreSettings
from qa_system.datasets.subjqa_rows import REQUIRED
from qa_system.errors import DataError
from qa_system.stores import open_store

pytestmark = pytest.mark.slow

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
ROWS = [
    ("How is the bass?", "Good bass. 👍 The screen is dim.", "Good bass"),
    ("How is the screen?", "It is heavy. 👍 A bright screen, too.", "bright screen"),
    ("Is it loud?", "Nobody knows that of this one.", None),
    ("How long does it last?", "👍👍 It lasts for two days.", "two days"),
    ("Is it blue?", "It came in a large box.", ""),
    ("How heavy is it?", "", ""),
    (" ", "It is light.", "light"),
]
SET_ASIDE = 2


def start_of(context: str, answer: str) -> int:
    """Count in UTF-16 units, as JavaScript does."""
    return len(context.partition(answer)[0].encode("utf-16-le")) // 2


def squad(folder: Path) -> Path:
    paragraphs = [
        {
            "context": context,
            "document_id": 100 + number,
            "qas": [
                {
                    "id": number,
                    "question": question,
                    "answers": [
                        {
                            "text": answer,
                            "answer_start": start_of(context, answer) if answer else -1,
                            "answer_id": 7,
                        }
                    ],
                    "is_impossible": not answer,
                }
            ],
        }
        for number, (question, context, answer) in enumerate(ROWS)
    ]
    data = [{"title": None, "item_id": "B0", "paragraphs": paragraphs}]
    (folder / "data.json").write_text(json.dumps({"data": data}), encoding="utf-8-sig")
    return folder / "data.json"


def lines(folder: Path) -> Path:
    rows = [
        {
            "question_id": number,
            "item_id": "B0",
            "question": question,
            "context": context,
            "answers": [{"text": answer, "start": start_of(context, answer)}] if answer else None,
            "title": None,
        }
        for number, (question, context, answer) in enumerate(ROWS)
    ]
    text = "\n".join(json.dumps(row) for row in rows)
    (folder / "data.jsonl").write_text(text, encoding="utf-8-sig")
    return folder / "data.jsonl"


def table(folder: Path) -> Path:
    with (folder / "dev.csv").open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(REQUIRED)
        for number, (question, context, answer) in enumerate(ROWS):
            said = answer or "ANSWERNOTFOUND"
            start = start_of(context, answer) if answer else 0
            text = f"{context} ANSWERNOTFOUND"
            about = ["B0", f"q{number}", question, f"r{number}", text]
            writer.writerow([*about, said, f"({start}, {start + len(said)})"])
    return folder / "dev.csv"


def all_blank(folder: Path) -> Path:
    path = folder / "blank.jsonl"
    path.write_text('{"question": "\\u200b", "context": "Good.", "answers": ["Good"]}')
    return path


def empty_lines(folder: Path) -> Path:
    (folder / "empty.jsonl").touch()
    return folder / "empty.jsonl"


def empty_squad(folder: Path) -> Path:
    (folder / "empty.json").write_text('{"data": []}')
    return folder / "empty.json"


def empty_table(folder: Path) -> Path:
    (folder / "dev.csv").write_text(",".join(REQUIRED))
    return folder / "dev.csv"


def twice(folder: Path) -> Path:
    path = folder / "twice.jsonl"
    row = '{"question_id": 1, "question": "Is it?", "context": "Good.", "answers": []}'
    path.write_text(f"{row}\n{row}")
    return path


def no_json(folder: Path) -> Path:
    (folder / "bad.json").write_text('{"data": [')
    return folder / "bad.json"


def nothing(folder: Path) -> Path:
    return folder / "nowhere"


EVALUATED = ("--resamples", "100")
COMMANDS: dict[str, Callable[[str], list[str]]] = {
    "reader": lambda data: ["reader", "--dataset", data, "--no-sas", *EVALUATED],
    "retriever": lambda data: ["retriever", "--dataset", data, "--retriever", "bm25", *EVALUATED],
    "pipeline": lambda data: (
        ["pipeline", "--dataset", data, "--no-sas", "--no-alone", "--set", "retriever.mode=bm25"]
    ),
    "explore": lambda data: ["explore", data],
    "calibrate": lambda data: ["calibrate", "--dataset", data],
    "labels": lambda data: ["labels", data, "--store", "a-store"],
    "split": lambda data: ["split", data, "--out", "x.json", "--by", "paragraph", "--dev", "1"],
    "convert": lambda data: ["convert", data, "--out", "converted"],
}
TRAINED = ("reader", "ranker", "retriever")


@pytest.fixture(scope="module")
def encoder(
    tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Callable[[Any, Path], Path]
) -> Path:
    return save_checkpoint(BertModel(BertConfig(**TINY)), tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: Path
) -> Callable[[str, Path], BaseException | None]:
    monkeypatch.chdir(tmp_path)
    with open_store(StoreSettings(path="a-store"), create=True) as store:
        store.write_documents([Document(id="r", content="Good.")])

    def call(name: str, data: Path) -> BaseException | None:
        if name in COMMANDS:
            done = CliRunner().invoke(eval.cli.app, COMMANDS[name](str(data)))
        else:
            kind = name.removeprefix("train ")
            recipe = {
                "model": str(encoder),
                "train": [{"path": str(data)}],
                "dev": [{"path": "bundled:sample", "split": "dev"}],
                "epochs": 1,
                "evaluations": 1,
                "max_seq_length": 64,
                "device": "cpu",
            }
            (tmp_path / "recipe.json").write_text(json.dumps(recipe))
            arguments = ["train", kind, "--recipe", "recipe.json", "--out", "model"]
            done = CliRunner().invoke(qa_system.cli.app, arguments)
        return done.exception

    return call


ALL = [*COMMANDS, *(f"train {kind}" for kind in TRAINED)]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("make", [squad, lines, table])
def test_all_take_it(
    name: str,
    make: Callable[[Path], Path],
    call: Callable[[str, Path], BaseException | None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = make(tmp_path)
    assert call(name, data) is None
    assert f"{data}: {SET_ASIDE} of {len(ROWS)} rows were set aside" in caplog.text
    assert "have no place" not in caplog.text


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (all_blank, "all 1 rows were set aside"),
        (empty_lines, "there are no questions"),
        (empty_squad, "there are no questions"),
        (empty_table, "there are no questions"),
        (twice, "question id '1' occurs twice"),
        (no_json, "the file is not JSON"),
        (nothing, "there is nothing"),
    ],
)
def test_all_refuse_it(
    name: str,
    make: Callable[[Path], Path],
    said: str,
    call: Callable[[str, Path], BaseException | None],
    tmp_path: Path,
) -> None:
    data = make(tmp_path)
    error = call(name, data)
    assert isinstance(error, DataError), error
    assert said in error.what
    assert str(data) in str(error)
