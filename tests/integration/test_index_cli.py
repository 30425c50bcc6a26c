import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from indexing.cli import app
from qa_system.errors import QASystemError

ROOT = Path(__file__).parents[2]
CSV = "review_id,item_id,text,stars\nr1,B00,Works well.,5\nr2,B00,,1\nr3,B01,Light.,4\n"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text(CSV)
    return path


def qa_index(*arguments, **keys):
    """Run the command in a process of its own; the exit code is what users see."""
    return subprocess.run(
        [sys.executable, "-m", "indexing.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        **keys,
    )


def invoke(*arguments, code=0):
    """Run the command in this process, which is quicker."""
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if isinstance(result.exception, QASystemError):
        assert result.exception.exit_code == code
    else:
        assert result.exit_code == code, result.output
    return result


def test_run_prints_a_report_for_machines_and_only_that(tmp_path, source):
    store = tmp_path / "store"
    done = qa_index("run", "--source", source, "--store", store, "--no-embed", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {key: report[key] for key in ("read", "written", "unchanged", "rejected")} == {
        "read": 3,
        "written": 2,
        "unchanged": 0,
        "rejected": 1,
    }
    assert report["seconds"] > 0
    assert report["store"] == str(store)
    assert report["reasons"] == {"missing text": 1}
    assert Path(report["rejects_file"]).is_file()
    assert report["made_with"]["sources"] == [str(source)]


def test_run_prints_a_report_for_people(tmp_path, source):
    result = invoke("run", "--source", source, "--store", tmp_path / "store", "--no-embed")
    assert (
        "3 rows read: 2 written, 0 updated, 0 unchanged, 0 duplicates, 1 rejected; 0 deleted."
        in result.output
    )
    assert "1 missing text" in result.output


def test_a_configuration_file_and_flags_that_win(tmp_path, source):
    config = tmp_path / "qa.yaml"
    config.write_text(
        f"store:\n  path: {tmp_path / 'wrong'}\n"
        f"indexing:\n  sources: [{source}]\n  embed: false\n  columns:\n    text: stars\n"
    )
    store = tmp_path / "store"
    result = invoke(
        "run", config, "--store", store, "--column", "text=text", "--type", "stars=text", "--json"
    )
    assert json.loads(result.stdout)["written"] == 2
    assert not (tmp_path / "wrong").exists()
    shown = json.loads(invoke("status", "--config", config, "--store", store, "--json").stdout)
    assert shown["documents"] == 2
    (job,) = shown["jobs"].values()
    assert job["finished"]
    assert job["read"] == 3


def test_status_verify_and_embed(tmp_path, source):
    store = tmp_path / "store"
    invoke("run", "--source", source, "--store", store, "--no-embed")
    assert "documents" in invoke("status", "--store", store).output
    sound = json.loads(invoke("verify", "--store", store, "--json").stdout)
    assert sound == {"store": str(store), "documents": 2, "faults": []}
    assert "2 documents, sound" in invoke("verify", "--store", store).output
    embedded = json.loads(
        invoke("embed", "--store", store, "--encoder", "bundled:encoder", "--json").stdout
    )
    assert embedded["embedded"] == 2
    status = json.loads(invoke("status", "--store", store, "--json").stdout)
    assert status["embedded"] == 2
    assert status["encoder"]["name"] == "bundled:encoder"
    # Now that the store has embeddings, the job goes on with them.
    again = invoke("run", "--source", source, "--store", store, "--json")
    assert json.loads(again.stdout)["unchanged"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no source is named"),
        (["--source", "no/such.csv"], "no such file"),
        (["--source", "{source}", "--format", "xml"], "indexing.format"),
        (["--source", "{source}", "--column", "text"], "NAME=VALUE"),
        (["--source", "{source}", "--column", "text=body"], "--column text="),
        (["--source", "{source}", "--batch-size", "0"], "indexing.batch_size"),
        (["--source", "{source}", "--set", "indexing.nonsense=1"], "indexing.nonsense"),
        (["no/such.yaml"], "no/such.yaml"),
    ],
)
def test_bad_usage_ends_with_2(tmp_path, source, arguments, message):
    arguments = [each.format(source=source) for each in arguments]
    result = invoke("run", *arguments, "--store", tmp_path / "store", code=2)
    assert message in result.output + str(result.exception)
    assert not (tmp_path / "store").exists()


def test_too_many_rejects_end_with_1(tmp_path, source):
    done = qa_index(
        "run", "--source", source, "--store", tmp_path / "s", "--no-embed", "--max-rejects", 0
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.search(
        r"error: 1 rows were set aside, and max_rejects is 0 \(.*\.rejects\.jsonl\)", done.stderr
    )


def test_a_store_that_is_not_there(tmp_path):
    for command in ("status", "verify", "embed"):
        result = invoke(command, "--store", tmp_path / "none", code=1)
        assert "qa-index run" in str(result.exception)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_the_job_which_can_go_on(tmp_path, number, code):
    command = [sys.executable, "-m", "indexing.cli", "run", "--source", "-", "--no-embed"]
    command += ["--store", str(tmp_path / "store"), "--batch-size", "1", "--json"]
    job = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
    )
    # More than is looked at to recognise the format, so that reading has begun.
    for line in range(3_000):
        job.stdin.write(b'{"review_id": "r%d", "item_id": "B00", "text": "%090d"}\n' % (line, 7))
    while not list((tmp_path / "store").glob("jobs/*.sqlite-wal")):
        assert job.poll() is None, job.stderr.read()
        time.sleep(0.01)
    time.sleep(0.5)
    os.kill(job.pid, number)
    try:
        assert job.wait(20) == code
    finally:
        job.kill()
    message = job.stderr.read().decode()
    assert message.count("Run the same command again") == 1, message
    assert job.stdout.read() == b""
    shown = json.loads(invoke("status", "--store", tmp_path / "store", "--json").stdout)
    assert shown["documents"] > 0
    (state,) = shown["jobs"].values()
    assert not state["finished"]
    assert invoke("verify", "--store", tmp_path / "store")


def test_help_names_every_key_of_store_encoder_and_indexing():
    from qa_system.config import EncoderSettings, IndexingSettings, StoreSettings

    text = invoke("run", "--help").output
    flags = {
        "path": "--store",
        "model": "--encoder",
        "question_model": "--question-encoder",
        "sources": "--source",
        "columns": "--column",
        "types": "--type",
        "passages": "--max-words",
        "type": "--store",
        **dict.fromkeys(("item", "encoding", "misfits"), "--set"),
    }
    for settings in (StoreSettings, EncoderSettings, IndexingSettings):
        for key in settings.model_fields:
            assert flags.get(key, "--" + key.replace("_", "-")) in text, key
