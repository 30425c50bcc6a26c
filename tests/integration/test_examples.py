"""Every example runs, on the sample, and shows what it is there to show."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from shell import BASH, run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NOTEBOOK = json.loads((EXAMPLES / "quickstart.ipynb").read_text(encoding="utf-8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Runs a command in a folder as `make demo` leaves it."""
    folder = tmp_path_factory.mktemp("demo")
    for name in ("configs", "data", "examples"):
        (folder / name).symlink_to(ROOT / name)
    run(folder, *BASH, "qa-index run configs/sample.yaml")
    return lambda command, **environ: run(folder, *BASH, command, **environ)


def test_a_product_page(demo: Callable[..., str]) -> None:
    said = demo("python examples/product_page.py configs/sample.yaml")
    assert re.search(r"\d of \d+ reviews speak of it\.\n  █+ +\d: ", said)
    assert "zip" in said.replace("How is the zipper?", "").lower()
    assert "The reviews don't say (" in said


def test_a_pipeline_puts_newer_reviews_first(demo: Callable[..., str]) -> None:
    said = demo("python examples/own_pipeline.py")
    assert re.search(r"\d+%  .*hood.*\(20\d\d-\d\d-\d\d\)", said)
    assert re.search(r"score \d+%, threshold \d+%", said)


def test_embeddings_in_a_store_of_haystacks(demo: Callable[..., str]) -> None:
    assert re.fullmatch(r" *\d+%  .*ten hours\n", demo("python examples/own_embeddings.py"))


def test_a_retriever_adds_the_newest_reviews(demo: Callable[..., str]) -> None:
    said = demo("python examples/own_retriever.py")
    assert re.search(r"\d+%  .*\(2026-02-09\)", said)  # the item's newest review


def test_a_source_becomes_a_store(demo: Callable[..., str], tmp_path: Path) -> None:
    for item, review, text in (
        ("lamp", "r1", "5\nBright enough for reading.\nAnd it is quiet."),
        ("lamp", "r2", "1\nBroke after a week."),
        ("tent", "r3", "3\nSleeps two."),
    ):
        (tmp_path / item).mkdir(exist_ok=True)
        (tmp_path / item / f"{review}.txt").write_text(text)
    report = json.loads(
        demo(
            'python examples/own_source.py "$REVIEWS"'
            " | qa-index run --source - --no-embed --store own --json",
            REVIEWS=str(tmp_path),
        )
    )
    assert (report["read"], report["written"], report["rejected"]) == (3, 3, 0)
    answers = json.loads(
        demo(
            'qa ask "Is it bright enough for reading?" --item lamp --store own'
            " --set retriever.mode=bm25 --json"
        )
    )
    assert answers["answers"][0]["review_id"] == "r1"
    assert answers["answers"][0]["meta"]["stars"] == 5


def test_a_metric_is_in_the_report(demo: Callable[..., str], sample: Path, tmp_path: Path) -> None:
    with (sample / "test.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    right = {row["q_review_id"]: "" for row in rows}
    right |= {
        row["q_review_id"]: row["human_ans_spans"]
        for row in rows
        if row["human_ans_spans"] != "ANSWERNOTFOUND"
    }
    wordy = {}
    for question, span in right.items():
        others = [f"word{number}" for number, _ in enumerate(set(span.lower().split()))]
        wordy[question] = " ".join([span, *others])
    for said, expected in ((right, 1.0), (wordy, 0.5)):
        (tmp_path / "said.json").write_text(json.dumps(said), encoding="utf-8")
        report = json.loads(
            demo(
                "python examples/own_metric.py reader --dataset data/sample --no-sas"
                ' --predictions "$SAID" --json',
                SAID=str(tmp_path / "said.json"),
            )
        )
        assert report["systems"]["predictions"]["metrics"]["jaccard"] == pytest.approx(expected)


def test_the_notebook_runs(demo: Callable[..., str]) -> None:
    lines = ["import subprocess"]
    for line in "\n".join("".join(cell["source"]) for cell in CODE).splitlines():
        shell = line.removeprefix("!")
        lines.append(
            line if shell == line else f"subprocess.run({shell!r}, shell=True, check=True)"
        )
    said = demo('python -c "$NOTEBOOK"', NOTEBOOK="\n".join(lines))
    assert re.search(r"\d+%  .*\(review \w+\)", said)
    assert "The reviews don't say (" in said
    assert "recall@1" in said


def test_the_notebook_holds_no_outputs() -> None:
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
    for cell in CODE:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


def test_every_example_is_listed_and_tested() -> None:
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    here = Path(__file__).parent
    tests = "".join(
        (here / name).read_text(encoding="utf-8")
        for name in ("test_examples.py", "test_examples_serving.py")
    )
    for file in [*EXAMPLES.glob("*.py"), *EXAMPLES.glob("*.ipynb")]:
        assert f"[{file.name}]({file.name})" in listed
        assert file.name in tests
