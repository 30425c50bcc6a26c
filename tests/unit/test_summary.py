import math
import time

import numpy as np
import orjson
import pytest

from eval.runs.run import Row, Run, System
from eval.runs.significance import bootstrap_means, intervals, permutation_p_values
from eval.runs.summary import summarise
from qa_system.errors import EvaluationError


def row(number, scores, cluster=None, **fields):
    return Row(
        question_id=f"q{number}",
        split="test",
        question="How is it?",
        item_id=None,
        review_id="r",
        references=(),
        cluster=f"c{number}" if cluster is None else cluster,
        scores=scores,
        **fields,
    )


def system(f1, *, clusters=None, slices=None, **fields):
    """One score a question; `has_ans_f1` counts where the number of the question is even."""
    rows = [
        row(
            number,
            {"f1": score, "has_ans_f1": None if number % 2 else score},
            None if clusters is None else clusters[number],
            slices={} if slices is None else slices[number],
        )
        for number, score in enumerate(f1)
    ]
    return System(tuple(rows), **fields)


def run(systems, baselines=None, **made_with):
    return Run("reader", "f1", ("f1", "has_ans_f1"), systems, baselines or {}, made_with)


GOOD = [1.0, 0.5, 1.0, 0.0, 0.5, 1.0]
BAD = [0.0, 0.5, 0.5, 0.0, 0.5, 0.0]
CLUSTERS = ["a", "a", "b", "b", "c", "d"]


def test_means_intervals_and_what_came_along():
    details = {"recall_at": {"k": [1]}, "reliability": {}}
    only = system(
        GOOD,
        clusters=CLUSTERS,
        measures={"ece": 0.1},
        counts={"questions": 6},
        details=details,
    )
    summary = summarise(run({"x": only}, {"y": only}, seed=5, command="z"), resamples=400)
    found = summary["systems"]["x"]
    assert found["metrics"] == {"f1": pytest.approx(4 / 6), "has_ans_f1": pytest.approx(2.5 / 3)}
    assert found["questions"] == {"f1": 6, "has_ans_f1": 3}
    expected = intervals(bootstrap_means(only.scores.values, CLUSTERS, resamples=400, seed=5))
    assert found["intervals"]["f1"] == pytest.approx(expected[0])
    assert found["intervals"]["has_ans_f1"] == pytest.approx(expected[1])
    assert found["measures"] == {"ece": 0.1}
    assert found["counts"] == {"questions": 6}
    assert found["details"] == details
    assert found["slices"] == {}
    reference = summary["references"]["y"]
    assert reference["details"] == {"recall_at": {"k": [1]}}
    assert "slices" not in reference
    assert reference["intervals"] == found["intervals"]
    assert summary["kind"] == "reader"
    assert summary["primary"] == "f1"
    assert summary["headline"] == ["f1", "has_ans_f1"]
    assert summary["made_with"] == {"seed": 5, "command": "z"}
    assert summary["comparisons"] == []
    assert summary["resampling"] == {
        "resamples": 400,
        "seed": 5,
        "clusters": 4,
        "confidence": 0.95,
    }


def test_systems_are_compared_question_by_question():
    good, bad = system(GOOD, clusters=CLUSTERS), system(BAD, clusters=CLUSTERS)
    summary = summarise(run({"good": good, "bad": bad}), resamples=500)
    first, second = summary["comparisons"]
    assert (first["a"], first["b"], first["metric"]) == ("good", "bad", "f1")
    assert first["questions"] == 6
    assert first["difference"] == pytest.approx((1.0 + 0.5 + 1.0) / 6)
    differences = np.subtract(GOOD, BAD)[:, None]
    drawn = bootstrap_means(differences, CLUSTERS, resamples=500, seed=13)
    assert first["interval"] == pytest.approx(intervals(drawn)[0])
    # Clusters a, b and d differ, all one way: 2 of 8 assignments of signs are as far from 0.
    assert first["p_permutation"] == 2 / 8 == permutation_p_values(differences, CLUSTERS)[0]
    assert 0 < first["p_bootstrap"] < 1
    assert first["p_holm"] == first["p_permutation"]
    assert (second["metric"], second["questions"]) == ("has_ans_f1", 3)
    assert second["difference"] == pytest.approx(1.5 / 3)


def test_pairs_of_systems_and_bm25_and_no_other_reference():
    systems = {"x": system(GOOD), "y": system(BAD), "z": system(BAD[::-1])}
    references = {"random": system(BAD), "bm25": system(GOOD[::-1])}
    found = summarise(run(systems, references), resamples=50)["comparisons"]
    pairs = [("x", "y"), ("x", "z"), ("y", "z"), ("x", "bm25"), ("y", "bm25"), ("z", "bm25")]
    assert [(each["a"], each["b"]) for each in found if each["metric"] == "f1"] == pairs
    assert len(found) == 2 * len(pairs)


def test_holm_counts_the_pairs_of_a_metric():
    rng = np.random.default_rng(2)
    systems = {
        name: system((rng.random(60) < better).astype(float))
        for name, better in {"x": 0.8, "y": 0.6, "z": 0.5}.items()
    }
    found = summarise(run(systems), resamples=999)["comparisons"]
    for metric in ("f1", "has_ans_f1"):
        own = sorted(
            (each for each in found if each["metric"] == metric),
            key=lambda each: each["p_permutation"],
        )
        assert own[0]["p_holm"] == pytest.approx(min(1, 3 * own[0]["p_permutation"]))
        assert own[-1]["p_holm"] >= own[-1]["p_permutation"]


def test_only_metrics_that_both_have_are_compared():
    short = System(tuple(row(number, {"f1": score}) for number, score in enumerate(BAD)))
    found = summarise(run({"x": system(GOOD), "y": short}), resamples=50)
    assert [each["metric"] for each in found["comparisons"]] == ["f1"]
    assert found["systems"]["y"]["metrics"].keys() == {"f1"}


def test_slices_partition_the_questions_that_count():
    slices = [
        {"domain": "one", "word": word, "length": length, **({"seen": "yes"} if at else {})}
        for at, (word, length) in enumerate(
            [
                ("is", "11+"),
                ("how", "2-3"),
                ("how", "11+"),
                ("how", "2-3"),
                ("is", "1"),
                ("do", "1"),
            ]
        )
    ]
    systems = {
        name: system(scores, slices=slices, clusters=CLUSTERS)
        for name, scores in {"x": GOOD, "y": BAD}.items()
    }
    summary = summarise(run(systems), resamples=200)
    found = summary["systems"]["x"]["slices"]
    # One domain tells nothing apart, nor does a value that some rows have and others do not.
    assert list(found) == ["word", "length"]
    assert list(found["word"]) == ["how", "is", "do"]
    assert list(found["length"]) == ["1", "2-3", "11+"]
    how = found["word"]["how"]
    assert how["questions"] == 3
    assert how["metrics"] == {"f1": pytest.approx(1.5 / 3), "has_ans_f1": 1.0}
    assert how["intervals"]["f1"][0] >= 0
    # Question 5 alone: a single cluster, and none that counts as answerable.
    assert found["word"]["do"] == {
        "questions": 1,
        "metrics": {"f1": 1.0, "has_ans_f1": None},
        "intervals": {"f1": None, "has_ans_f1": None},
    }
    for feature in found.values():
        total = sum(part["questions"] * part["metrics"]["f1"] for part in feature.values())
        assert total == pytest.approx(sum(GOOD))
    assert summary["systems"]["y"]["slices"]["word"]["how"]["metrics"]["f1"] == pytest.approx(1 / 3)


def test_a_slice_that_is_everything_has_the_interval_of_everything():
    slices = [{"word": "how"}] * 5 + [{"word": "is"}]
    scores = [*GOOD[:5], 0.0]
    rows = [
        row(number, {"f1": None if number == 5 else score, "em": score}, slices=slices[number])
        for number, score in enumerate(scores)
    ]
    only = System(tuple(rows))
    found = summarise(Run("reader", "f1", ("f1", "em"), {"x": only}), resamples=200)["systems"]["x"]
    how = found["slices"]["word"]["how"]
    assert how["intervals"]["f1"] == pytest.approx(found["intervals"]["f1"])


def test_questions_that_never_count_are_in_no_slice():
    rows = [
        row(number, {"mrr": score}, slices={"answerable": "no" if score is None else "yes"})
        for number, score in enumerate([1.0, None, 0.5, None])
    ]
    only = Run("retriever", "mrr", ("mrr",), {"x": System(tuple(rows))})
    summary = summarise(only, resamples=50)["systems"]["x"]
    assert summary["slices"] == {}
    assert summary["questions"] == {"mrr": 2}


def test_where_nothing_counts_everything_is_none():
    rows = tuple(row(number, {"f1": None, "has_ans_f1": 1.0}) for number in range(3))
    summary = summarise(run({"x": System(rows), "y": System(rows)}), resamples=50)
    assert summary["systems"]["x"]["metrics"]["f1"] is None
    assert summary["systems"]["x"]["intervals"]["f1"] is None
    assert summary["systems"]["x"]["questions"]["f1"] == 0
    nothing, _ = summary["comparisons"]
    assert nothing["questions"] == 0
    of_numbers = ("difference", "interval", "p_bootstrap", "p_permutation", "p_holm")
    assert [nothing[key] for key in of_numbers] == [None] * 5


def test_no_resamples_are_refused():
    with pytest.raises(EvaluationError, match="0 resamples"):
        summarise(run({"x": system(GOOD)}), resamples=0)


def large_run(questions, clusters, systems, metrics):
    rng = np.random.default_rng(1)
    members = rng.integers(0, clusters, questions)
    kinds = [
        {"word": f"w{a}", "domain": f"d{b}", "length": f"{c}-{c + 1}"}
        for a, b, c in rng.integers(0, 6, (questions, 3))
    ]

    def make():
        scores = rng.random((questions, metrics)).round(2)
        scores[rng.random(questions) < 0.3, 1::2] = math.nan
        return System(
            tuple(
                row(
                    at,
                    {
                        f"m{number}": None if math.isnan(score) else score
                        for number, score in enumerate(scores[at].tolist())
                    },
                    f"c{members[at]}",
                    slices=kinds[at],
                )
                for at in range(questions)
            )
        )

    made = {f"s{number}": make() for number in range(systems)}
    return Run("reader", "m0", ("m0", "m1", "m2"), made, {"bm25": make()})


def test_a_summary_is_json_and_the_same_each_time():
    small = large_run(questions=80, clusters=20, systems=2, metrics=4)
    summary = summarise(small, resamples=200)
    assert orjson.loads(orjson.dumps(summary)) == summary
    assert summarise(small, resamples=200) == summary


@pytest.mark.slow
def test_thousands_of_questions_take_seconds():
    large = large_run(questions=5_000, clusters=2_000, systems=3, metrics=10)
    started = time.process_time()
    summarise(large)
    # Processor time, 3 seconds or so: question by question it would be minutes.
    assert time.process_time() - started < 60
