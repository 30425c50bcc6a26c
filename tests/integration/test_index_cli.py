import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from indexing.cli import app
from qa_system.config import EncoderSettings, IndexingSettings, PassageSettings, StoreSettings
from qa_system.console.app import flag_of
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
    flags = ("--store", store, "--column", "text=text", "--type", "stars=text", "--json")
    result = invoke("run", "--config", config, *flags)
    assert json.loads(result.stdout)["written"] == 2
    assert not (tmp_path / "wrong").exists()
    shown = json.loads(invoke("status", "--config", config, "--store", store, "--json").stdout)
    assert shown["documents"] == 2
    (job,) = shown["jobs"].values()
    assert job["finished"]
    assert job["read"] == 3


def test_the_configuration_as_an_argument_works_and_is_noted(tmp_path, source):
    config = tmp_path / "qa.yaml"
    config.write_text(f"indexing: {{sources: [{source}], embed: false}}\n")
    done = qa_index("run", config, "--store", tmp_path / "store", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["written"] == 2
    assert f"note: name the configuration with --config: --config {config}" in done.stderr
    refused = invoke("run", config, "--config", config, "--store", tmp_path / "other", code=2)
    assert "two configurations" in refused.output
    assert not (tmp_path / "other").exists()


def test_status_verify_and_reembed(tmp_path, source):
    store = tmp_path / "store"
    invoke("run", "--source", source, "--store", store, "--no-embed")
    assert "documents" in invoke("status", "--store", store).output
    sound = json.loads(invoke("verify", "--store", store, "--json").stdout)
    assert sound == {"store": str(store), "documents": 2, "faults": []}
    assert "2 documents, sound" in invoke("verify", "--store", store).output
    embedded = json.loads(
        invoke("reembed", "--store", store, "--encoder-model", "bundled:encoder", "--json").stdout
    )
    assert embedded["embedded"] == 2
    status = json.loads(invoke("status", "--store", store, "--json").stdout)
    assert status["embedded"] == 2
    assert status["encoder"]["name"] == "bundled:encoder"
    old = invoke("embed", "--store", store, "--encoder", "bundled:encoder", "--json")
    assert json.loads(old.stdout)["encoder"] == embedded["encoder"]
    assert old.stderr.splitlines()[:2] == [
        "note: qa-index embed is now called qa-index reembed",
        "note: --encoder is now called --encoder-model",
    ]
    # Now that the store has embeddings, the job goes on with them.
    again = invoke("run", "--source", source, "--store", store, "--json")
    assert json.loads(again.stdout)["unchanged"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no source is named"),
        (["--source", "{source}", "--format", "xml"], "--format"),
        (["--source", "{source}", "--column", "text"], "NAME=VALUE"),
        (["--source", "{source}", "--column", "text=body"], "--column text="),
        (["--source", "{source}", "--batch-size", "0"], "[--batch-size]"),
        (["--source", "{source}", "--type", "zip=nonsense"], "[--type]"),
        (["--source", "{source}", "--set", "indexing.batch_size=0"], "[--set]"),
        (["--source", "{source}", "--set", "indexing.nonsense=1"], "indexing.nonsense"),
        (["--config", "no/such.yaml"], "no/such.yaml"),
        (["--set", "store.type=elasticsearch"], "store.path: no such key [--store]"),
    ],
)
def test_bad_usage_ends_with_2(tmp_path, source, arguments, message):
    arguments = [each.format(source=source) for each in arguments]
    result = invoke("run", *arguments, "--store", tmp_path / "store", code=2)
    assert message in result.output + str(result.exception)


def test_what_is_missing_ends_with_1(tmp_path):
    named = ("--store", tmp_path / "store")
    result = invoke("run", "--source", "no/such.csv", *named, code=1)
    assert "no such file" in str(result.exception)
    assert "there is no store" in str(invoke("status", *named, code=1).exception)
    assert not (tmp_path / "store").exists()


def test_the_index_of_embeddings_is_never_the_name_of_a_servers_index(source):
    flags = ("--source", source, "--store-index", "hnsw")
    for server in (("--store", "http://es/reviews"), ("--set", "store.type=elasticsearch")):
        result = invoke("run", *flags, *server, code=2)
        assert "Set store.index_options instead" in str(result.exception)


def test_too_many_rejects_end_with_1(tmp_path, source):
    done = qa_index(
        "run", "--source", source, "--store", tmp_path / "s", "--no-embed", "--max-rejects", 0
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.search(
        r"error: 1 row set aside, and max_rejects is 0 \(.*\.rejects\.jsonl\)", done.stderr
    )


def test_a_store_that_is_not_there(tmp_path):
    for command in (["status"], ["verify"], ["reembed"], ["forget", "r1"]):
        result = invoke(*command, "--store", tmp_path / "none", code=1)
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
    assert json.loads(job.stdout.read())["error"]["code"] == "job_interrupted"
    shown = json.loads(invoke("status", "--store", tmp_path / "store", "--json").stdout)
    assert shown["documents"] > 0
    (state,) = shown["jobs"].values()
    assert not state["finished"]
    assert invoke("verify", "--store", tmp_path / "store")


def test_every_key_of_store_encoder_and_indexing_has_an_option():
    flags = {spelling for each in get_command(app).commands["run"].params for spelling in each.opts}
    keys = [f"store.{key}" for key in StoreSettings.model_fields if key not in ("type", "path")]
    keys += [f"encoder.{key}" for key in EncoderSettings.model_fields]
    keys += [f"indexing.{key}" for key in IndexingSettings.model_fields if key != "passages"]
    keys += [f"indexing.passages.{key}" for key in PassageSettings.model_fields]
    for key in ("store", *keys):
        assert flag_of(key) in flags


@pytest.mark.parametrize("command", ["run", "rollback", "status", "verify", "reembed", "forget"])
def test_a_server_is_named_by_its_address(tmp_path, source, command):
    config = tmp_path / "qa.yaml"
    config.write_text(f"store: {{path: {tmp_path / 'x'}, index: flat, gpu: false}}\n")
    also = {"run": ["--source", source, "--set", "store.bulk.retry_for=0"], "forget": ["r1"]}
    more = also.get(command, [])
    address = "http://127.0.0.1:1/reviews"
    failed = invoke(command, "--config", config, "--store", address, *more, code=1)
    assert "cannot be reached" in str(failed.exception)
    assert "http://127.0.0.1:1" in str(failed.exception)
    assert not (tmp_path / "x").exists()


def test_items_and_columns_are_printed_without_what_a_terminal_obeys(tmp_path):
    rows = [{"item_id": "B\x1b[31m", "text": "Good sound.", "n\x1b[2J": 1}]
    rows += [{"item_id": "B2", "text": f"Fine {n}.", "n\x1b[2J": "x"} for n in range(1_000)]
    source, store = tmp_path / "odd.jsonl", str(tmp_path / "store")
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    types = ("--type", "n\x1b[2J=number")
    told = invoke("run", "--source", source, "--store", store, "--no-embed", *types)
    assert "1,000 of n\ufffd[2J" in told.stdout
    assert "1 B\ufffd[31m" in invoke("items", "--store", store).stdout
    found = json.loads(invoke("items", "--store", store, "--json").stdout)
    assert found["items"][0]["item_id"] == "B\x1b[31m"
