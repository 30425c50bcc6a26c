"""Commands whose arguments are not UTF-8, and whose output goes nowhere or to an old terminal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from indexing.job import run_job
from qa_system.config import load_settings
from qa_system.errors import DataError, InvalidArgumentError

ROOT = Path(__file__).parents[2]
CSV = "review_id,item_id,text\nr1,B00,Works well.\nr2,電池,Light.\n"
HALF = os.fsdecode(b"caf\xe9")
FULL_DISK = "/dev/full"


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "reviews.csv"
    path.write_text(CSV, encoding="utf-8")
    return path


@pytest.fixture
def store(tmp_path, source):
    path = tmp_path / "store"
    over = {"store.path": str(path), "indexing.sources": [str(source)], "indexing.embed": False}
    run_job(load_settings(None, over, environ={}))
    return path


def run(module, *arguments, stdout=subprocess.PIPE, **environ):
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=os.environ | environ,
        check=False,
    )


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("indexing.cli", ["run", "--source", "reviews.csv", "--type", f"{HALF}=text"]),
        ("indexing.cli", ["run", "--source", f"{HALF}.csv"]),
        ("indexing.cli", ["status", "--state", HALF]),
        ("qa_system.cli", ["export", "bundled:reader", HALF]),
        ("eval.cli", ["reader", "--data", HALF, "--json"]),
    ],
)
def test_an_argument_that_is_not_utf_8(module, arguments):
    done = run(module, *arguments)
    assert done.returncode == 2
    assert b"is half a character" in done.stderr
    assert b"Traceback" not in done.stderr
    if "--json" in arguments:
        assert json.loads(done.stdout)["error"]["code"] == "invalid_argument"


@pytest.mark.parametrize("over", [{"store.path": HALF}, {"indexing.types": {HALF: "text"}}])
def test_a_setting_that_is_not_utf_8(over):
    with pytest.raises(InvalidArgumentError, match="half a character"):
        load_settings(None, over, environ={})


def test_a_file_whose_name_is_not_utf_8(tmp_path):
    folder = tmp_path / "reviews"
    folder.mkdir()
    try:
        (folder / f"{HALF}.csv").write_text(CSV, encoding="utf-8")
    except OSError:
        pytest.skip("this file system has no such names")
    over = {"store.path": str(tmp_path / "store"), "indexing.embed": False}
    settings = load_settings(None, over | {"indexing.sources": [str(folder)]}, environ={})
    with pytest.raises(DataError, match="Rename it"):
        run_job(settings)


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252"])
def test_a_terminal_that_cannot_show_all_characters(store, encoding):
    done = run("indexing.cli", "items", "--store", store, PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"1 \\u96fb\\u6c60" in done.stdout


def test_json_is_utf_8_on_every_terminal(store):
    done = run("indexing.cli", "items", "--store", store, "--json", PYTHONIOENCODING="ascii")
    items = json.loads(done.stdout.decode("utf-8"))["items"]
    assert {each["item_id"] for each in items} == {"B00", "電池"}


@pytest.mark.skipif(not Path(FULL_DISK).exists(), reason="there is no device that is always full")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_full_disk_behind_stdout(store, options):
    with Path(FULL_DISK).open("wb") as full:
        done = run("indexing.cli", "items", "--store", store, *options, stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith(b"error: ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize("options", ["", "--json"])
def test_a_stream_that_is_closed(store, closed, options):
    command = f'exec "$0" -m indexing.cli items --store "$1" {options} {closed}'
    done = subprocess.run(
        ["/bin/sh", "-c", command, sys.executable, store],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (b"B00" in done.stdout) == (closed == "2>&-")
