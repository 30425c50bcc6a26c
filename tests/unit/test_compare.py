"""Runs side by side: differences by hand, flips, pairing, and what is refused."""

import json
import shutil
from dataclasses import replace

import pytest

from eval.report.comparison import print_comparison
from eval.report.folder import save_run
from eval.runs.compare import compare_runs
from eval.runs.run import Row, Run, System
from eval.runs.storage import REPORT, ROWS
from eval.runs.summary import summarise
from qa_system.errors import DataError, EvaluationError


def reader_run(scores, name="reader", data="d", **made_with):
    """A run of questions with these EM scores; F1 is one half where EM is 0."""
    rows = tuple(
        Row(
            question_id=f"q{at}",
            split="test",
            question=f"Question {at}?",
            item_id=f"item{at}",
            review_id=f"r{at}",
            references=(f"answer {at}",),
            cluster=f"item{at}",
            scores={"em": score, "f1": 1.0 if score else 0.5},
            output={
                "prediction": f"answer {at}" if score else "[red]wrong",
                "confidence": at / 100,
            },
            slices={"kind": "even" if at % 2 == 0 else "odd"},
        )
        for at, score in enumerate(scores)
    )
    made = {"data": {"sha256": data, "split": "test"}, "seed": 13, **made_with}
    return Run("reader", "f1", ("em", "f1"), {name: System(rows)}, made_with=made)


@pytest.fixture
def save(tmp_path, monkeypatch):
    # What compare reads are rows and report; pages have tests of their own.
    monkeypatch.setattr("eval.report.folder.run_page", lambda run, summary, texts: "")

    def save(name, run):
        save_run(run, summarise(run, resamples=100), tmp_path / name)
        return str(tmp_path / name)

    return save


def test_differences_are_those_of_the_scores(save):
    before = save("before", reader_run([1.0] * 10 + [0.0] * 30, reader={"model": "old"}))
    after = save("after", reader_run([0.0] * 2 + [1.0] * 28 + [0.0] * 10, reader={"model": "new"}))
    found = compare_runs([before, after], resamples=2000)
    assert found["questions"] == {
        "compared": 40,
        "left_out": {"before": 0, "after": 0},
        "changed": {"after": 0},
    }
    assert (found["metric"], found["flips_by"]) == ("f1", "em")
    (pair,) = found["pairs"]
    assert (pair["a"], pair["b"], pair["gained"], pair["lost"]) == ("after", "before", 20, 2)
    em, f1 = pair["comparisons"]
    assert em["metric"] == "em"
    assert em["means"] == [28 / 40, 10 / 40]
    assert em["difference"] == pytest.approx(18 / 40)
    assert em["interval"][0] < 18 / 40 < em["interval"][1]
    assert em["p_permutation"] == em["p_holm"] < 0.001
    assert f1["difference"] == pytest.approx(9 / 40)
    assert len(pair["flips"]) == 22
    # The flip on which the one that is wrong was surest of itself comes first.
    assert pair["flips"][0]["question_id"] == "q29"
    assert pair["flips"][0]["change"] == 1
    assert pair["flips"][0]["before"]["output"]["prediction"] == "[red]wrong"
    assert pair["flips"][0]["after"]["output"]["prediction"] == "answer 29"
    assert {part["value"]: part["questions"] for part in pair["slices"]} == {"even": 20, "odd": 20}
    assert found["made_with"] == [{"name": "reader.model", "values": ["old", "new"]}]


def test_it_agrees_with_the_summary_of_both(save):
    one, two = ([float(at % n == 0) for at in range(60)] for n in (2, 3))
    found = compare_runs([save("b", reader_run(two)), save("a", reader_run(one))], resamples=500)
    both = Run(
        "reader",
        "f1",
        ("em", "f1"),
        {name: reader_run(s).systems["reader"] for name, s in (("a", one), ("b", two))},
    )
    said = summarise(both, resamples=500)["comparisons"]
    for ours, theirs in zip(found["pairs"][0]["comparisons"], said, strict=True):
        assert ours["metric"] == theirs["metric"]
        assert ours["difference"] == pytest.approx(theirs["difference"])
        # Rows come back in another order, which draws other samples.
        assert ours["interval"] == pytest.approx(theirs["interval"], abs=0.05)
        assert ours["p_permutation"] == pytest.approx(theirs["p_permutation"], abs=0.05)


def test_two_others_are_corrected_for_two_comparisons(save):
    base = save("base", reader_run([0.0] * 20))
    better = save("better", reader_run([1.0] * 8 + [0.0] * 12))
    same = save("same", reader_run([0.0] * 20))
    first, second = compare_runs([base, better, same], resamples=500)["pairs"]
    (em, _), (flat, _) = first["comparisons"], second["comparisons"]
    assert em["p_permutation"] == 2 / 2**8
    assert em["p_holm"] == pytest.approx(2 * em["p_permutation"])
    assert flat["p_holm"] == flat["p_permutation"] == 1
    assert second["flips"] == []


def test_a_metric_may_be_chosen(save):
    runs = [save("b", reader_run([0.0, 1.0])), save("a", reader_run([1.0, 1.0]))]
    found = compare_runs(runs, metric="f1", resamples=100)
    assert (found["metric"], found["flips_by"]) == ("f1", "f1")
    assert [flip["change"] for flip in found["pairs"][0]["flips"]] == [0.5]
    with pytest.raises(EvaluationError, match=r"no metric 'mrr' in common.*em, f1"):
        compare_runs(runs, metric="mrr")


def test_retrievers_flip_where_the_gold_review_leaves_the_first_three(made_up_run, save):
    runs = [
        save(str(seed), made_up_run("retriever", ("ours",), questions=100, seed=seed))
        for seed in (1, 2)
    ]
    found = compare_runs(runs, resamples=100)
    assert found["flips_by"] == "recall@3"
    for flip in found["pairs"][0]["flips"]:
        ranks = [flip[side]["output"]["answer_rank"] or 99 for side in ("before", "after")]
        assert (ranks[0] <= 3) != (ranks[1] <= 3)
        assert (flip["change"] > 0) == (ranks[1] <= 3)
    steps = [
        abs(f["after"]["scores"]["mrr"] - f["before"]["scores"]["mrr"])
        for f in found["pairs"][0]["flips"]
    ]
    assert steps == sorted(steps, reverse=True)


@pytest.fixture
def several(made_up_run, save):
    for name, systems in (("one", ("bm25", "dense")), ("two", ("dense", "hybrid"))):
        save(name, made_up_run("retriever", systems, questions=30))
    return save("three", made_up_run("retriever", ("other",), questions=30)).removesuffix("three")


def test_systems_of_one_name_are_paired(several):
    found = compare_runs([several + "one", several + "two"], resamples=100)
    assert [(p["a"], p["b"]) for p in found["pairs"]] == [("two", "one")]
    found = compare_runs([several + "one:bm25", several + "one:dense"], resamples=100)
    assert [(p["a"], p["b"]) for p in found["pairs"]] == [("one:dense", "one:bm25")]
    found = compare_runs([several + "one:bm25", several + "three"], resamples=100)
    assert [(p["a"], p["b"]) for p in found["pairs"]] == [("three", "one:bm25")]


def test_systems_that_cannot_be_paired_are_named(several):
    with pytest.raises(EvaluationError, match=r"same name.*bm25, dense; other.*FOLDER:SYSTEM"):
        compare_runs([several + "one", several + "three"])
    with pytest.raises(EvaluationError, match=r"no system 'sparse'.*bm25, dense"):
        compare_runs([several + "one:sparse", several + "two"])
    with pytest.raises(EvaluationError, match="named twice"):
        compare_runs([several + "one", several + "one"])
    with pytest.raises(EvaluationError, match="nothing to be compared with"):
        compare_runs([several + "one"])
    with pytest.raises(DataError, match="there is no run"):
        compare_runs([several + "one", several + "none"])


def test_a_folder_may_have_a_colon_in_its_name(save):
    runs = [save("b:1", reader_run([0.0, 1.0])), save("a:1", reader_run([1.0, 1.0]))]
    assert compare_runs(runs, resamples=100)["pairs"][0]["b"] == "b:1"


def test_other_data_is_refused_unless_common_questions_do(save):
    before = reader_run([1.0] * 10, data="d1")
    rows = list(reader_run([0.0] * 12, data="d2").systems["reader"].rows)[2:]
    rows[0] = replace(rows[0], references=("something else",))
    after = replace(reader_run([1.0], data="d2"), systems={"reader": System(tuple(rows))})
    runs = [save("before", before), save("after", after)]
    with pytest.raises(EvaluationError, match=r"different data or questions.*--common"):
        compare_runs(runs)
    found = compare_runs(runs, common=True, resamples=100)
    # q0 and q1 stand in one run, q10 and q11 in the other, q2 has other answers.
    assert found["questions"] == {
        "compared": 7,
        "left_out": {"before": 3, "after": 3},
        "changed": {"after": 1},
    }
    assert found["pairs"][0]["lost"] == 7


def test_the_same_data_with_other_questions_is_refused_too(save):
    runs = [save("before", reader_run([1.0] * 3)), save("after", reader_run([1.0] * 4))]
    with pytest.raises(EvaluationError, match="--common"):
        compare_runs(runs)
    assert compare_runs(runs, common=True, resamples=100)["questions"]["compared"] == 3


def test_nothing_in_common(save, made_up_run):
    readers = save("reader", reader_run([1.0] * 3))
    others = save("other", made_up_run("retriever", questions=3))
    with pytest.raises(EvaluationError, match="no question in common"):
        compare_runs([readers, others], common=True)
    retriever = save("r", made_up_run("retriever", questions=5))
    reader = save("e", made_up_run("reader", questions=5))
    with pytest.raises(EvaluationError, match="no metric in common"):
        compare_runs([retriever, reader])


def test_folders_of_one_name_are_told_apart(save):
    runs = [save("x/run", reader_run([0.0, 1.0])), save("y/run", reader_run([1.0, 1.0]))]
    (pair,) = compare_runs(runs, resamples=100)["pairs"]
    assert (pair["b"], pair["a"]) == tuple(runs)


def test_the_terminal_shows_strangers_words_as_they_are(save, capsys):
    rows = reader_run([1.0, 0.0, 0.0]).systems["reader"].rows
    nasty = replace(rows[0], question="[bold]Is\x1b[2J it [/]?")
    runs = []
    for name, scores in (("before", [1.0, 0.0, 0.0]), ("after", [0.0, 0.0, 1.0])):
        run = reader_run(scores)
        system = run.systems["reader"]
        own = replace(system.rows[0], question=nasty.question)
        runs.append(save(name, replace(run, systems={"reader": System((own, *system.rows[1:]))})))
    print_comparison(compare_runs(runs, resamples=100), most=5)
    said = capsys.readouterr().out
    assert "\x1b[2J" not in said
    assert "[bold]Is [2J it [/]?" in said
    assert "[red]wrong" in said
    for words in ("EM lost: 1 question", "EM gained: 1 question", "No significant difference"):
        assert words in said


def test_the_page_of_a_comparison(save):
    from eval.report.page import comparison_page

    runs = [save("<i>b", reader_run([0.0, 1.0])), save("a", reader_run([1.0, 1.0]))]
    page = comparison_page(compare_runs(runs, resamples=100))
    assert "&lt;i&gt;b" in page
    assert "<i>b" not in page
    assert "1 gained, 0 lost" in page


def test_a_damaged_run_is_not_compared(save, tmp_path):
    before = save("before", reader_run([1.0] * 3))
    shutil.copytree(before, tmp_path / "after")
    (tmp_path / "after" / ROWS).write_text("")
    with pytest.raises(DataError, match="0 rows"):
        compare_runs([before, str(tmp_path / "after")])
    (tmp_path / "after" / REPORT).write_text("{")
    with pytest.raises(DataError, match="damaged"):
        compare_runs([before, str(tmp_path / "after")])


def test_the_command(save, tmp_path, capsys, monkeypatch):
    from eval import cli

    runs = [save("before", reader_run([0.0, 1.0])), save("after", reader_run([1.0, 1.0]))]

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["qa-eval", "compare", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    code, out, _ = call(*runs, "--resamples", "100", "--json", "--out", str(tmp_path / "p.html"))
    assert code == 0
    assert json.loads(out)["pairs"][0]["gained"] == 1
    assert "What changed" in (tmp_path / "p.html").read_text(encoding="utf-8")
    code, out, _ = call(*runs, "--resamples", "100", "--most", "0")
    assert (code, "EM gained: 1 question" in out) == (0, True)
    code, _, err = call(runs[0], "--resamples", "100")
    assert (code, "nothing to be compared with" in err) == (1, True)
    code, _, err = call(*runs, "--out", str(tmp_path / "p.pdf"))
    assert (code, ".html" in err) == (1, True)


@pytest.fixture
def at_depth(made_up_run, save):
    def at_depth(name, depth, seed=1):
        run = made_up_run("retriever", ("ours",), questions=60, seed=seed)
        ours = run.systems["ours"]
        counted = replace(ours, counts={**ours.counts, "depth": depth})
        return save(name, replace(run, primary="mrr", systems={"ours": counted}))

    return at_depth


def test_runs_of_different_depths_are_compared_without_mrr(at_depth, capsys):
    from eval.report.page import comparison_page

    found = compare_runs([at_depth("b", 10), at_depth("a", 20, seed=2)], resamples=100)
    assert (found["depths"], found["not_compared"]) == ({"b": 10, "a": 20}, ["mrr"])
    compared = [each["metric"] for each in found["pairs"][0]["comparisons"]]
    assert compared == ["recall@1", "recall@3", "recall@10"]
    assert (found["metric"], found["flips_by"]) == ("recall@3", "recall@3")
    print_comparison(found)
    said = "Not compared: MRR. They depend on the depth, which is 10 in b, 20 in a."
    assert said in " ".join(capsys.readouterr().out.split())
    assert said in comparison_page(found)


def test_runs_of_one_depth_are_compared_by_mrr(at_depth, capsys):
    found = compare_runs([at_depth("b", 10), at_depth("a", 10, seed=2)], resamples=100)
    assert (found["depths"], found["not_compared"], found["metric"]) == ({}, [], "mrr")
    print_comparison(found)
    assert "Not compared" not in capsys.readouterr().out


def test_mrr_of_different_depths_cannot_be_asked_for(at_depth):
    runs = [at_depth("b", 10), at_depth("a", 20)]
    with pytest.raises(EvaluationError, match=r"MRR.*10 in b, 20 in a.*largest k"):
        compare_runs(runs, metric="mrr")
