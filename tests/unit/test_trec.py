"""TREC files: by hand, and as trec_eval's own reader and ir_measures take them."""

import json
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from typer.testing import CliRunner

from eval.cli import app
from eval.runs.run import Row, Run, System
from eval.runs.trec import check_trec_folder, trec_files
from qa_system.errors import DataError


def row(question: str, ranked: list[str], gold: list[str], **more: Any) -> Row:
    split = more.pop("split", "test")
    output = {"ranked": ranked, "gold": gold, **more}
    return Row(question, split, "Loud?", "lamp", gold[0], ("a",), "lamp", {"mrr": 0.0}, output)


def run_of(**systems: list[Row]) -> Run:
    return Run(
        "retriever", "mrr", ("mrr",), {name: System(tuple(r)) for name, r in systems.items()}
    )


def contents(run: Run) -> dict[str, str]:
    return {path.name: text.decode() for path, text in trec_files(run, Path("x")).items()}


def test_the_files_by_hand() -> None:
    bm25 = [row("q1", ["r2", "r1"], ["r1", "r 9"], scores=[2.5, 0.125]), row("q2", [], ["r3"])]
    dense = [row("q1", ["r1", "r2"], ["r1", "r 9"]), row("q2", ["r3"], ["r3"], scores=[0.5])]
    assert contents(run_of(bm25=bm25, dense=dense)) == {
        "qrels.txt": "q1 0 r1 1\nq1 0 r%209 1\nq2 0 r3 1\n",
        "bm25.run": "q1 Q0 r2 1 2.5 bm25\nq1 Q0 r1 2 0.125 bm25\n",
        "dense.run": "q1 Q0 r1 1 2.0 dense\nq1 Q0 r2 2 1.0 dense\nq2 Q0 r3 1 0.5 dense\n",
    }


def test_a_question_of_two_splits_is_two_questions() -> None:
    rows = [row("q1", [], ["r1"], split=split) for split in ("dev", "test")]
    assert contents(run_of(bm25=rows))["qrels.txt"] == "dev:q1 0 r1 1\ntest:q1 0 r1 1\n"


@pytest.mark.parametrize("scores", [[1.0, 2.0], [1.0, None]])
def test_scores_that_do_not_tell_the_order_are_replaced(scores: list[float | None]) -> None:
    said = contents(run_of(bm25=[row("q1", ["a", "b"], ["a"], scores=scores)]))["bm25.run"]
    assert said == "q1 Q0 a 1 2.0 bm25\nq1 Q0 b 2 1.0 bm25\n"


def test_files_that_are_there_are_not_replaced(tmp_path: Path) -> None:
    check_trec_folder(tmp_path / "new" / "folder", ["bm25"])
    (tmp_path / "dense.run").write_text("mine")
    check_trec_folder(tmp_path, ["bm25"])
    with pytest.raises(DataError, match=r"dense\.run"):
        check_trec_folder(tmp_path, ["bm25", "dense"])


IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
RANKINGS = st.lists(IDS, unique=True, min_size=1, max_size=12)


@given(st.dictionaries(IDS, RANKINGS, min_size=1, max_size=5), st.data())
def test_other_programs_read_what_was_ranked(rankings: dict[str, list[str]], data: Any) -> None:
    pytrec_eval = pytest.importorskip("pytrec_eval")
    ir_measures = pytest.importorskip("ir_measures")
    rows = [
        row(name, ranked, sorted(data.draw(st.sets(st.sampled_from(ranked), min_size=1))))
        for name, ranked in rankings.items()
    ]
    said = contents(run_of(bm25=rows))
    read = pytrec_eval.parse_run(said["bm25.run"].splitlines(keepends=True))
    judged = pytrec_eval.parse_qrel(said["qrels.txt"].splitlines(keepends=True))
    assert [len(each) for each in read.values()] == [len(each) for each in rankings.values()]
    assert [len(each) for each in judged.values()] == [len(each.output["gold"]) for each in rows]
    found = ir_measures.calc_aggregate(
        [ir_measures.RR],
        [*ir_measures.read_trec_qrels(said["qrels.txt"])],
        [*ir_measures.read_trec_run(said["bm25.run"])],
    )[ir_measures.RR]
    ours = [
        1 / next(n for n, each in enumerate(r.output["ranked"], 1) if each in r.output["gold"])
        for r in rows
    ]
    assert found == pytest.approx(sum(ours) / len(ours))


@pytest.mark.slow
def test_an_evaluation_writes_what_scores_as_it_says(tmp_path: Path) -> None:
    ir_measures = pytest.importorskip("ir_measures")
    arguments = [
        *("retriever", "--dataset", "bundled:sample", "--retriever-mode", "dense", "--k", "3"),
        *("--resamples", "1000", "--trec", str(tmp_path / "trec"), "--json"),
    ]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    said = json.loads(done.stdout)["systems"]["dense"]["metrics"]
    found = ir_measures.calc_aggregate(
        [ir_measures.RR, ir_measures.R @ 3, ir_measures.nDCG @ 3],
        [*ir_measures.read_trec_qrels(str(tmp_path / "trec" / "qrels.txt"))],
        [*ir_measures.read_trec_run(str(tmp_path / "trec" / "dense.run"))],
    )
    assert {str(name): value for name, value in found.items()} == pytest.approx(
        {"RR": said["mrr"], "R@3": said["recall@3"], "nDCG@3": said["ndcg@3"]}
    )
    with pytest.raises(DataError, match=r"qrels\.txt"):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
