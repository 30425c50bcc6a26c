import csv
import gzip
import io
import json
import math
import tracemalloc
from datetime import UTC, datetime
from decimal import Decimal

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_system.config import IndexingSettings
from qa_system.errors import ConfigError, DataError
from qa_system.records import Review
from qa_system.review_ids import stable_review_id
from qa_system.sources.column_types import ColumnTypes
from qa_system.sources.files import open_sources
from qa_system.sources.rows import Columns, Position, Reject
from qa_system.sources.streams import Lines

REVIEWS = [
    Review("r1", "B00", "Works well.", {"stars": 5}, "Good"),
    Review("r2", "B00", 'Two lines,\nand a "quote".', {"stars": 1, "verified": True}),
    Review("r3", "B01", "Grüße, 東京; tab\tand | bar", {"price": 4.5, "zip": "007"}),
]


START = Position()


def rows_of(*sources, stdin=None, start=START, **keys):
    found = open_sources(
        IndexingSettings(sources=tuple(str(each) for each in sources), **keys), stdin
    )
    return list(found.rows(start))


def records_of(*sources, **keys):
    return [row.record for row in rows_of(*sources, **keys)]


def as_csv(reviews, delimiter=",", newline="\r\n"):
    keys = list(dict.fromkeys(key for review in reviews for key in review.stored_meta))
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator=newline)
    writer.writerow(["review_id", "item_id", "text", *keys])
    for review in reviews:
        cells = [review.stored_meta.get(key, "") for key in keys]
        cells = [str(cell).lower() if isinstance(cell, bool) else cell for cell in cells]
        writer.writerow([review.id, review.item_id, review.text, *cells])
    return out.getvalue().encode()


def as_jsonl(reviews):
    return b"".join(
        orjson.dumps({"review_id": r.id, "item_id": r.item_id, "text": r.text, **r.stored_meta})
        + b"\n"
        for r in reviews
    )


def as_parquet(reviews, path, **keys):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    rows = [
        {"review_id": r.id, "item_id": r.item_id, "text": r.text, **r.stored_meta} for r in reviews
    ]
    names = list(dict.fromkeys(key for row in rows for key in row))
    table = pa.table({name: [row.get(name) for row in rows] for name in names})
    pq.write_table(table, path, **keys)


def write_all_formats(folder):
    (folder / "comma.csv").write_bytes(as_csv(REVIEWS))
    (folder / "semicolon.csv").write_bytes(as_csv(REVIEWS, ";", "\n"))
    (folder / "tab.tsv").write_bytes(as_csv(REVIEWS, "\t"))
    (folder / "bar.txt").write_bytes(as_csv(REVIEWS, "|"))
    (folder / "bom.csv").write_bytes(b"\xef\xbb\xbf" + as_csv(REVIEWS))
    (folder / "reviews.jsonl").write_bytes(as_jsonl(REVIEWS))
    (folder / "bom.jsonl").write_bytes(b"\xef\xbb\xbf" + as_jsonl(REVIEWS))
    (folder / "csv.gz").write_bytes(gzip.compress(as_csv(REVIEWS)))
    (folder / "misnamed.csv").write_bytes(gzip.compress(as_jsonl(REVIEWS)))
    as_parquet(REVIEWS, folder / "reviews.parquet")
    return sorted(folder.iterdir())


def test_every_format_gives_the_same_reviews(tmp_path):
    files = write_all_formats(tmp_path)
    assert len(files) == 10
    for file in files:
        assert records_of(file) == REVIEWS, file.name


def test_every_format_goes_on_from_every_position(tmp_path):
    for file in write_all_formats(tmp_path):
        rows = rows_of(file)
        for number, row in enumerate(rows):
            assert rows_of(file, start=row.after) == rows[number + 1 :], (file.name, number)


def test_parquet_goes_on_within_and_between_row_groups(tmp_path):
    reviews = [Review(f"r{n}", "i", f"text {n}") for n in range(25)]
    as_parquet(reviews, tmp_path / "a.parquet", row_group_size=7)
    rows = rows_of(tmp_path / "a.parquet")
    assert [row.record for row in rows] == reviews
    assert [row.line for row in rows] == list(range(1, 26))
    for number, row in enumerate(rows):
        assert rows_of(tmp_path / "a.parquet", start=row.after) == rows[number + 1 :]


def test_standard_input_is_recognised():
    for data in (as_csv(REVIEWS), as_jsonl(REVIEWS), gzip.compress(as_csv(REVIEWS))):
        stdin = io.BufferedReader(io.BytesIO(data))
        assert records_of("-", stdin=stdin) == REVIEWS


def test_folders_and_globs(tmp_path):
    (tmp_path / "b.csv").write_bytes(as_csv(REVIEWS[:1]))
    (tmp_path / "a.jsonl").write_bytes(as_jsonl(REVIEWS[1:2]))
    (tmp_path / "notes.txt").write_text("no data")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.csv").write_bytes(as_csv(REVIEWS[2:]))
    assert records_of(tmp_path) == [REVIEWS[1], REVIEWS[0]]
    assert records_of(tmp_path / "*.csv", tmp_path / "b.csv") == REVIEWS[:1]
    assert records_of(tmp_path / "**" / "*.csv") == [REVIEWS[0], REVIEWS[2]]
    rows = rows_of(tmp_path / "**" / "*.csv")
    assert [row.after.file for row in rows] == [0, 1]
    with pytest.raises(DataError, match="no file matches"):
        records_of(tmp_path / "*.parquet")
    with pytest.raises(DataError, match="no such file"):
        records_of(tmp_path / "none.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no file"):
        records_of(tmp_path / "empty")
    with pytest.raises(ConfigError, match="no source is named"):
        records_of()


def test_an_empty_file_has_no_rows(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"")
    (tmp_path / "b.csv").write_bytes(as_csv(REVIEWS))
    assert records_of(tmp_path) == REVIEWS
    (tmp_path / "b.csv").write_bytes(as_csv([]))
    assert records_of(tmp_path) == []


def test_columns_are_mapped_and_ids_derived(tmp_path):
    (tmp_path / "a.csv").write_text("asin,body,stars\nB00,Good.,5\n")
    (review,) = records_of(tmp_path / "a.csv", columns={"item_id": "asin", "text": "body"})
    assert review == Review(stable_review_id("B00", "Good."), "B00", "Good.", {"stars": 5})


def test_a_column_that_is_not_there_is_told_once(tmp_path):
    (tmp_path / "a.csv").write_text("thing,opinion\nB00,Good.\n")
    (tmp_path / "a.jsonl").write_text('{"thing": "B00", "opinion": "Good."}\n')
    as_parquet([Review("r", "i", "t")], tmp_path / "a.parquet")
    for name in ("a.csv", "a.jsonl"):
        with pytest.raises(
            ConfigError, match=r"'item_id' and no column 'text'.*'thing', 'opinion'"
        ):
            records_of(tmp_path / name)
    with pytest.raises(ConfigError, match="no column 'body'"):
        records_of(tmp_path / "a.parquet", columns={"text": "body"})


def test_headers_that_cannot_be_right(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("item_id,text,text\n1,2,3\n")
    with pytest.raises(ConfigError, match="more than once"):
        records_of(file)
    file.write_text("item_id,text,content_hash\n1,2,3\n")
    with pytest.raises(ConfigError, match="for itself"):
        records_of(file)


def test_files_of_another_kind(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes("item_id,text\n1,2\n".encode("utf-16"))
    assert [each.text for each in records_of(file)] == ["2"]
    file.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(DataError, match="not Parquet"):
        records_of(file)
    file.write_bytes(gzip.compress(as_csv(REVIEWS * 1000))[:-30])
    with pytest.raises(DataError, match="cannot be read on"):
        records_of(file)


GOLDEN_CSV = b"""\
review_id,item_id,text,stars\r
r1,B00,Good.,5\r
r2,B00,,4\r
r3,,No item.,3\r
r4,B00,too,many,fields\r
r5,B00\r
r6,B00,bad \xff byte,1\r
\r
r7,B00,"two
lines",2\r
r8,B00,"an "inner" quote",2\r
r9,B00,nul \x00 byte,2\r
r10,B00,   ,2\r
r11,B00,0123456789012345678901234567890,2\r
r12,B00,"never closed,2\r
r13,B00,after it,2\r
r14,B00,"fine, too",2\r
r15,B00,Gr\xc3\xbc\xc3\x9fe,2\r
"""

GOLDEN_CSV_REJECTS = [
    ("r2", 3, "missing text"),
    ("r3", 4, "missing item"),
    (None, 5, "malformed"),
    (None, 6, "malformed"),
    (None, 7, "bad encoding"),
    (None, 11, "malformed"),
    ("r9", 12, "bad encoding"),
    ("r10", 13, "missing text"),
    ("r11", 14, "over-long"),
    (None, 15, "malformed"),
]


def test_a_bad_csv_row_spoils_only_itself(tmp_path):
    file = tmp_path / "bad.csv"
    file.write_bytes(GOLDEN_CSV)
    rows = rows_of(file, max_text_chars=30)
    good = [(row.record.id, row.line) for row in rows if isinstance(row.record, Review)]
    assert good == [("r1", 2), ("r7", 9), ("r13", 16), ("r14", 17), ("r15", 18)]
    bad = [row.record for row in rows if isinstance(row.record, Reject)]
    assert [(each.review_id, each.line, each.reason) for each in bad] == GOLDEN_CSV_REJECTS
    assert {each.file for each in bad} == {str(file)}
    assert bad[2].detail == "the row has 5 fields where the header has 4"
    assert bad[2].row == "r4,B00,too,many,fields"
    assert bad[4].detail == "not UTF-8: invalid start byte at byte 11"
    # It goes on from each of them as well.
    for number, row in enumerate(rows):
        assert rows_of(file, max_text_chars=30, start=row.after) == rows[number + 1 :]


GOLDEN_JSONL = b"""\
{"review_id": 7, "item_id": 12, "text": "Good.", "stars": 5, "none": null}

{"item_id": "B00", "text": ["a"]}
{"item_id": {"a": 1}, "text": "x"}
{"item_id": "B00", "text": "x", "review_id": true}
{"item_id": "B00"
["B00"]
{"item_id": "B00", "text": "bad \xff byte"}
{"item_id": "B00", "text": "nul \\u0000"}
{"item_id": "B00", "text": "x", "deep": %s}
{"item_id": "B00", "text": "x", "deeper": %s}
{"item_id": "B00", "text": "x", "content_hash": 1}
{"item_id": "B00", "text": "l\xc3\xa4st", "tags": ["a", {"b": 1.5}]}
""" % (b"[" * 30 + b"]" * 30, b"[" * 3000 + b"]" * 3000)


def test_a_bad_json_line_spoils_only_itself(tmp_path):
    file = tmp_path / "bad.jsonl"
    file.write_bytes(GOLDEN_JSONL)
    rows = rows_of(file)
    assert [row.record for row in rows if isinstance(row.record, Review)] == [
        Review("7", "12", "Good.", {"stars": 5}),
        Review(stable_review_id("B00", "läst"), "B00", "läst", {"tags": ["a", {"b": 1.5}]}),
    ]
    bad = [row.record for row in rows if isinstance(row.record, Reject)]
    assert [(each.line, each.reason) for each in bad] == [
        (3, "wrong type"),
        (4, "wrong type"),
        (5, "wrong type"),
        (6, "malformed"),
        (7, "malformed"),
        (8, "bad encoding"),
        (9, "bad encoding"),
        (10, "nesting too deep"),
        (11, "nesting too deep"),
        (12, "reserved name"),
    ]
    assert all(len(each.row) <= 201 for each in bad)


def test_bad_parquet_values_spoil_only_their_rows(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    raw = pa.array([b"fine", b"bad \xff", b"fine too", None], pa.binary())
    text = pa.StringArray.from_buffers(4, raw.buffers()[1], raw.buffers()[2], raw.buffers()[0])
    table = pa.table(
        {
            "item_id": ["a", "b", "c", "d"],
            "text": text,
            "price": [Decimal("4.50"), Decimal(1), None, None],
            "score": [math.nan, 1.0, math.inf, 1.0],
            "when": pa.array([datetime(2024, 2, 1, tzinfo=UTC)] * 4, pa.timestamp("ns", "UTC")),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    records = records_of(tmp_path / "a.parquet")
    assert records[0].meta == {"price": 4.5, "when": "2024-02-01T00:00:00+00:00"}
    assert records[2].meta == {"when": "2024-02-01T00:00:00+00:00"}
    assert [(each.line, each.reason) for each in (records[1], records[3])] == [
        (2, "bad encoding"),
        (4, "missing text"),
    ]


def one_row(folder, format_, values, **keys):
    """Index one row in one format; what came of it."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    row = {"review_id": "r", "item_id": "B00", "text": "x", **values}
    file = folder / format_
    if format_ == "csv":
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(row)
            writer.writerow("" if each is None else each for each in row.values())
    elif format_ == "jsonl":
        file.write_text(json.dumps(row))
    elif format_ == "json":
        file.write_text(json.dumps([row], indent=1))
    else:
        pq.write_table(pa.table({name: [value] for name, value in row.items()}), file)
    [record] = records_of(file, **keys)
    return record if isinstance(record, Review) else record.reason


FORMATS = ("csv", "jsonl", "json", "parquet")
DERIVED = stable_review_id("B00", "x")
VALUES = [
    # the same value in every format; what becomes of it as review id, as item, as metadata
    (100, "100", "100", 100),
    (100.0, "100", "100", 100.0),
    (-7.0, "-7", "-7", -7.0),
    (100.5, "100.5", "100.5", 100.5),
    (0.1, "0.1", "0.1", 0.1),
    (2**62, str(2**62), str(2**62), 2**62),
    (math.nan, DERIVED, "missing item", None),
    (math.inf, DERIVED, "missing item", None),
    (None, DERIVED, "missing item", None),
    ("", DERIVED, "missing item", None),
    (" ", DERIVED, "missing item", " "),
    ("007", "007", "007", "007"),
    ("B-1", "B-1", "B-1", "B-1"),
    (" B-1 ", " B-1 ", " B-1 ", " B-1 "),
    ("n" * 513, "over-long", "over-long", "n" * 513),
    ("東京", "東京", "東京", "東京"),
    ("10 kg", "10 kg", "10 kg", "10 kg"),
    ("1,299.00", "1,299.00", "1,299.00", "1,299.00"),
    ("2024-02-01", "2024-02-01", "2024-02-01", "2024-02-01"),
]


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(("value", "as_id", "as_item", "as_meta"), VALUES)
def test_a_value_has_the_same_outcome_in_every_format(
    tmp_path, format_, value, as_id, as_item, as_meta
):
    said = one_row(tmp_path, format_, {"review_id": value})
    assert (said if isinstance(said, str) else said.id) == as_id
    said = one_row(tmp_path, format_, {"item_id": value})
    assert (said if isinstance(said, str) else said.item_id) == as_item
    found = one_row(tmp_path, format_, {"size": value}).meta
    assert found == ({} if as_meta is None else {"size": as_meta})
    assert [type(each) for each in found.values()] == ([] if as_meta is None else [type(as_meta)])


@pytest.mark.parametrize("format_", FORMATS)
def test_text_title_stars_and_date_have_the_same_outcome_in_every_format(tmp_path, format_):
    def meta(**values):
        return one_row(tmp_path, format_, values).meta

    assert one_row(tmp_path, format_, {"text": 5}).text == "5"
    assert one_row(tmp_path, format_, {"text": math.nan if format_ != "csv" else ""}) == (
        "missing text"
    )
    assert one_row(tmp_path, format_, {"title": 5}).title == "5"
    assert one_row(tmp_path, format_, {"title": ""}).title is None
    for value in (4, 4.0, "4", "4.0", "4.0 out of 5 stars", "★★★★☆"):
        assert meta(rating=value) == {"stars": 4}
    assert meta(rating="4,5") == {"stars": 4.5}
    for value in ("2009-09-16", "09 16, 2009", "16.9.2009", "September 16, 2009", 1253059200):
        assert meta(review_date=value) == {"date": "2009-09-16"}
    assert meta(review_date=1253062861000) == {"date": "2009-09-16T01:01:01+00:00"}
    for value in (True, "true") if format_ == "csv" else (True,):
        assert meta(verified=value) == {"verified": True}


@pytest.mark.parametrize("format_", FORMATS)
def test_a_name_that_comes_twice_is_refused_in_every_format(tmp_path, format_):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    file = tmp_path / format_
    names = ["review_id", "item_id", "text", "stars", "item_id"]
    pairs = "{" + ", ".join(f'"{name}": "1"' for name in names) + "}"
    if format_ == "csv":
        file.write_text(",".join(names) + "\n1,1,1,1,1\n")
    elif format_ == "parquet":
        pq.write_table(pa.table([["1"]] * 5, names=names), file)
    else:
        file.write_text(pairs if format_ == "jsonl" else f"[{pairs}]")
        [record] = records_of(file)
        assert record.detail == "not JSON: the key 'item_id' comes twice"
        return
    with pytest.raises(ConfigError, match="'item_id' more than once"):
        records_of(file)


def test_ids_that_became_floats_because_some_are_missing(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("review_id,item_id,text\n1.0,100.0,x\n,100.0,y\nnan,7,z\n8,,t\n")
    *reviews, reject = records_of(file)
    assert [(each.id, each.item_id) for each in reviews] == [
        ("1", "100"),
        (stable_review_id("100", "y"), "100"),
        (stable_review_id("7", "z"), "7"),
    ]
    assert (reject.reason, reject.review_id) == ("missing item", "8")
    file.write_text("review_id,item_id,text\n1.0,v1.0,x\n1.10,,y\n")
    assert [
        each.review_id if isinstance(each, Reject) else each.id for each in records_of(file)
    ] == [
        "1.0",
        "1.10",
    ]


def test_long_numbers_keep_their_digits(tmp_path):
    digits = "12345678901234567890"
    for name, text in (
        ("a.csv", f"review_id,item_id,text,n\n{digits},B00,x,{digits}\n"),
        ("a.jsonl", f'{{"review_id": {digits}, "item_id": "B00", "text": "x", "n": {digits}}}'),
    ):
        (tmp_path / name).write_text(text)
        [review] = records_of(tmp_path / name)
        assert (review.id, review.meta) == (digits, {"n": digits})


def test_every_type_of_text_of_parquet_is_text(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    kinds = [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()]
    kinds.append(pa.dictionary(pa.int32(), pa.string()))
    for kind in kinds:
        text = pa.array(["good"]).cast(kind)
        table = pa.table({"item_id": text, "text": text, "brand": text})
        pq.write_table(table, tmp_path / "a.parquet")
        [review] = records_of(tmp_path / "a.parquet")
        assert (review.item_id, review.text, review.meta) == ("good", "good", {"brand": "good"})


TYPED = (
    b"item_id,text,zip,price,verified,size,n\n"
    b"B00,a,10115,19.99,TRUE,5,1\n"
    b"B00,b,00700,4.50,true,N/A,2\n"
    b"B00,c,,5.00,False,6.5,3\n"
    b"B00,d,20095,20,,nan,x\n"
)


def test_a_column_has_one_type(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes(TYPED)
    assert [each.meta for each in records_of(file)] == [
        {"zip": "10115", "price": 19.99, "verified": True, "size": 5, "n": "1"},
        {"zip": "00700", "price": 4.5, "verified": True, "n": "2"},
        {"price": 5.0, "verified": False, "size": 6.5, "n": "3"},
        {"zip": "20095", "price": 20, "n": "x"},
    ]


def test_a_type_is_decided_by_the_first_thousand_rows_and_kept(tmp_path):
    file = tmp_path / "a.csv"
    rows = [f"B00,t{n},{n},{n if n < 999 else 'x'}," for n in range(1_005)]
    rows[1_002] = "B00,last,0012,5,late"
    file.write_text("item_id,text,zip,code,rare\n" + "\n".join(rows))
    found = open_sources(IndexingSettings(sources=(str(file),)))
    types = ColumnTypes({})
    records = [row.record for row in found.rows(types=types)]
    # The 1,000th row counts, the 1,001st does not.
    assert types.decided == {"item_id": "text", "zip": "number", "code": "text", "rare": "text"}
    assert records[0].meta == {"zip": 0, "code": "0"}
    assert records[1_002].meta == {"code": "5", "rare": "late"}
    assert types.nulls == {"zip": 1}
    # From any row on, what is known decides.
    rows = list(found.rows())
    for at in (0, 500, 1_003):
        again = found.rows(rows[at].after, ColumnTypes({}, types.decided))
        assert [row.record for row in again] == records[at + 1 :]


def test_a_type_is_decided_alike_wherever_reading_begins_before_it(tmp_path):
    file = tmp_path / "a.jsonl"
    rows = [{"item_id": "B00", "text": f"t{n}"} for n in range(2_500)]
    for n in range(1_200, 2_500):
        rows[n]["late"] = n if n != 2_198 else "x"
    file.write_text("\n".join(map(json.dumps, rows)))
    found = open_sources(IndexingSettings(sources=(str(file),)))
    whole = list(found.rows())
    assert whole[1_200].record.meta == {"late": "1200"}
    for at in (0, 700, 1_199):
        assert list(found.rows(whole[at].after)) == whole[at + 1 :]


def test_declared_types_win_and_misfits_are_left_out_or_set_aside(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes(TYPED)
    types = {"zip": "number", "n": "number", "verified": "text", "size": "text"}
    records = records_of(file, types=types)
    assert [each.meta for each in records] == [
        {"zip": 10115, "price": 19.99, "verified": "TRUE", "size": "5", "n": 1},
        {"zip": 700, "price": 4.5, "verified": "true", "size": "N/A", "n": 2},
        {"price": 5.0, "verified": "False", "size": "6.5", "n": 3},
        {"zip": 20095, "price": 20, "size": "nan"},
    ]
    records = records_of(file, types=types, misfits="reject")
    assert [type(each) for each in records] == [Review, Review, Review, Reject]
    assert (records[3].reason, records[3].detail) == ("wrong type", "n is 'x', not a number")


def test_json_has_one_type_a_column_too(tmp_path):
    file = tmp_path / "a.jsonl"
    rows = [
        {"price": 4.5, "n": 1, "ok": True, "mixed": 1, "zip": "1", "tags": ["a"]},
        {"price": "5.00", "n": "x", "ok": "false", "mixed": [1], "zip": "02", "tags": "b"},
    ]
    file.write_text("\n".join(json.dumps({"item_id": "i", "text": "t", **row}) for row in rows))
    assert [each.meta for each in records_of(file)] == [
        {"price": 4.5, "n": "1", "ok": True, "mixed": 1, "zip": "1", "tags": ["a"]},
        {"price": 5.0, "n": "x", "ok": False, "mixed": [1], "zip": "02", "tags": "b"},
    ]


def test_dates_say_once_which_number_is_the_month(tmp_path, caplog):
    file = tmp_path / "a.csv"

    def dates(*texts):
        file.write_text("item_id,text,date\n" + "".join(f"i,t,{text}\n" for text in texts))
        return [each.meta["date"] for each in records_of(file)]

    assert dates("03/04/2015", "25/04/2015") == ["2015-04-03", "2015-04-25"]
    assert dates("03/04/2015", "04/25/2015") == ["2015-03-04", "2015-04-25"]
    assert not caplog.records
    assert dates("03/04/2015") == ["2015-03-04"]
    assert "do not say which number is the month" in caplog.text
    assert dates("May 2012", "2011", "20-May-12") == ["2012-05-01", "2011-01-01", "2012-05-20"]
    assert dates("2012-05", "05/2012", "Feb 2013") == ["2012-05-01", "2012-05-01", "2013-02-01"]


@pytest.mark.parametrize("value", ["1e400", "-1e999", "Infinity", "-Infinity"])
def test_a_number_beyond_all_is_text_as_it_is_written_in_every_format(tmp_path, value):
    (tmp_path / "a.csv").write_text(f"item_id,text,n,note\ni,t,5,some\ni,t,{value},{value}\n")
    row = '{"item_id":"i","text":"t","n":%s,"note":%s}'
    rows = [row % ("5", '"some"'), row % (value, value)]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    for name in ("a.csv", "a.jsonl"):
        first, second = rows_of(tmp_path / name)
        assert first.record.meta == {"n": 5, "note": "some"}
        assert second.record.meta == {"note": value}


def test_rejects_and_misfits_speak_of_json(tmp_path):
    file = tmp_path / "a.jsonl"
    good = {"item_id": "i", "text": "t", "n": 5, "date": "2012-05-03"}
    odd = [
        *({**good, "text": value} for value in ([1], {})),
        *({**good, "item_id": value} for value in ([1], {}, True)),
        *({**good, "n": value} for value in (True, [1])),
        {**good, "date": {}},
        *([1], "x", 5, True, None),
    ]
    file.write_text("\n".join(json.dumps(each) for each in [*[good] * 20, *odd]))
    types = {"n": "number", "date": "date"}
    told = [each.detail for each in records_of(file, misfits="reject", types=types)[20:]]
    assert told == [
        "text is a list, not a text",
        "text is an object, not a text",
        "item_id is a list, not an id",
        "item_id is an object, not an id",
        "item_id is true or false, not an id",
        "n is true, not a number",
        "n is a list, not a number",
        "date is an object, not a date",
        "a list where an object is needed",
        "a text where an object is needed",
        "a number where an object is needed",
        "true where an object is needed",
        "null where an object is needed",
    ]


def test_an_id_that_looks_like_a_passages_is_as_good_as_any(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text("review_id,item_id,text\nr1#0,B00,a\n#1,B00,b\n")
    for passages in ({}, {"max_words": 50}):
        assert [each.id for each in records_of(file, passages=passages)] == ["r1#0", "#1"]


def test_memory_is_bounded_by_the_row_not_by_the_file(tmp_path):
    row = b'r%d,B00,"' + b"word " * 200 + b'"\r\n'
    broken = b'x,B00,"never closed\r\n' + (b"a,b," + b"c" * 300 + b"\r\n") * 8_000
    endless = b"x" * 60_000_000 + b"\r\n"
    file = tmp_path / "big.csv"
    with file.open("wb") as out:
        out.write(b"review_id,item_id,text\r\n" + broken + endless)
        for number in range(5_000):
            out.write(row % number)
    tracemalloc.start()
    counts = {"good": 0, "over-long": 0, "malformed": 0}
    sources = open_sources(IndexingSettings(sources=(str(file),)))
    for each in sources.rows():
        record = each.record
        counts["good" if isinstance(record, Review) else record.reason] += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert counts == {"good": 13_000, "over-long": 1, "malformed": 1}
    assert peak < 30_000_000


def test_lines_are_pushed_back_with_their_places():
    lines = Lines(io.BytesIO(b"a\nbb\n" + b"c" * 100 + b"\nd"), "x", 10)
    first, second, third = next(lines), next(lines), next(lines)
    assert (first, second, third) == ((b"a\n", 2), (b"bb\n", 3), (b"c" * 10, 101))
    assert (lines.offset, lines.line) == (106, 3)
    lines.push_back([second, third])
    assert (lines.offset, lines.line) == (2, 1)
    assert list(lines) == [second, third, (b"d", 1)]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
ID = TEXT.map(str.strip).filter(bool).filter(lambda text: len(text) < 512)
SAID = TEXT.filter(bool)
KINDS = [
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    SAID,
    st.lists(st.none() | st.booleans() | TEXT),
]


def reviews_with(meta):
    return st.lists(
        st.builds(
            Review,
            id=ID,
            item_id=ID,
            text=TEXT.filter(lambda text: bool(text.strip())),
            meta=meta,
            title=st.none() | SAID.map(lambda text: " ".join(text.split())).filter(bool),
        ),
        min_size=1,
        max_size=8,
    )


REVIEWS_OF_ONE_TYPE = st.sampled_from(KINDS).flatmap(
    lambda kind: reviews_with(st.dictionaries(st.just("colour"), kind))
)


@settings(max_examples=60, deadline=None)
@given(REVIEWS_OF_ONE_TYPE)
def test_json_lines_come_back_as_they_were_written(tmp_path_factory, reviews):
    file = tmp_path_factory.mktemp("jsonl") / "a"
    file.write_bytes(as_jsonl(reviews))
    assert records_of(file) == reviews


@settings(max_examples=60, deadline=None)
@given(reviews_with(st.just({})), st.sampled_from([",", ";", "\t"]))
def test_csv_comes_back_as_it_was_written(tmp_path_factory, reviews, delimiter):
    file = tmp_path_factory.mktemp("csv") / "a"
    file.write_bytes(as_csv(reviews, delimiter))
    assert records_of(file) == reviews


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(['"', ",", "\n", "\r\n", "ab", '""', "é", "\0"]), max_size=60))
def test_whatever_a_csv_file_holds_every_line_is_read_once(tmp_path_factory, parts):
    file = tmp_path_factory.mktemp("csv") / "a"
    body = "".join(parts).encode()
    file.write_bytes(b"item_id,text\n" + body)
    rows = rows_of(file)
    offsets = [row.after.offset for row in rows]
    assert offsets == sorted(set(offsets))
    assert all(0 < offset - 13 <= len(body) for offset in offsets)
    rest = body[offsets[-1] - 13 :] if offsets else body
    assert not rest.strip(b"\r\n")
    for row in rows:
        assert row.after.line == (b"item_id,text\n" + body)[: row.after.offset].count(b"\n") + (
            row.after.offset == len(body) + 13 and not body.endswith(b"\n")
        )


def test_a_review_of_columns_is_what_json_says():
    made = Columns().review(json.loads('{"item_id": "i", "text": " t ", "x": {"y": [1, null]}}'))
    assert made.text == " t "
    assert made.meta == {"x": {"y": [1, None]}}


@pytest.mark.data
def test_subjqa_is_recognised(qa_data, tmp_path):
    folder = qa_data / "subjqa" / "electronics"
    reviews = records_of(folder)
    assert len(reviews) == 1615
    assert not any(each.text.endswith("ANSWERNOTFOUND") for each in reviews)
    test = folder / "test.csv"
    assert records_of(test) == records_of(test, format="subjqa")
    assert len(records_of(qa_data / "subjqa" / "*")) == 6184
    rows = rows_of(folder)
    assert rows_of(folder, start=rows[1000].after) == rows[1001:]


def test_sample_is_recognised(sample):
    reviews = records_of(sample)
    assert len(reviews) >= 150
    assert all(isinstance(each, Review) for each in reviews)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        *((text, 4) for text in ("4", "4.0", "4,0", "4/5", "4.0 out of 5 stars", "Rated 4 / 5.0")),
        *((text, 4.5) for text in ("4½", "4,5", "4.5 von 5 Sternen")),
        *((text, None) for text in ("8/10", "80%", "10/10", "4 out of 6")),
    ],
)
def test_ratings_are_of_five(tmp_path, written, read):
    rows = "".join(f"r{at},A,Good.,{value}\n" for at, value in enumerate(["5", "3", "2"]))
    file = tmp_path / "a.csv"
    file.write_text(f'review_id,item_id,text,stars\n{rows}r9,A,Good.,"{written}"\n')
    assert records_of(file)[-1].meta.get("stars") == read


@pytest.mark.parametrize(("title", "read"), [("  ", None), ("Too\n dim ", "Too dim"), ("", None)])
def test_a_title_is_one_line_or_none(tmp_path, title, read):
    file = tmp_path / "a.jsonl"
    row = {"review_id": "r1", "item_id": "A", "title": title, "text": "Returned."}
    file.write_bytes(orjson.dumps(row))
    assert records_of(file)[0].title == read
