"""`qa-eval` as its users run it: JSON on stdout, messages on stderr, exit codes."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass

import pytest

from eval import cli
from indexing.job import run_job
from qa_system.config import load_settings

HEAVY = "haystack", "torch", "faiss", "onnxruntime", "tantivy", "numpy", "transformers"


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def qa_eval(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def run(*args):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["qa-eval", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Done(ended.value.code or 0, *capsys.readouterr())

    def call(*args, check=True):
        done = run(*args)
        if check:
            assert done.returncode == 0, done.stderr
        return done

    return call


@pytest.mark.parametrize("ks", [("--k", 1, 3), ("--k", "1,3"), ("--k", 1, "--k", 3)])
def test_retriever_json(qa_eval, sample, ks):
    args = ("--dataset", sample, "--split", "test", "--scope", "item", "--retriever", "bm25")
    report = json.loads(qa_eval("retriever", *args, *ks, "--json").stdout)
    assert {"recall@1", "recall@3", "hit_rate@3", "ndcg@3", "mrr", "map"} <= report[
        "metrics"
    ].keys()
    assert "recall@5" not in report["metrics"]
    assert all(0 <= value <= 1 for value in report["metrics"].values())
    assert report["counts"]["questions"] == 157
    assert report["references"].keys() == {"random", "oracle"}
    made = report["made_with"]
    assert made["data"]["split"] == "test"
    assert len(made["data"]["sha256"]) == len(made["settings_sha256"]) == 64
    assert {"seed", "command", "versions", "models", "scope"} <= made.keys()


@pytest.mark.slow
def test_all_retrievers_on_the_bundled_sample(qa_eval, tmp_path):
    rows = tmp_path / "rows.jsonl"
    done = qa_eval("retriever", "--retriever", "all", "--k", 1, 3, "--rows", rows, "--json")
    report = json.loads(done.stdout)
    assert report["retrievers"].keys() == {"bm25", "dense", "hybrid"}
    random = report["retrievers"]["bm25"]["references"]["random"]["recall@3"]
    assert all(each["metrics"]["recall@3"] > random for each in report["retrievers"].values())
    assert len(report["made_with"]["models"]["encoder"]["sha256"]) == 64
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    assert len(lines) == sum(each["counts"]["answerable"] for each in report["retrievers"].values())
    assert {"retriever", "question_id", "ranked", "gold"} <= lines[0].keys()


def test_a_table_for_people(qa_eval):
    done = qa_eval("retriever", "--retriever", "bm25", "--k", 1, 3)
    for word in ("bm25", "random", "oracle", "recall@3", "without one are left out"):
        assert word in done.stdout


def test_a_store_that_is_named_is_searched(qa_eval, tmp_path, sample):
    overrides = {"store.path": str(tmp_path / "mine"), "indexing.embed": False}
    run_job(load_settings(overrides={**overrides, "indexing.sources": [str(sample)]}))
    args = ("--dataset", sample, "--retriever", "bm25", "--k", 3, "--json")
    own = json.loads(qa_eval("retriever", *args, "--store", "mine").stdout)
    built = json.loads(qa_eval("retriever", *args).stdout)
    assert own["metrics"] == built["metrics"]
    assert own["counts"] == built["counts"]


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("retriever", "--k", "0"), 2, "whole numbers from 1"),
        (("retriever", "--dataset", "nowhere"), 1, "there is nothing (nowhere)"),
        (("retriever", "--split", "validation"), 1, "Splits there: train, dev, test"),
        (("retriever", "--store", "nowhere", "--retriever", "bm25"), 1, "there is no store"),
        (("retriever", "--set", "retriever.depth=3"), 2, "retriever.depth: no such key"),
        (("reader", "--reader", "bundled:nobody"), 1, "no bundled model"),
    ],
)
def test_faults_are_one_message(qa_eval, args, code, message):
    done = qa_eval(*args, check=False)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_reader_json(qa_eval, sample, tmp_path):
    rows = tmp_path / "rows.jsonl"
    args = ("--dataset", sample, "--split", "dev", "--rows", rows, "--json")
    report = json.loads(qa_eval("reader", *args).stdout)
    named = {"em", "f1", "has_ans_em", "has_ans_f1", "no_ans_em", "no_ans_f1", "best_f1"}
    assert named <= report["metrics"].keys()
    assert report["counts"]["questions"] == 80
    assert report["counts"]["missing"] == 0
    assert report["references"]["always_empty"]["no_ans_em"] == 1
    assert report["metrics"]["forced_has_ans_f1"] > 0.1
    assert len(report["made_with"]["models"]["reader"]["sha256"]) == 64
    assert len(rows.read_text().splitlines()) == 80


@pytest.mark.slow
def test_calibrate_writes_into_a_copy_of_the_reader(qa_eval, root, sample, tmp_path):
    mine = tmp_path / "reader"
    shutil.copytree(root / "models" / "reader", mine)
    args = ("--dataset", sample, "--split", "dev", "--reader", mine)
    report = json.loads(qa_eval("calibrate", *args, "--write", "--json").stdout)
    fitted = report["calibration"]
    assert fitted["temperature"] > 0
    assert json.loads((mine / "model.json").read_text())["calibration"] == fitted
    again = json.loads(qa_eval("reader", *args, "--json").stdout)
    assert again["metrics"]["f1"] == pytest.approx(again["metrics"]["best_f1"])
    assert "temperature" in qa_eval("calibrate", *args).stdout


def test_help_answers_at_once(root, tmp_path):
    # Processor time: that of the clock depends on who else is at work here.
    script = (
        "import atexit, sys, time\n"
        "atexit.register(lambda: print(time.process_time(), *sys.modules, file=sys.stderr))\n"
        "from eval.cli import main\n"
        "sys.argv = ['qa-eval', 'retriever', '--help']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, *modules = done.stderr.split()
    assert "--scope" in done.stdout
    assert not set(HEAVY) & set(modules)
    assert float(seconds) < 0.4


def test_every_command_has_help():
    for command in cli.app.registered_commands:
        assert command.callback is not None
        assert command.callback.__doc__
