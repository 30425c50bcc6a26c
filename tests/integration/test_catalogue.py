"""`qa ask --questions FILE --out FILE`: many questions, killed, continued, changed meanwhile."""

import csv
import fcntl
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from haystack import Document

from qa_system.catalogue.job import AskedReport, ask_all
from qa_system.catalogue.output import Run, open_output
from qa_system.catalogue.questions import Questions
from qa_system.cli.ask import _print_report
from qa_system.config import load_settings
from qa_system.errors import ConfigError, DataError, RecordError
from qa_system.records import Question
from qa_system.stores import open_store

REVIEWS = {
    "r1": ("lamp", "I use it every night. The light is bright enough for reading in bed."),
    "r2": ("lamp", "The light is bright, but the clamp is loose."),
    "r3": ("jacket", "The zipper broke after a week."),
}
ROWS = [
    ("a", "lamp", "Is the light bright enough?"),
    ("b", "no-such-item", "Is it good?"),
    ("ü", "jacket", "How is the zipper, naïvely?"),
    ("d", "jacket", ""),
    ("e", "jacket", "???"),
]
CODES = [None, "unknown_item", None, "record", "empty_question"]
ENOUGH = 150
"""Questions that a process cannot answer before it is killed."""


@pytest.fixture
def settings(tmp_path):
    over = {"store.path": str(tmp_path / "store"), "retriever.mode": "bm25"}
    settings = load_settings(None, over, environ={})
    with open_store(settings.store, create=True) as store:
        write(store, REVIEWS)
    return settings


def write(store, reviews):
    store.write_documents(
        [
            Document(id=id_, content=text, meta={"review_id": id_, "item_id": item})
            for id_, (item, text) in reviews.items()
        ]
    )


def as_csv(rows, names=("id", "item_id", "question")):
    text = io.StringIO()
    csv.writer(text).writerows([names, *rows])
    return text.getvalue()


def as_jsonl(rows):
    return "".join(
        json.dumps(dict(zip(("id", "asin", "question"), row, strict=True))) + "\n" for row in rows
    )


def as_parquet(rows):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    out = io.BytesIO()
    ids, items, questions = zip(*rows, strict=True)
    pq.write_table(pa.table({"question": questions, "id": ids, "sku": items}), out)
    return out.getvalue()


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def timeless(lines):
    return [{name: line[name] for name in line.keys() - {"timings", "run"}} for line in lines]


def many(path, number=ENOUGH):
    questions = [f"Is the light bright enough for room {at}?" for at in range(number)]
    path.write_text(as_csv([(at, "lamp", each) for at, each in enumerate(questions)]))
    return path


def test_questions_are_read_in_the_formats_of_reviews(tmp_path):
    written = {
        "mark.csv": as_csv(ROWS).encode("utf-8-sig"),
        "wide.csv": as_csv(ROWS).encode("utf-16"),
        "west.csv": as_csv(ROWS, ("question_id", "Product ID", "question")).encode("cp1252"),
        "rows.jsonl": as_jsonl(ROWS).encode(),
        "rows.parquet": as_parquet(ROWS),
    }
    expected = [(id_, Question(text, item)) for id_, item, text in ROWS if text]
    for name, content in written.items():
        path = tmp_path / name
        path.write_bytes(content)
        read = list(Questions(str(path)))
        found = [(row.id, row.question) for row in read if isinstance(row.question, Question)]
        assert found == expected, name
        assert [isinstance(row.question, RecordError) for row in read].index(True) == 3, name
        # In other encodings than UTF-8 only reading them to the end would tell.
        assert name in ("wide.csv", "west.csv") or 0.9 < read[-1].share <= 1, name
        assert read[3].id == "d", name
        # Parquet's and JSON's empty texts are none, as CSV's empty cells are.
        assert (read[3].text, read[3].item_id) == (None, "jacket"), name
    (tmp_path / "odd.csv").write_text("id,item_id,question\n7,,Is it loud?\n8,lamp,\n9,lamp,Big?\n")
    odd = list(Questions(str(tmp_path / "odd.csv")))
    assert [(row.id, row.text, row.item_id) for row in odd[:2]] == [
        (7, "Is it loud?", None),
        (8, None, "lamp"),
    ]
    assert odd[2].id == 9
    piped = Questions("-", stdin=io.BytesIO(written["rows.jsonl"]))
    assert piped.digest() is None
    assert [row.id for row in piped][:3] == ["a", "b", "ü"]
    # One item for all of them, where there is no column of items.
    (tmp_path / "one.csv").write_text("question\nHow is the zipper?\n")
    [row] = Questions(str(tmp_path / "one.csv"), item="jacket")
    assert row.question == Question("How is the zipper?", "jacket")
    with pytest.raises(ConfigError, match=r"no column 'item_id'.*--item ITEM"):
        Questions(str(tmp_path / "one.csv"))
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(written["mark.csv"] * 9_999)[:-99])
    with pytest.raises(DataError, match=r"cannot be read on.*write the questions as CSV"):
        list(Questions(str(tmp_path / "cut.csv.gz")))


def test_a_row_is_a_line_and_an_error_stays_in_its_place(settings, tmp_path, root):
    source, out = tmp_path / "questions.csv", tmp_path / "answers.jsonl"
    source.write_text(as_csv(ROWS))
    command = [sys.executable, "-m", "qa_system.cli", "ask", "--questions", source, "--out", out]
    command += ["--store", settings.store.path, "--set", "retriever.mode=bm25"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "5 questions: 2 asked, 3 errors." in done.stdout
    found = lines_of(out)
    assert [line["row"] for line in found] == [1, 2, 3, 4, 5]
    assert [line["id"] for line in found] == ["a", "b", "ü", "d", "e"]
    assert [line["error"] and line["error"]["code"] for line in found] == CODES
    assert "no-such-item" in found[1]["error"]["message"]
    assert "line 5" in found[3]["error"]["message"]
    assert (found[3]["question"], found[3]["item_id"]) == (None, "jacket")
    schema = json.loads((root / "qa_system" / "answers.schema.json").read_text())
    for line in (found[0], found[2]):
        jsonschema.validate(line, schema)
    assert found[0]["answers"][0]["review_id"] in ("r1", "r2")

    source.write_text(as_csv([("x", "no-such-item", "Is it good?")]))
    done = subprocess.run([*command, "--json", "--restart"], capture_output=True, check=False)
    assert done.returncode == 1
    report = json.loads(done.stdout)
    assert (report["rows"], report["errors"], report["resumed"]) == (1, 1, 0)


def test_a_run_that_asks_nothing_says_so(capsys):
    _print_report(AskedReport("out.jsonl", 61, 10, 61, 15.0))
    _print_report(AskedReport("out.jsonl", 61, 10, 60, 15.0))
    done, _, resumed, *_ = capsys.readouterr().out.splitlines()
    assert done == (
        "nothing was left to ask: an earlier run had done all of 61 questions, 10 errors among them"
    )
    assert resumed.startswith("61 questions: 51 asked, 10 errors.")


def test_a_killed_run_goes_on_and_asks_nothing_twice(settings, tmp_path):
    source, out = many(tmp_path / "questions.csv"), tmp_path / "answers.jsonl"
    command = [sys.executable, "-m", "qa_system.cli", "ask", "--questions", source, "--out", out]
    command += ["--store", settings.store.path, "--set", "retriever.mode=bm25"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (out.exists() and out.stat().st_size):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    before = out.read_bytes()
    done = before.count(b"\n")
    assert 0 < done < ENOUGH
    # The operating system may have taken half a line.
    out.write_bytes(before + b'{"row":%d,"id":"7","ru' % (done + 1))
    report = ask_all(settings, Questions(str(source)), out)
    assert (report.rows, report.errors, report.resumed) == (ENOUGH, 0, done)
    # With their times: they were not asked again.
    assert out.read_bytes().startswith(before)
    fresh = tmp_path / "fresh.jsonl"
    ask_all(settings, Questions(str(source)), fresh)
    assert timeless(lines_of(out)) == timeless(lines_of(fresh))


def test_what_changed_meanwhile_is_told(settings, tmp_path):
    source, out = many(tmp_path / "questions.csv", 3), tmp_path / "answers.jsonl"
    ask_all(settings, Questions(str(source)), out)
    before = out.read_bytes()
    assert ask_all(settings, Questions(str(source)), out).resumed == 3
    with pytest.raises(ConfigError, match=r"^the settings or the models changed.*--restart"):
        ask_all(settings, Questions(str(source)), out, top_k=2)
    # Options that say how the same file is read, or what it is asked about.
    by_option = r"^the questions file \(or --item, --encoding\) changed since"
    with pytest.raises(ConfigError, match=by_option):
        ask_all(settings, Questions(str(source), encoding="cp1252"), out)
    (one := tmp_path / "one.csv").write_text("question\nIs it good?\n")
    ask_all(settings, Questions(str(one), "lamp"), tmp_path / "one.jsonl")
    with pytest.raises(ConfigError, match=by_option):
        ask_all(settings, Questions(str(one), "jacket"), tmp_path / "one.jsonl")
    moved = source.rename(tmp_path / "moved.csv")
    assert ask_all(settings, Questions(str(moved)), out).resumed == 3
    many(source, 4)
    with pytest.raises(ConfigError, match=by_option):
        ask_all(settings, Questions(str(source)), out)
    with open_store(settings.store) as store:
        write(store, {"r4": ("lamp", "Too dark.")})
    with pytest.raises(
        ConfigError, match=r"^the questions file .* and the reviews in the store cha"
    ):
        ask_all(settings, Questions(str(source)), out)
    assert out.read_bytes() == before
    report = ask_all(settings, Questions(str(source)), out, restart=True)
    assert (report.rows, report.resumed) == (4, 0)
    with pytest.raises(ConfigError, match="would overwrite the questions"):
        ask_all(settings, Questions(str(out)), out, restart=True)


RUN = Run("0" * 12, "1" * 12, "2" * 12)


@pytest.mark.parametrize(
    "content",
    [
        b"precious\n",
        b"precious",
        b'{"rwo"',
        b'{"row":1,"id":"a","text":"mine"}\n',
        b'{"row":1,"id":"a","text":"mi',
        b'{"row":1,"id":"a","text":"mine"}',
        b'{"row":2,"id":"a","run":"000000000000-111111111111-222222222222"}\n',
        b'{"row":1,"id":"a","run":"000000000000-111111111111-222222222222"}\nprecious\n',
        b'{"row":1,"id":"a","run":"000000000000-111111111111-222222222222"}\nprecious',
        b'{"row":1,"id":"a","run":"000000000000-111111111111-222222222222"}\n{"row":2,"id":7,"t',
    ],
)
@pytest.mark.parametrize("restart", [False, True])
def test_a_file_of_somebody_else_is_kept(tmp_path, content, restart):
    path = tmp_path / "mine"
    path.write_bytes(content)
    with (
        pytest.raises(ConfigError, match="something else"),
        open_output(path, RUN, restart=restart),
    ):
        pass
    assert path.read_bytes() == content


@pytest.mark.parametrize("ids", [["a", "b"], [None, {"ü": [1, "}"]}]])
def test_a_line_that_was_cut_anywhere_is_written_again(tmp_path, ids):
    path = tmp_path / "answers.jsonl"
    with open_output(path, RUN) as output:
        output.write([{"id": each, "meta": {"stars": {"of": 5}}, "error": None} for each in ids])
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with open_output(path, RUN) as output:
            assert output.rows == int(length >= first), whole[:length]
        assert path.read_bytes() == whole[: first if length >= first else 0]


def test_what_is_no_regular_file_is_refused_at_once(settings, tmp_path):
    """Opening a pipe that nobody reads would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    source = many(tmp_path / "questions.csv", 1)
    for path in (tmp_path / "pipe", tmp_path, Path(os.devnull)):
        with pytest.raises(ConfigError, match=r"regular file only.*--out FILE"):
            ask_all(settings, Questions(str(source)), path)


def test_one_process_writes_a_file(tmp_path):
    path = tmp_path / "answers.jsonl"
    with path.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ConfigError, match="another process"), open_output(path, RUN):
            pass
    with open_output(path, RUN) as output:
        output.write([{"id": "a", "error": None}])
    # Killed between a line and its end: the line is asked again.
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    with open_output(path, RUN) as output:
        assert output.rows == 0
