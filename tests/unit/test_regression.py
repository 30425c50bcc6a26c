import shutil
from dataclasses import replace

import pytest

from eval.regression import changed_models, check, load_expectation, updated, write
from eval.runs.run import Row, Run, System
from qa_system.errors import ConfigError, DataError
from qa_system.records import Label

FILE = """\
# Head of the file.
evaluate: reader
dataset: bundled:sample
options: {similarity: false}
tolerance: 0.05
data: abc
models: {reader: '77'}
counts:
  mine: {questions: 2}
expected:
  mine: {em: 0.5, ece: 0.1, no_ans_em: null}
  human: {em: 0.9}
"""


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "expected.yaml"
    path.write_text(FILE)
    return path


def system(*scores, ece=0.1):
    labels = [Label(f"q{at}", "?", None, "r", "x", ()) for at in range(len(scores))]
    rows = [
        Row.of(each, {"em": score, "no_ans_em": None}, {})
        for each, score in zip(labels, scores, strict=True)
    ]
    return System(tuple(rows), measures={"ece": ece}, counts={"questions": len(scores)})


def run(mine, human):
    made = {"data": {"sha256": "abc"}, "models": {"reader": {"sha256": "77"}}}
    return Run("reader", "em", ("em",), {"mine": mine}, {"human": human}, made)


def verdicts(checked):
    return {each.name: each.verdict for each in checked}


def test_as_expected_within_the_tolerance(path):
    found = check(load_expectation(path), run(system(1, 0, ece=0.149), system(0.95, 0.95)))
    assert verdicts(found) == dict.fromkeys(
        ("mine em", "mine ece", "mine no_ans_em", "human em", "mine questions", "data"),
        "as expected",
    )


def test_a_rise_is_a_surprise_like_a_fall(path):
    found = verdicts(check(load_expectation(path), run(system(1, 0.11, ece=0.2), system(0.8, 0.8))))
    assert found["mine em"] == found["mine ece"] == "higher"
    assert found["human em"] == "lower"


def test_what_is_not_there_any_more(path):
    lonely = replace(run(system(1, 0), system(0, 0)), baselines={})
    assert verdicts(check(load_expectation(path), lonely))["human em"] == "gone"


def test_counts_and_data_have_no_tolerance(path):
    other = run(system(1, 0.5, 0), system(0.9, 0.9, 0.9))
    other = replace(other, made_with={**other.made_with, "data": {"sha256": "abd"}})
    found = check(load_expectation(path), other)
    assert verdicts(found)["mine questions"] == verdicts(found)["data"] == "changed"
    assert verdicts(found)["mine em"] == "as expected"


def test_models_are_told_but_not_judged(path):
    same = run(system(1, 0), system(0.9, 0.9))
    other = replace(same, made_with={**same.made_with, "models": {"reader": {"sha256": "78"}}})
    assert changed_models(load_expectation(path), same) == []
    assert changed_models(load_expectation(path), other) == ["reader"]
    assert "reader" not in str(verdicts(check(load_expectation(path), other)))


def test_an_update_expects_what_was_measured_and_keeps_the_head(path):
    measured = run(system(1, 1, 0, ece=0.3), system(0.9, 0.9, 0.9))
    write(updated(load_expectation(path), measured), path)
    assert path.read_text().startswith("# Head of the file.\nevaluate: reader\n")
    again = load_expectation(path)
    assert again.expected["mine"] == {"em": 0.6667, "ece": 0.3, "no_ans_em": None}
    assert again.tolerance == 0.05
    assert again.options.similarity is False
    assert set(verdicts(check(again, measured)).values()) == {"as expected"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("evaluate: reader", "evaluate: writer"), "evaluate: must be"),
        (("tolerance: 0.05", "tolerence: 0.05"), "tolerence: no such key"),
        (("tolerance: 0.05", "tolerance: -1"), "tolerance: must be"),
        (("similarity: false", "ks: [1]"), "ks: no option of a reader"),
        (("evaluate: reader", "evaluate: [reader"), "it is no YAML"),
        (("expected:", "hoped:"), "expected: is missing"),
    ],
)
def test_errors_are_named(path, change, message):
    path.write_text(FILE.replace(*change))
    with pytest.raises(ConfigError, match=message):
        load_expectation(path)


def test_no_file(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_expectation(tmp_path / "none.yaml")


def test_nowhere_to_write(path, tmp_path):
    expectation = load_expectation(path)
    shutil.rmtree(tmp_path)
    with pytest.raises(DataError, match="cannot be written"):
        write(expectation, path)
