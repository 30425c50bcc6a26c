"""`qa` as a user runs it: output, JSON and exit codes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from indexing.job import run_job
from qa_system.config import load_settings

ITEM = "ereader-lumen-6"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, sample: Path) -> Path:
    path = tmp_path_factory.mktemp("cli") / "store"
    run_job(
        load_settings(
            None, {"store.path": str(path), "indexing.sources": [str(sample)]}, environ={}
        )
    )
    return path


def qa(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("qa")
    return subprocess.run(
        [command, *arguments], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_ask_prints_answers_and_their_reviews(store: Path, tmp_path: Path) -> None:
    done = qa(
        "ask", "Is it good for reading at night?", "--item", ITEM, "--store", str(store),
        "--set", "reader.no_answer_threshold=-50", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Is it good for reading at night?" in done.stdout
    assert re.search(r"[1-9]\d* of 13 reviews read in \d+ ms, \d+ considered", done.stdout)
    assert "review " in done.stdout


def test_ask_json_is_for_machines(store: Path, tmp_path: Path) -> None:
    done = qa(
        "ask", "Is it good for reading at night?", "--item", ITEM, "--store", str(store), "--json",
        "--set", "reader.no_answer_threshold=-50", cwd=tmp_path,
    )  # fmt: skip
    answers = json.loads(done.stdout)
    assert set(answers) == {
        "question",
        "item_id",
        "reviews",
        "copies",
        "considered",
        "read",
        "judged",
        "mentions",
        "verdict",
        "parts",
        "part_mentions",
        "points",
        "answers",
        "abstained",
        "score",
        "threshold",
        "generation",
        "timings",
        "error",
        "decision",
        "reviews_read",
        "no_answer_probability",
    }
    assert answers["answers"][0]["item_id"] == ITEM


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["ask", "Good?", "--store", "nowhere"], 1, "qa-index run"),
        (["ask", "Good?", "--store", "010"], 1, "(010)"),
        (["ask", "Good?", "--store", "http://127.0.0.1:1/reviews"], 1, "cannot be reached"),
        (["ask", "Good?", "--store", "http://127.0.0.1:1"], 2, "has no index"),
        (["ask", "Good?", "--store", "http://me:secret@es/reviews"], 2, "store.username_env"),
        (["ask", "Good?", "--store", ""], 2, "name is empty"),
        (["ask", "Good?", "--mode", "psychic"], 2, "extract"),
        (["ask", "Good?", "--set", "retriever.mode=psychic"], 2, "retriever.mode"),
        (["ask", "Good?", "--config", "nowhere.yaml"], 2, "nowhere.yaml"),
        (["ask"], 2, "question"),
        (["ask", "Good?", "--no-such-flag"], 2, "no-such-flag"),
        (["doctor", "--set", "reader.model=bundled:nothing"], 1, "there is no bundled model"),
    ],
)
def test_exit_codes(arguments: list[str], code: int, message: str, tmp_path: Path) -> None:
    done = qa(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert message in done.stderr + done.stdout
    assert "secret" not in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_item_fails_by_name(store: Path, tmp_path: Path) -> None:
    done = qa("ask", "Good?", "--item", "nothing", "--store", str(store), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the store has no review of item 'nothing'")


def test_json_has_the_errors_code(store: Path, tmp_path: Path) -> None:
    place = ("--store", str(store), "--json")
    done = qa("ask", "Good?", "--item", "nothing", *place, cwd=tmp_path)
    told = json.loads(done.stdout)["error"]
    assert (done.returncode, told["code"]) == (1, "unknown_item")
    assert told["public_message"] == "There are no reviews of this item."
    assert str(store) in told["message"]
    assert done.stderr == f"error: {told['message']}\n"


def test_bytes_that_are_not_utf8_are_refused(store: Path, tmp_path: Path) -> None:
    done = qa("ask", os.fsdecode(b"b\xe9ttery?"), "--store", str(store), "--json", cwd=tmp_path)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "invalid_argument"
    assert "half a character" in done.stderr
    done = qa("ask", "Good?", "--item", os.fsdecode(b"\xe9"), "--store", str(store), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_an_abstention_is_said_with_its_numbers(store: Path, tmp_path: Path) -> None:
    given = ("--store", str(store), "--item", "kettle-brimwell-17")
    done = qa("ask", "Does it come with a pilot's licence?", *given, cwd=tmp_path)
    [score, threshold] = re.search(
        r"The reviews don't say \(score ([\d.]+)%, threshold ([\d.]+)%\)\.", done.stdout
    ).groups()
    assert float(score) < float(threshold)


def test_doctor_finds_what_is_there(store: Path, tmp_path: Path) -> None:
    done = qa("doctor", "--store", str(store), "--json", cwd=tmp_path)
    assert done.returncode == 0
    report = json.loads(done.stdout)
    assert report["healthy"]
    findings = {finding["name"]: finding for finding in report["findings"]}
    for name in ("python", "haystack", "faiss", "onnxruntime", "encoder", "reader", "store"):
        assert findings[name]["ok"], findings[name]
    assert "14 items" in findings["store"]["detail"]
    readable = qa("doctor", "--store", str(tmp_path / "nowhere"), cwd=tmp_path)
    assert "-> " in readable.stdout


@pytest.mark.parametrize("program", ["qa", "qa-index", "qa-eval"])
def test_every_command_explains_itself(program: str, tmp_path: Path) -> None:
    command = Path(sys.executable).with_name(program)

    def help_of(*path: str) -> str:
        done = subprocess.run(
            [command, *path, "--help"],
            capture_output=True,
            text=True,
            check=True,
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "200", "TERM": "dumb"},
        )
        return done.stdout

    import importlib

    module = {"qa": "qa_system.cli", "qa-index": "indexing.cli", "qa-eval": "eval.cli"}[program]
    app = importlib.import_module(module).app
    overview = help_of()
    for command_info in app.registered_commands:
        name = command_info.name or command_info.callback.__name__
        assert (f" {name} " in overview) is not command_info.hidden
        assert command_info.callback.__doc__


def test_a_title_is_read_and_a_terminal_obeys_nothing_of_a_review(tmp_path: Path) -> None:
    rows = [
        {"item_id": "L1", "title": "Too dim for reading", "text": "Returned it."},
        {"item_id": "L1", "title": "Evil", "text": "It is red\x1b[2J and \u202ebad."},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    store = str(tmp_path / "store")
    sources = [str(tmp_path / "a.jsonl")]
    run_job(load_settings(None, {"store.path": store, "indexing.sources": sources}, environ={}))
    about = ("--item", "L1", "--store", store)
    always = ("--set", "reader.no_answer_threshold=-20")
    dim = qa("ask", "Is it bright enough for reading?", *about, *always, cwd=tmp_path)
    assert "Too dim for reading: Returned it." in dim.stdout
    red = qa("ask", "What colour is it?\x1b[2J", *about, cwd=tmp_path)
    assert "red\ufffd[2J and \ufffdbad." in red.stdout
    assert "\x1b" not in red.stdout
