"""A metric of a package outside the repository: `qa-eval` finds it by its entry point."""

import json
import os
import subprocess
import sys

import pytest

METRICS = '''
from eval.metrics import ANSWERABLE, Metric


def quoted(case):
    """Whether the answer is a part of the gold review."""
    return float(case.output["prediction"] in case.label.context)


metrics = (
    Metric(
        name="quoted",
        label="quoted",
        meaning="1 if the gold review contains the answer, else 0.",
        source="this package",
        tasks=("reader",),
        score=quoted,
    ),
    Metric(
        name="last_gold@k",
        label="last gold review@k",
        meaning="1 if all gold reviews are among the first k, else 0.",
        source="this package",
        tasks=("retriever",),
        over=ANSWERABLE,
        score=lambda case: float(set(case.output["gold"]) <= set(case.output["ranked"][: case.k])),
    ),
)
'''


@pytest.fixture
def package(tmp_path):
    """A folder that looks as if pip had installed a package there."""
    site = tmp_path / "site"
    about = site / "shop_metrics-1.0.dist-info"
    about.mkdir(parents=True)
    (site / "shop_metrics.py").write_text(METRICS)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: shop-metrics\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[qa_system.metrics]\nshop = shop_metrics:metrics\n")
    return site


@pytest.fixture
def qa_eval(tmp_path, root, package):
    path = os.pathsep.join((str(package), str(root)))

    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", "eval.cli", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": path},
            check=False,
        )

    return run


@pytest.fixture
def answers(tmp_path, sample):
    from eval.datasets import load_labels

    said = {label.question_id: "" for label in load_labels(sample, "dev")}
    first = next(iter(said))
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({**said, first: "no such words"}))
    return len(said), ("reader", "--dataset", sample, "--split", "dev", "--predictions", path)


def test_it_is_scored_and_shown_by_the_command(qa_eval, answers, tmp_path):
    asked, command = answers
    done = qa_eval(*command, "--no-sas", "--resamples", 100, "--out", tmp_path / "run", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["headline"][-1] == "quoted"
    # Abstaining quotes nothing, and the empty text is a part of any.
    assert report["systems"]["predictions"]["metrics"]["quoted"] == pytest.approx(1 - 1 / asked)
    assert report["references"]["always_empty"]["metrics"]["quoted"] == 1
    rows = [json.loads(line) for line in (tmp_path / "run" / "rows.jsonl").open()]
    assert sum(row["scores"]["quoted"] for row in rows) == asked - 1
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "1 if the gold review contains the answer, else 0." in page


def test_a_run_is_read_without_the_package(qa_eval, answers, tmp_path, package):
    _, command = answers
    for name in ("before", "after"):
        done = qa_eval(*command, "--no-sas", "--resamples", 100, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
    for path in package.glob("*/*"):
        path.unlink()
    done = qa_eval("compare", "before", "after", "--resamples", 100, "--metric", "quoted")
    assert done.returncode == 0, done.stderr
    assert "quoted lost: 0 questions" in done.stdout


def test_a_cut_off_metric_of_retrievers(qa_eval, sample):
    command = ("retriever", "--dataset", sample, "--split", "dev", "--retriever", "bm25", "--json")
    done = qa_eval(*command, "--k", 1, 3, "--resamples", 100)
    assert done.returncode == 0, done.stderr
    metrics = json.loads(done.stdout)["systems"]["bm25"]["metrics"]
    # Every question of the sample has one gold review.
    for k in (1, 3):
        assert metrics[f"last_gold@{k}"] == metrics[f"recall@{k}"]


def test_a_broken_package_is_named(qa_eval, answers, package):
    (package / "shop_metrics.py").write_text("import nowhere")
    done = qa_eval(*answers[1], "--no-sas")
    assert done.returncode == 2
    assert "shop = shop_metrics:metrics" in done.stderr
    assert "No module named 'nowhere'" in done.stderr
    assert qa_eval("--help").returncode == 0
