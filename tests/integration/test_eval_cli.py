"""`qa-eval` as its users run it: JSON on stdout, messages on stderr, exit codes."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest

from architectures import save_reader
from eval import cli
from eval.datasets import load_dataset
from indexing.job import run_job
from qa_system.config import load_settings
from qa_system.datasets.jsonl import write_labels_jsonl
from qa_system.datasets.splitting import hold_out

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
    bm25 = report["systems"]["bm25"]
    named = {"recall@1", "recall@3", "hit_rate@3", "ndcg@3", "mrr", "map", "answer_recall@3"}
    assert named <= bm25["metrics"].keys()
    assert "recall@5" not in bm25["metrics"]
    for metric, value in bm25["metrics"].items():
        low, high = bm25["intervals"][metric]
        assert 0 <= low <= value <= high <= 1
    assert bm25["counts"]["questions"] == 157
    assert bm25["questions"]["mrr"] == bm25["counts"]["answerable"] == 116
    assert report["references"].keys() == {"random", "oracle"}
    assert {"question_word", "review_words"} <= bm25["slices"].keys()
    for slices in bm25["slices"].values():
        assert sum(each["questions"] for each in slices.values()) <= 116
    made = report["made_with"]
    assert made["data"]["split"] == "test"
    assert len(made["data"]["sha256"]) == len(made["settings_sha256"]) == 64
    assert {"seed", "command", "versions", "models", "scope"} <= made.keys()


@pytest.mark.slow
def test_all_retrievers_on_the_bundled_sample(qa_eval, tmp_path):
    rows = tmp_path / "rows.jsonl"
    done = qa_eval("retriever", "--retriever", "all", "--k", 1, 3, "--rows", rows, "--json")
    report = json.loads(done.stdout)
    systems = report["systems"]
    assert systems.keys() == {"bm25", "dense", "hybrid", "sentences", "judged"}
    random = report["references"]["random"]["metrics"]["recall@3"]
    assert all(each["metrics"]["recall@3"] > random for each in systems.values())
    assert len(report["made_with"]["models"]["encoder"]["sha256"]) == 64
    tested = {(each["a"], each["b"]) for each in report["comparisons"] if each["metric"] == "mrr"}
    assert len(tested) == 10
    assert all(each["p_holm"] >= each["p_permutation"] for each in report["comparisons"])
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    assert len(lines) == sum(each["counts"]["answerable"] for each in systems.values())
    assert {"system", "question_id", "scores", "output", "slices"} <= lines[0].keys()
    assert lines[0]["scores"]["mrr"] <= lines[-1]["scores"]["mrr"]


@pytest.mark.slow
def test_bm25_is_a_baseline_and_compared(qa_eval, tmp_path):
    args = ("retriever", "--split", "dev", "--retriever", "dense", "--k", 3, "--json")
    report = json.loads(qa_eval(*args).stdout)
    assert report["systems"].keys() == {"dense"}
    assert report["references"].keys() == {"bm25", "random", "oracle"}
    assert {(each["a"], each["b"]) for each in report["comparisons"]} == {("dense", "bm25")}


def test_the_same_question_asked_once(qa_eval, qa_data):
    args = ("retriever", "--dataset", qa_data / "subjqa" / "electronics", "--retriever", "bm25")
    pairs = json.loads(qa_eval(*args, "--scope", "item-split", "--json").stdout)
    once = json.loads(qa_eval(*args, "--scope", "item-split", "--aggregate", "--json").stdout)
    assert pairs["systems"]["bm25"]["counts"]["questions"] == 358
    # As the book counts: chapter 7, get_all_labels_aggregated.
    assert once["systems"]["bm25"]["counts"]["questions"] == 330
    assert once["made_with"]["aggregated"] is True


def test_a_table_for_people(qa_eval):
    done = qa_eval("retriever", "--retriever", "bm25", "--k", 1, 3)
    for word in ("bm25", "random", "oracle", "recall@3", "without one are left out", "95%"):
        assert word in done.stdout


def test_a_store_that_is_named_is_searched(qa_eval, tmp_path, sample):
    overrides = {"store.path": str(tmp_path / "mine"), "indexing.embed": False}
    run_job(load_settings(overrides={**overrides, "indexing.sources": [str(sample)]}))
    args = ("--dataset", sample, "--retriever", "bm25", "--k", 3, "--json")
    own = json.loads(qa_eval("retriever", *args, "--store", "mine").stdout)
    built = json.loads(qa_eval("retriever", *args).stdout)
    assert own["systems"] == built["systems"]
    assert own["made_with"]["store"] == "mine"


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("retriever", "--k", "0"), 2, "whole numbers from 1"),
        (("retriever", "--dataset", "nowhere"), 1, "there is nothing (nowhere)"),
        (("retriever", "--split", "validation"), 1, "Splits there: train, dev, test"),
        (("retriever", "--store", "nowhere", "--retriever", "bm25"), 1, "there is no store"),
        (("retriever", "--set", "retriever.depth=3"), 2, "retriever.depth: no such key"),
        (("reader", "--reader", "bundled:nobody"), 1, "no bundled model"),
        (("reader", "--predictions", "nowhere.json"), 1, "cannot be read"),
        (("pipeline", "--store", "nowhere"), 1, "there is no store"),
        (("benchmark", "--reader", "bundled:nobody"), 1, "no bundled model"),
        (("benchmark", "--reader", "bundled:reader:fp32"), 1, "holds int8 weights, not fp32"),
        (("check", "nowhere.yaml"), 2, "cannot be read"),
    ],
)
def test_errors_are_one_message(qa_eval, args, code, message):
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
    found = report["systems"]["reader"]
    named = {"em", "f1", "has_ans_em", "has_ans_f1", "no_ans_em", "no_ans_f1", "has_ans_sas"}
    assert named <= found["metrics"].keys()
    assert {"best_f1", "best_f1_threshold", "ece", "aurc"} <= found["measures"].keys()
    assert {"thresholds", "risk_coverage", "reliability"} <= found["details"].keys()
    assert found["counts"]["questions"] == 80
    assert found["counts"]["missing"] == found["counts"]["failed"] == 0
    assert found["metrics"]["forced_has_ans_f1"] > 0.1
    beside = report["references"]
    assert beside.keys() == {"always_empty", "first_sentence", "random_span", "human"}
    assert beside["always_empty"]["metrics"]["no_ans_em"] == 1
    assert 0 < beside["human"]["questions"]["f1"] < 80
    assert len(report["made_with"]["models"]["reader"]["sha256"]) == 64
    assert len(rows.read_text().splitlines()) == 80


@pytest.mark.slow
def test_calibrate_writes_into_a_copy_of_the_reader(qa_eval, root, sample, tmp_path):
    mine = tmp_path / "reader"
    shutil.copytree(root / "models" / "reader", mine)
    args = ("--dataset", sample, "--split", "dev", "--reader", mine)
    report = json.loads(qa_eval("calibrate", *args, "--write", "--json").stdout)
    fitted = report["calibration"]
    assert fitted["right"]["temperature"] > 0
    assert json.loads((mine / "model.json").read_text())["calibration"] == fitted
    again = json.loads(qa_eval("reader", *args, "--no-sas", "--json").stdout)
    found = again["systems"]["reader"]
    assert found["metrics"]["f1"] == pytest.approx(found["measures"]["best_f1"])
    assert "has_ans_sas" not in found["metrics"]
    assert "temperature" in qa_eval("calibrate", *args).stdout
    train = ("--dataset", sample, "--split", "train", "--reader", mine)
    report = json.loads(qa_eval("calibrate", *train, "--held-out", "0.3", "--json").stdout)
    kept_back = hold_out(load_dataset(sample).labels_of("train"), 0.3)[1]
    assert report["calibration"]["fitted_on"] == (
        f"sample 0.3 of train, held out ({len(kept_back)} questions)"
    )


@pytest.mark.slow
def test_calibrate_for_sentences_writes_beside_the_other(qa_eval, root, sample, tmp_path):
    mine = tmp_path / "reader"
    shutil.copytree(root / "models" / "reader", mine)
    before = json.loads((mine / "model.json").read_text())
    args = ("--dataset", sample, "--split", "dev", "--reader", mine)
    said = qa_eval("calibrate", *args, "--sentences", "--write", "--json").stdout
    fitted = json.loads(said)["calibration"]
    after = json.loads((mine / "model.json").read_text())
    assert after.pop("calibration_of_sentences") == fitted
    before.pop("calibration_of_sentences", None)
    assert after == before
    moved = fitted["threshold"] - before["calibration"]["threshold"]
    assert moved != 0
    for kind in ("right", "answerable"):
        center = before["calibration"][kind]["center"]
        assert fitted[kind]["center"] - center == pytest.approx(moved, abs=2e-3)


def test_calibrate_for_sentences_needs_sentences(qa_eval, sample):
    args = ("--dataset", sample, "--split", "dev", "--sentences", "--set", "ranker.type=reader")
    done = qa_eval("calibrate", *args, check=False)
    assert done.returncode == 2
    assert "reviews are read whole" in done.stderr


@pytest.mark.slow
def test_benchmark_of_tiny_readers(qa_eval, sample, tmp_path):
    for name in ("bert", "distilbert"):
        save_reader(name, tmp_path / name)
    options = ("--dataset", sample, "--split", "dev", "--resamples", 100)
    lengths = ("--set", "reader.max_seq_length=64", "--set", "reader.stride=16")
    readers = ("--reader", "bert:fp32", "--reader", "distilbert:fp32", *lengths)
    few = ("--timed", 3, "--runs", 2, "--warm-up", 1)
    done = qa_eval("benchmark", *readers, *options, *few, "--out", tmp_path / "report", "--json")
    report = json.loads(done.stdout)
    assert list(report["systems"]) == ["bert:fp32", "distilbert:fp32"]
    assert {each["b"] for each in report["comparisons"]} == {"bert:fp32"}
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Accuracy, time and size" in page
    assert "times as fast" in page
    alone = ("--reader-model", "bert", "--reader-precision", "fp32", "--no-sas", *lengths)
    found = json.loads(qa_eval("reader", *alone, *options, "--json").stdout)
    assert report["systems"]["bert:fp32"]["metrics"] == found["systems"]["reader"]["metrics"]
    assert "Time and size" in qa_eval("benchmark", *readers, *options, *few).stdout


def test_calibrate_on_data_without_splits(qa_eval, sample, tmp_path, caplog):
    labels = [replace(each, split=None) for each in load_dataset(sample).labels_of("dev")]
    write_labels_jsonl(labels, tmp_path / "mine.jsonl")
    done = qa_eval("calibrate", "--dataset", "mine.jsonl", "--json")
    found = json.loads(done.stdout)
    assert found["calibration"]["fitted_on"] == f"mine.jsonl all of it ({len(labels)} questions)"
    assert "mine.jsonl has no splits" in caplog.text
    on_dev = json.loads(qa_eval("calibrate", "--dataset", sample, "--json").stdout)
    assert on_dev["calibration"]["threshold"] == found["calibration"]["threshold"]

    write_labels_jsonl([replace(each, split="train") for each in labels], tmp_path / "mine.jsonl")
    done = qa_eval("calibrate", "--dataset", "mine.jsonl", check=False)
    assert done.returncode == 1
    assert "there is no split 'dev' to fit on" in done.stderr
    assert "qa-eval calibrate --split NAME" in done.stderr


def test_predictions_of_another_system(qa_eval, sample, tmp_path):
    labels = load_dataset(sample).labels_of("dev")
    said = {each.question_id: each.answers[0].text if each.answers else "" for each in labels[1:]}
    (tmp_path / "said.json").write_text(json.dumps(said))
    args = ("reader", "--split", "dev", "--predictions", "said.json", "--no-sas")
    found = json.loads(qa_eval(*args, "--json").stdout)["systems"]["predictions"]
    assert found["counts"]["missing"] == 1
    assert found["metrics"]["em"] == pytest.approx(79 / 80)
    assert found["measures"] == {}
    assert "1 questions have no prediction and score 0" in qa_eval(*args).stdout


@pytest.mark.slow
def test_pipeline_with_its_report(qa_eval, tmp_path):
    args = ("pipeline", "--split", "dev", "--set", "retriever.mode=bm25", "--top-k", 2)
    done = qa_eval(*args, "--out", "run", "--rows", "rows.parquet")
    for said in ("reader alone", "f1@2", "Outcomes: pipeline", "run/report.html"):
        assert said in done.stdout
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    pipeline, alone = (report["systems"][name] for name in ("pipeline", "reader alone"))
    outcomes = pipeline["details"]["outcomes"].values()
    assert sum(each["questions"] for each in outcomes) == 80
    assert sum(each["gap"] for each in outcomes) == pytest.approx(
        alone["metrics"]["f1"] - pipeline["metrics"]["f1"]
    )
    assert len((tmp_path / "run" / "rows.jsonl").read_text().splitlines()) == 160
    assert (tmp_path / "rows.parquet").stat().st_size > 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "<svg" in page
    compared = json.loads(qa_eval("compare", "run:reader alone", "run:pipeline", "--json").stdout)
    assert compared


@pytest.mark.slow
def test_the_scores_written_down_still_hold(qa_eval, root):
    """The regression guard: what every change of the code has to leave as it is, or explain."""
    files = sorted((root / "configs" / "expected").glob("*.yaml"))
    assert len(files) == 4
    done = qa_eval("check", *files, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_surprise_is_told_and_an_update_expects_it(qa_eval, root, tmp_path):
    mine = tmp_path / "mine.yaml"
    text = (root / "configs" / "expected" / "retriever.yaml").read_text()
    text = text.replace("[bm25, dense, hybrid]", "[bm25]").split("counts:")[0]
    mine.write_text(text + "expected: {bm25: {recall@3: 0.9}, random: {recall@3: 0.2282}}\n")
    done = qa_eval("check", mine, check=False)
    assert done.returncode == 1
    assert "bm25 recall@3" in done.stdout
    assert "lower" in done.stdout
    assert "1 number not as expected" in done.stderr
    assert "2 of 3" in done.stdout
    report = json.loads(qa_eval("check", mine, "--json", check=False).stdout)
    assert report["surprises"] == 1
    qa_eval("check", mine, "--update")
    assert qa_eval("check", mine).returncode == 0


def test_help_loads_nothing_heavy(root, tmp_path):
    script = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr))\n"
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
    assert "--scope" in done.stdout
    assert not set(HEAVY) & set(done.stderr.split())


def test_every_command_has_help():
    for command in cli.app.registered_commands:
        assert command.callback is not None
        assert command.callback.__doc__


def test_a_cut_off_beyond_what_users_get_is_warned_of(qa_eval, sample, caplog):
    args = ("retriever", "--dataset", sample, "--split", "test", "--retriever-mode", "bm25")
    args += ("--resamples", 100)
    said = qa_eval(*args, "--k", 1, 20).stdout
    assert "the largest k, 20, is above retriever.top_k, 10" in caplog.text
    assert "MRR and MAP look at the first 20 reviews (the depth)." in said
    assert "Users get 10 documents" in said
    caplog.clear()
    said = qa_eval(*args, "--k", 10).stdout
    assert "the largest k" not in caplog.text
    assert "MRR and MAP look at the first 10 reviews (the depth)." in said
    assert "Users get" not in said
