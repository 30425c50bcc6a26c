"""A saved run comes back as it was, or is refused by name."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, replace

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.report.folder import check_places, save_run
from eval.report.page import run_page
from eval.report.summary import print_summary
from eval.runs.run import Row, Run, System
from eval.runs.storage import load_run, write_files, write_rows
from eval.runs.summary import summarise
from qa_system.errors import DataError, EvaluationError, MissingDependencyError

SCORE = st.none() | st.floats(0, 1)
TEXT = st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def runs(draw):
    keys = draw(st.lists(st.tuples(st.none() | TEXT, TEXT), min_size=1, max_size=4, unique=True))
    metrics = draw(st.lists(st.sampled_from(["em", "f1", "mrr"]), min_size=1, unique=True))

    def system():
        return System(
            tuple(
                Row(
                    question_id=question_id,
                    split=split,
                    question=draw(TEXT),
                    item_id=draw(st.none() | TEXT),
                    review_id=draw(TEXT),
                    references=tuple(draw(st.lists(TEXT, max_size=2))),
                    cluster=draw(TEXT),
                    scores={metric: draw(SCORE) for metric in metrics},
                    output={
                        **draw(st.dictionaries(TEXT, JSON, max_size=2)),
                        "confidence": draw(st.none() | st.floats(0, 1)),
                    },
                    slices=draw(st.dictionaries(TEXT, TEXT, max_size=2)),
                    error=draw(st.none() | TEXT),
                )
                for split, question_id in keys
            ),
            counts={"questions": len(keys)},
        )

    names = draw(st.lists(TEXT, min_size=1, max_size=2, unique=True))
    return Run("reader", metrics[0], tuple(metrics), {name: system() for name in names})


def by_key(run):
    return {name: {row.key: row for row in each.rows} for name, each in run.systems.items()}


@settings(max_examples=12)
@given(run=runs())
def test_what_was_saved_comes_back(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    summary = summarise(run, resamples=100)
    save_run(run, summary, folder)
    again, read = load_run(folder)
    assert read == json.loads(orjson.dumps(summary))
    assert by_key(again) == by_key(run)
    assert (again.kind, again.primary, again.headline) == (run.kind, run.primary, run.headline)
    assert {path.name for path in folder.iterdir()} == {"report.json", "rows.jsonl", "report.html"}
    before = (folder / "rows.jsonl").read_bytes()
    save_run(again, read, folder)
    assert (folder / "rows.jsonl").read_bytes() == before


@pytest.fixture(scope="module")
def run(made_up_run):
    return made_up_run("pipeline", ("ours", "theirs"), questions=30)


@pytest.fixture(scope="module")
def pristine(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pristine") / "run"
    save_run(run, summarise(run, resamples=100), folder)
    return folder


@pytest.fixture
def folder(pristine, tmp_path):
    return shutil.copytree(pristine, tmp_path / "run")


def test_the_hardest_questions_come_first(folder, run):
    lines = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert len(lines) == 60
    hardness = [lines[at]["scores"]["f1"] + lines[at + 1]["scores"]["f1"] for at in range(0, 60, 2)]
    assert hardness == sorted(hardness)
    assert [line["system"] for line in lines[:2]] == ["ours", "theirs"]


def lines_of(folder):
    return (folder / "rows.jsonl").read_bytes().splitlines(keepends=True)


def with_rows(change):
    def damage(folder):
        (folder / "rows.jsonl").write_bytes(b"".join(change(lines_of(folder))))

    return damage


def with_report(change):
    def damage(folder):
        path = folder / "report.json"
        path.write_bytes(orjson.dumps(change(orjson.loads(path.read_bytes()))))

    return damage


def edited(line, **fields):
    return orjson.dumps({**orjson.loads(line), **fields}) + b"\n"


DAMAGES = {
    "no report": (lambda f: (f / "report.json").unlink(), DataError, "report.json is missing"),
    "half a report": (
        lambda f: (f / "report.json").write_bytes((f / "report.json").read_bytes()[:99]),
        DataError,
        "report.json is damaged",
    ),
    "a report of nothing": (with_report(lambda r: {"kind": "reader"}), DataError, "damaged"),
    "a report that is a list": (with_report(lambda r: [r]), DataError, "damaged"),
    "a system without numbers": (
        with_report(lambda r: {**r, "systems": {"ours": {}, "theirs": {}}}),
        DataError,
        "lacks its numbers",
    ),
    "no rows": (lambda f: (f / "rows.jsonl").unlink(), DataError, "rows.jsonl is missing"),
    "empty rows": (with_rows(lambda lines: []), DataError, "0 rows, and the report counts 60"),
    "a row torn": (with_rows(lambda ls: [*ls[:-1], ls[-1][:20]]), DataError, "line 60"),
    "a row fewer": (with_rows(lambda ls: ls[:-1]), DataError, "59 rows"),
    "a row more": (
        with_rows(lambda ls: [*ls, edited(ls[-1], question_id="new")]),
        DataError,
        "61 rows",
    ),
    "a question twice": (
        with_rows(lambda ls: [*ls[:-2], *ls[:2]]),
        (DataError, EvaluationError),
        "twice|are not those",
    ),
    "another metric": (
        with_rows(lambda ls: [edited(ls[0], scores={"em": 1.0}), *ls[1:]]),
        DataError,
        "other metrics.*line 1",
    ),
    "a score in words": (
        with_rows(lambda ls: [edited(ls[0], scores={"em": "high"}), *ls[1:]]),
        DataError,
        "damaged.*line 1",
    ),
    "a stranger's row": (
        with_rows(lambda ls: [edited(ls[0], system="other"), *ls[1:]]),
        DataError,
        "'other', which the report does not know",
    ),
    "a text changed": (
        with_rows(lambda ls: [edited(ls[0], question="Really?"), *ls[1:]]),
        DataError,
        "are not those",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_named(name, folder):
    damage, error, said = DAMAGES[name]
    damage(folder)
    with pytest.raises(error, match=said) as raised:
        load_run(folder)
    assert raised.value.remedy


def test_no_folder(tmp_path):
    with pytest.raises(DataError, match="there is no run"):
        load_run(tmp_path / "nowhere")


def test_a_file_in_the_way(run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="folder cannot be made"):
        save_run(run, summarise(run, resamples=100), tmp_path / "file")


def test_other_files_stay(folder, run):
    (folder / "notes.txt").write_text("mine")
    save_run(run, summarise(run, resamples=100), folder)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_writer_killed_before_the_renaming_leaves_the_old_files(tmp_path):
    (tmp_path / "a").write_text("old")
    script = """
import os, pathlib, signal, sys
from eval.runs.storage import write_files
folder = pathlib.Path(sys.argv[1])
real = pathlib.Path.write_bytes
def write(path, content):
    if path.name.startswith(".b"):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(path, content)
pathlib.Path.write_bytes = write
write_files({folder / "a": b"new", folder / "b": b"new"})
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "a").read_text() == "old"
    assert not (tmp_path / "b").exists()


def test_a_writer_killed_between_two_renamings_is_noticed(folder, made_up_run):
    other = made_up_run("pipeline", ("ours", "theirs"), questions=30, seed=99)
    elsewhere = folder.parent / "other"
    save_run(other, summarise(other, resamples=100), elsewhere)
    (elsewhere / "rows.jsonl").replace(folder / "rows.jsonl")
    with pytest.raises(DataError, match="stopped half way"):
        load_run(folder)


def test_files_that_cannot_be_written_leave_nothing_behind(tmp_path):
    with pytest.raises(DataError, match="cannot be written"):
        write_files({tmp_path / "a": b"1", tmp_path / "no" / "b": b"2"})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", ["retriever", "reader", "pipeline"])
def test_rows_as_parquet(kind, made_up_run, tmp_path):
    import pyarrow.parquet

    run = made_up_run(kind, ("ours", "theirs"), questions=40)
    write_rows(tmp_path / "rows.parquet", run)
    table = pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pylist()
    write_rows(tmp_path / "rows.jsonl", run)
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert len(table) == len(lines) == 80
    for flat, row in zip(table, lines, strict=True):
        assert flat["system"] == row["system"]
        assert flat["references"] == row["references"]
        assert {f"score.{m}": s for m, s in row["scores"].items()}.items() <= flat.items()
        assert {f"slice.{f}": v for f, v in row["slices"].items()}.items() <= flat.items()
        for name, value in row["output"].items():
            nested = name == "answers"
            assert (json.loads(flat[f"output.{name}"]) if nested else flat[f"output.{name}"]) == (
                value
            )


@settings(max_examples=25)
@given(run=runs())
def test_any_rows_fit_into_parquet(run, tmp_path_factory):
    import pyarrow.parquet

    path = tmp_path_factory.mktemp("rows") / "rows.parquet"
    write_rows(path, run)
    table = pyarrow.parquet.read_table(path)
    assert table.num_rows == sum(len(system.rows) for system in run.systems.values())


def test_systems_with_other_metrics_share_a_table(made_up_run, tmp_path):
    import pyarrow.parquet

    run = made_up_run("pipeline", questions=5)
    alone = made_up_run("reader", questions=5).systems["ours"]
    trimmed = System(tuple(replace(row, scores={"em": row.scores["em"]}) for row in alone.rows))
    both = Run("pipeline", "em", ("em",), {**run.systems, "reader alone": trimmed})
    write_rows(tmp_path / "rows.parquet", both)
    for row in pyarrow.parquet.read_table(tmp_path / "rows.parquet").to_pylist():
        assert (row["score.f1"] is None) == (row["system"] == "reader alone")


@pytest.mark.parametrize("name", ["rows.csv", "rows"])
def test_another_suffix_is_refused(run, tmp_path, name):
    with pytest.raises(DataError, match=r"\.jsonl or \.parquet"):
        write_rows(tmp_path / name, run)
    with pytest.raises(DataError, match=r"\.jsonl or \.parquet"):
        check_places(rows=tmp_path / name)


def test_places_are_checked_beforehand(tmp_path):
    check_places(tmp_path / "new" / "run", tmp_path / "rows.parquet", tmp_path / "page.html")
    assert (tmp_path / "new" / "run").is_dir()
    with pytest.raises(DataError, match=r"\.html"):
        check_places(page=tmp_path / "page.pdf")


def test_what_is_not_installed_is_named(monkeypatch, run, tmp_path):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingDependencyError, match=r"qa-system\[parquet\]"):
        write_rows(tmp_path / "rows.parquet", run)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"qa-system\[report\]"):
        check_places(tmp_path / "run")


def test_a_row_holds_every_field(folder):
    (line, *_) = lines_of(folder)
    assert orjson.loads(line).keys() == {
        "system",
        *asdict(load_run(folder)[0].systems["ours"].rows[0]),
    }


# As version 0.1.0 wrote it: the keys of a report and of its rows stay.
OLD_REPORT = """{
  "kind": "reader", "primary": "f1", "headline": ["em", "f1", "old_metric"],
  "systems": {"reader": {
    "metrics": {"em": 0.5, "f1": 0.75, "old_metric": null},
    "intervals": {"em": null, "f1": null, "old_metric": null},
    "questions": {"em": 2, "f1": 2, "old_metric": 0},
    "measures": {"best_f1": 0.8, "best_f1_threshold": null, "ece": 0.1, "aurc": 0.2},
    "counts": {"questions": 2, "answerable": 1, "unanswerable": 1, "answered": 1,
               "missing": 0, "failed": 0, "unlocated": 0},
    "details": {}, "slices": {}}},
  "references": {"always_empty": {
    "metrics": {"em": 0.5, "f1": 0.5}, "intervals": {"em": null, "f1": null},
    "questions": {"em": 2, "f1": 2}, "measures": {}, "counts": {}, "details": {}}},
  "comparisons": [],
  "resampling": {"resamples": 100, "seed": 13, "clusters": 1, "confidence": 0.95},
  "made_with": {"data": {"path": "d", "split": "test", "sha256": "d"}, "seed": 13},
  "rows": {"count": 2, "sha256": "%s"}}"""
OLD_ROWS = (
    '{"system":"reader","question_id":"q1","split":"test","question":"Loud?","item_id":"i",'
    '"review_id":"r1","references":["yes"],"cluster":"i",'
    '"scores":{"em":0.0,"f1":0.5,"old_metric":null},'
    '"output":{"prediction":"oh yes","forced":"oh yes","log_odds":1.5,"confidence":0.9},'
    '"slices":{"answerable":"yes"},"error":null}\n'
    '{"system":"reader","question_id":"q2","split":"test","question":"Why?","item_id":"i",'
    '"review_id":"r2","references":[],"cluster":"i",'
    '"scores":{"em":1.0,"f1":1.0,"old_metric":null},'
    '"output":{"prediction":"","forced":"so","log_odds":-1.5,"confidence":0.2},'
    '"slices":{"answerable":"no"},"error":null}\n'
)


def test_a_run_of_an_earlier_version_is_read_printed_and_drawn(tmp_path, capsys):
    digest = hashlib.sha256(OLD_ROWS.encode()).hexdigest()
    (tmp_path / "report.json").write_text(OLD_REPORT % digest)
    (tmp_path / "rows.jsonl").write_text(OLD_ROWS)
    run, summary = load_run(tmp_path)
    assert run.systems["reader"].metrics == {"em": 0.5, "f1": 0.75, "old_metric": None}
    assert run.systems["reader"].rows[0].output["confidence"] == 0.9
    print_summary(summary)
    assert "always_empty" in capsys.readouterr().out
    assert "old metric" in run_page(run, summary)
    again = summarise(run, resamples=100)["systems"]["reader"]["metrics"]
    assert again == summary["systems"]["reader"]["metrics"]
