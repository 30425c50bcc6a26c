"""Whatever a file holds, a parser gives rows or an error of ours; never anything raw.

The suite tries a few changed files of each kind, always the same, and every file of `corpus/`:
small ones of odd shapes, and those that once failed. `make fuzz` goes on for as long as it is told:

    python tests/fuzz/test_fuzz.py SECONDS [SEED]

What fails then is kept in `corpus/`, under the name of its parser.
"""

import bz2
import collections
import csv
import gzip
import hashlib
import io
import json
import logging
import lzma
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
import traceback
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from indexing.checkpoint import Checkpoint, CheckpointFile, read_checkpoints
from indexing.rejects import check_reject_file
from qa_system.config import IndexingSettings, load_settings
from qa_system.datasets.dataset import read_dataset
from qa_system.errors import QASystemError
from qa_system.sources.column_types import ColumnTypes
from qa_system.sources.files import open_sources
from qa_system.sources.rows import Reject

CORPUS = Path(__file__).parent / "corpus"
EXAMPLES = 60
HANGS_AFTER_SECONDS = 15

REVIEWS = [
    {
        "review_id": f"r{n}",
        "item_id": f"i{n % 5}",
        "title": "Fine" if n % 2 else "",
        "text": f'A "quoted" text, with\nlines {n} é 東京',
        "stars": n % 5 + 1,
        "price": n / 4,
        "date": f"2024-01-{n % 28 + 1:02}",
        "verified": n % 3 == 0,
    }
    for n in range(40)
]
NESTED = [{**each, "tags": ["a", {"b": [1, 2.5, None]}], "more": {"x": {}}} for each in REVIEWS]


def as_csv(delimiter=",", line_end="\n"):
    out = io.StringIO()
    writer = csv.DictWriter(out, REVIEWS[0], delimiter=delimiter, lineterminator=line_end)
    writer.writeheader()
    writer.writerows(REVIEWS)
    return out.getvalue().encode()


def as_json_lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def as_parquet():
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    table = pa.table({name: [row[name] for row in REVIEWS] for name in REVIEWS[0]})
    pq.write_table(table, out, row_group_size=15)
    return out.getvalue()


def as_zip():
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("reviews.csv", as_csv())
    return out.getvalue()


def as_subjqa():
    out = io.StringIO()
    names = (
        *("item_id", "domain", "q_review_id", "question", "review_id", "review"),
        *("human_ans_spans", "human_ans_indices", "question_subj_level", "is_ans_subjective"),
    )
    writer = csv.writer(out)
    writer.writerow(names)
    for n in range(20):
        said = f"The strap {n} isn't wide, sadly. ANSWERNOTFOUND"
        marked = ("ANSWERNOTFOUND", "(0, 0)") if n % 3 else ("is n't wide", "(11, 22)")
        row = (f"B{n % 3}", "x", f"q{n}", "How is the strap?", f"r{n}", said, *marked, "4", "True")
        writer.writerow(row)
    return out.getvalue().encode()


def as_squad():
    def question(n):
        answers = [] if n % 3 == 0 else [{"text": "strap", "answer_start": 4}]
        return {
            "id": f"q{n}",
            "question": "How is it?",
            "answers": answers,
            "is_impossible": not answers,
            "plausible_answers": [],
        }

    paragraphs = [
        {"context": f"The strap {n} is fine.", "qas": [question(2 * n), question(2 * n + 1)]}
        for n in range(6)
    ]
    tree = {"version": "2.0", "data": [{"title": "Bag", "paragraphs": paragraphs}]}
    return json.dumps(tree).encode()


def as_labels():
    return as_json_lines(
        {
            "question": f"How is {n}?",
            "context": f"Good bass {n}.",
            "answers": ["bass"],
            "annotations": [["bass"], []],
            "item_id": "i",
            "meta": {"a": 1},
            "split": "dev",
        }
        for n in range(15)
    )


def as_checkpoint():
    with tempfile.TemporaryDirectory() as folder:
        with CheckpointFile(Path(folder), "job") as file:
            file.begin(Checkpoint("fingerprint"))
            file.commit(Checkpoint("fingerprint"))
        with sqlite3.connect(Path(folder) / "job.sqlite") as db:
            db.execute("PRAGMA journal_mode = DELETE")
        db.close()
        return (Path(folder) / "job.sqlite").read_bytes()


def index(path):
    """Read a file as a job does, and from some row on once more."""
    sources = open_sources(IndexingSettings(sources=(str(path),)))
    types = ColumnTypes({})
    rows = list(sources.rows(types=types))
    if rows:
        at = len(rows) // 2
        again = list(sources.rows(rows[at].after, ColumnTypes({}, types.kinds)))
        assert again == rows[at + 1 :]
    return sum(not isinstance(row.record, Reject) for row in rows)


def read_settings(path):
    text = path.read_bytes().decode("utf-8", "replace")
    try:
        load_settings(path, environ={})
    except QASystemError:
        load_settings(None, [f"seed={text}"], environ={})
    return 1


def open_checkpoint(path):
    read_checkpoints(path.parent)
    with CheckpointFile(path.parent, path.stem) as file:
        return len(file.attempted()) + (file.load() is not None)


def check_rejects(path):
    check_reject_file(path)
    return 1


REJECT = Reject("a.csv", 1, "malformed", "x", "row").to_dict()
PARSERS = {
    "csv": (as_csv, "csv", index),
    "tabs": (lambda: as_csv("\t"), "tsv", index),
    "carriage-returns": (lambda: as_csv(line_end="\r"), "csv", index),
    "cp1252": (lambda: as_csv(";").decode().encode("cp1252", "ignore"), "csv", index),
    "utf-16": (lambda: as_csv().decode().encode("utf-16"), "csv", index),
    "json-lines": (lambda: as_json_lines(NESTED), "jsonl", index),
    "json-list": (lambda: json.dumps(NESTED).encode(), "json", index),
    "json-indented": (lambda: json.dumps(NESTED, indent=1).encode(), "json", index),
    "parquet": (as_parquet, "parquet", index),
    "gzip": (lambda: gzip.compress(as_csv(), mtime=0), "csv.gz", index),
    "bzip2": (lambda: bz2.compress(as_csv()), "csv.bz2", index),
    "xz": (lambda: lzma.compress(as_csv()), "csv.xz", index),
    "zip": (as_zip, "zip", index),
    "subjqa": (as_subjqa, "csv", index),
    "subjqa-labels": (as_subjqa, "csv", lambda path: len(read_dataset(path).labels)),
    "squad": (as_squad, "json", lambda path: len(read_dataset(path).labels)),
    "labels": (as_labels, "jsonl", lambda path: len(read_dataset(path).labels)),
    "settings": (
        lambda: (Path(__file__).parents[2] / "configs" / "default.yaml").read_bytes(),
        "yaml",
        read_settings,
    ),
    "checkpoint": (as_checkpoint, "sqlite", open_checkpoint),
    "rejects": (lambda: json.dumps(REJECT).encode() + b"\n", "jsonl", check_rejects),
}

TOKENS = [
    *(b'"', b",", b"\n", b"\r", b"\r\n", b"\0", b"{", b"}", b"[", b"]", b":", b";", b"\t", b"|"),
    *(b"null", b"NaN", b"Infinity", b"1e999", b"true", b'""', b"'", b"-1", b"0", b"9" * 25, b"\\"),
    *(b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\xef\xbb\xbf", b"\xff\xfe", b"\xc2\x85", b"\xe2\x80"),
    *(b"[" * 200, b'{"a":' * 1200, b"a" * 300, b"9" * 5000, "é".encode(), b"*a", b"&a [*a]", b"!!"),
    *(
        b"\x1f\x8b",
        b"PAR1",
        b"PK\x03\x04",
        b"BZh9",
        b"ANSWERNOTFOUND",
        b"(1, 2)",
        b"item_id,text\n",
    ),
]
KINDS = ["flip", "insert", "replace", "delete", "copy", "cut"]
EDIT = st.tuples(
    st.sampled_from(KINDS),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 2**16),
)
EDITS = st.lists(EDIT, min_size=1, max_size=6)


def changed(data, edits):
    """Change a file: each edit is a kind, a place (0 to 1), and a number that says the rest."""
    for kind, place, number in edits:
        at = int(place * (len(data) + 1))
        token = TOKENS[number % len(TOKENS)]
        size = (1, 3, 20, 300)[number % 4]
        if kind == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << number % 8)]) + data[at + 1 :]
        elif kind == "insert":
            data = data[:at] + token + data[at:]
        elif kind == "replace":
            data = data[:at] + token + data[at + len(token) :]
        elif kind == "delete":
            data = data[:at] + data[at + size :]
        elif kind == "copy":
            to = number % (len(data) + 1)
            data = data[:to] + data[at : at + 200] + data[to:]
        elif kind == "cut" and number % 3 == 0:
            data = data[:at]
    return data


def parse(name, data, folder):
    """Let a parser read a file; how many things it found, None: an error of ours."""
    _, suffix, parser = PARSERS[name]
    path = folder / f"file.{suffix}"
    path.write_bytes(data)
    try:
        return parser(path)
    except QASystemError:
        return None


@pytest.fixture(scope="module", autouse=True)
def _quiet():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", PARSERS)
def test_what_is_right_is_read(tmp_path, name):
    assert parse(name, PARSERS[name][0](), tmp_path)


@pytest.mark.parametrize("name", PARSERS)
def test_what_was_changed_is_read_or_an_error_of_ours(tmp_path, name):
    original = PARSERS[name][0]()

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(EDITS)
    def try_it(edits):
        parse(name, changed(original, edits), tmp_path)

    try_it()


@pytest.mark.parametrize("name", ["csv", "json-lines", "json-list", "squad", "labels", "settings"])
def test_anything_is_read_or_an_error_of_ours(tmp_path, name):
    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.binary(max_size=200) | st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join))
    def try_it(data):
        parse(name, data, tmp_path)

    try_it()


@pytest.mark.parametrize("file", sorted(CORPUS.iterdir()), ids=lambda file: file.name)
def test_what_failed_once_is_read_or_an_error_of_ours(tmp_path, file):
    parse(file.name.rpartition("-")[0], file.read_bytes(), tmp_path)


class Hang(BaseException):
    """A parser that took too long."""


def on_alarm(*_):
    raise Hang


def fuzz(seconds, seed):
    """Change files until time is up; return the number of those that failed."""
    chance = random.Random(seed)
    signal.signal(signal.SIGALRM, on_alarm)
    counts = collections.defaultdict(collections.Counter)
    failures = {}
    originals = {name: make() for name, (make, _, _) in PARSERS.items()}
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < end:
            for name, original in originals.items():
                edits = [
                    (chance.choice(KINDS), chance.random(), chance.randrange(2**16))
                    for _ in range(chance.choice([1, 1, 2, 4, 10]))
                ]
                data = changed(original, edits)
                signal.alarm(HANGS_AFTER_SECONDS)
                try:
                    found = parse(name, data, Path(folder))
                    counts[name]["error of ours" if found is None else "read"] += 1
                except (Exception, Hang) as error:  # noqa: BLE001  (that is what it looks for)
                    counts[name]["FAILED"] += 1
                    place = traceback.extract_tb(error.__traceback__)[-1]
                    kind = (name, type(error).__name__, place.filename, place.lineno)
                    if kind not in failures:
                        digest = hashlib.sha256(data).hexdigest()[:12]
                        failures[kind] = CORPUS / f"{name}-{digest}"
                        failures[kind].write_bytes(data)
                        print("".join(traceback.format_exception(error)), failures[kind])
                finally:
                    signal.alarm(0)
    print(f"{'parser':18}{'files':>8}{'read':>8}{'error of ours':>15}{'FAILED':>8}")
    for name, each in counts.items():
        shown = (each.total(), each["read"], each["error of ours"], each["FAILED"])
        print("{:18}{:>8,}{:>8,}{:>15,}{:>8,}".format(name, *shown))
    return len(failures)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
    sys.exit(fuzz(float(sys.argv[1]), int((sys.argv[2:] or ["0"])[0])) and 1)
