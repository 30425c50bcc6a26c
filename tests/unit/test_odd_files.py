"""Files as people have them: encodings, line ends, compressions, headers that are nearly right."""

import bz2
import gzip
import io
import json
import lzma
import os
import tarfile
import zipfile

import pytest

from qa_system.config import IndexingSettings, load_settings
from qa_system.errors import ConfigError, DataError
from qa_system.records import Review
from qa_system.sources.aliases import UnknownColumnsError
from qa_system.sources.csv_format import csv_header
from qa_system.sources.files import open_sources
from qa_system.sources.rows import Columns, Reject

HEADER = b"review_id,item_id,text\n"
PLAIN = HEADER + b"r1,A,good\nr2,A,fine\n"


def open_one(file, stdin=None, **keys):
    return open_sources(IndexingSettings(sources=(str(file),), **keys), stdin)


def rows_of(file, **keys):
    return list(open_one(file, **keys).rows())


def texts(file, **keys):
    return [getattr(row.record, "text", row.record) for row in rows_of(file, **keys)]


def write(folder, data, name="a.csv"):
    file = folder / name
    file.write_bytes(data)
    return file


def check_positions(file, **keys):
    """Reading goes on from every position."""
    sources = open_one(file, **keys)
    rows = list(sources.rows())
    for number, row in enumerate(rows):
        assert list(sources.rows(row.after)) == rows[number + 1 :]


SAYINGS = {
    "cp1252": ["Der Akku hält lange, die Größe passt.", "I don’t like it – too “dim”", "café"],
    "cp1250": ["Zażółć gęślą jaźń, świetny produkt", "Příliš žluťoučký kůň"],
    "cp1254": ["Çok güzel bir ürün, şiddetle tavsiye ederim, kargo hızlı geldi"],
    "cp1251": ["Отличный товар, работает хорошо"],
    "koi8-r": ["Отличный товар, работает хорошо"],
    "cp932": ["とても良い商品です。バッテリーが長持ちします"],
    "big5": ["非常好的產品,電池續航時間長"],
    "utf-16": ["Größe 東京"],
    "utf-16-le": ["Größe passt gut, and more of it"],
    "utf-16-be": ["Größe passt gut, and more of it"],
    "utf-32": ["Größe 東京"],
    "utf-8": ["Größe 東京 💡"],
    "utf-8-sig": ["Größe 東京 💡"],
}


@pytest.mark.parametrize("format_", ["csv", "jsonl", "json"])
@pytest.mark.parametrize("encoding", SAYINGS)
def test_the_encoding_is_detected_and_said(tmp_path, caplog, encoding, format_):
    caplog.set_level("INFO")
    said = SAYINGS[encoding] * 3
    reviews = [
        {"review_id": f"r{n}", "item_id": "A", "text": text, "grüße" * (encoding[:2] != "cp"): "x"}
        for n, text in enumerate(said)
    ]
    if encoding in ("koi8-r", "big5"):
        reviews = [{key: each[key] for key in ("review_id", "item_id", "text")} for each in reviews]
    if format_ == "csv":
        lines = [",".join(reviews[0]), *(",".join(f'"{x}"' for x in r.values()) for r in reviews)]
        text = "\r\n".join(lines)
    elif format_ == "json":
        text = json.dumps(reviews, ensure_ascii=False, indent=2)
    else:
        text = "\n".join(json.dumps(each, ensure_ascii=False) for each in reviews)
    file = write(tmp_path, text.encode(encoding))
    assert texts(file) == said
    name = encoding.removesuffix("-sig")
    assert open_one(file).files[0].described()["encoding"] == name
    assert (f"{file}: read as {name}" in caplog.text) == (name != "utf-8")
    check_positions(file)
    assert texts(file, encoding=encoding) == said
    stdin = io.BufferedReader(io.BytesIO(file.read_bytes()))
    rows = open_sources(IndexingSettings(sources=("-",)), stdin).rows()
    assert [row.record.text for row in rows] == said


def test_a_latin_1_header(tmp_path):
    file = write(tmp_path, "review_id,item_id,text,größe\nr1,A,x,3\n".encode("latin-1"))
    [row] = rows_of(file)
    assert row.record == Review("r1", "A", "x", {"größe": 3})


def test_bytes_of_another_encoding_far_behind_are_found(tmp_path):
    file = write(tmp_path, HEADER + b"r,A,plain\n" * 100_000 + "r,A,größe\n".encode("cp1252"))
    assert texts(file)[-1] == "größe"


def test_damaged_utf_8_stays_utf_8(tmp_path):
    file = write(tmp_path, HEADER + "r1,A,Größe\nr2,A,東京\n".encode() + b"r3,A,caf\xe9\n")
    assert texts(file)[:2] == ["Größe", "東京"]
    assert texts(file)[2].reason == "bad encoding"


def test_a_told_encoding_is_taken_and_what_it_has_not_is_set_aside(tmp_path):
    file = write(tmp_path, HEADER + b"r1,A,caf\xe9\nr2,A,\x81\nr3,A,fine\n")
    assert texts(file, encoding="latin-1") == ["café", "\x81", "fine"]
    found = texts(file, encoding="cp1252")
    assert (found[0], found[2]) == ("café", "fine")
    assert (found[1].reason, found[1].detail) == (
        "bad encoding",
        "it holds bytes that are not cp1252",
    )
    assert [type(each) for each in texts(file, encoding="utf-8")] == [Reject, Reject, str]
    for name in ("klingon", "rot13", "utf-8\0"):
        with pytest.raises(ConfigError, match=r"indexing\.encoding"):
            load_settings(overrides={"indexing.encoding": name}, environ={})


@pytest.mark.parametrize("end", [b"\r", b"\n", b"\r\n"])
@pytest.mark.parametrize("format_", ["csv", "jsonl", "json"])
def test_lines_end_in_any_way(tmp_path, format_, end):
    rows = [{"review_id": f"r{n}", "item_id": "A", "text": f"text {n}"} for n in range(5)]
    if format_ == "csv":
        lines = ["review_id,item_id,text", *(",".join(each.values()) for each in rows)]
        data = end.join(map(str.encode, lines))
    elif format_ == "json":
        data = json.dumps(rows, indent=1).encode().replace(b"\n", end)
    else:
        data = end.join(json.dumps(each).encode() for each in rows)
    file = write(tmp_path, data)
    assert texts(file) == [f"text {n}" for n in range(5)]
    check_positions(file)


def test_carriage_returns_across_chunks(tmp_path):
    body = b"".join(b"r%d,A,%s\r" % (n, b"x" * (n % 700)) for n in range(1, 700))
    file = write(tmp_path, HEADER.replace(b"\n", b"\r") + body)
    assert [len(text) for text in texts(file)] == list(range(1, 700))
    file = write(tmp_path, HEADER.replace(b"\n", b"\r") + b'r1,A,"two\rlines"\r')
    assert texts(file) == ["two\nlines"]


def zipped(*members):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


PACKED = {
    "gz": gzip.compress(PLAIN),
    "joined.gz": gzip.compress(PLAIN) + gzip.compress(HEADER + b"r3,A,more\n"),
    "bz2": bz2.compress(PLAIN),
    "xz": lzma.compress(PLAIN),
    "zip": zipped(("a.csv", PLAIN)),
    "folder.zip": zipped(("x/", b""), ("x/a.csv", PLAIN), ("__MACOSX/x/._a.csv", b"\0")),
    "notes.zip": zipped(("README.md", b"read me"), ("a.csv", PLAIN)),
    "gz.zip": zipped(("a.csv.gz", gzip.compress(PLAIN))),
    "gz.gz": gzip.compress(gzip.compress(PLAIN)),
    "cp1252.zip": zipped(("a.csv", PLAIN + "r3,A,größe\n".encode("cp1252"))),
}


@pytest.mark.parametrize("name", PACKED)
def test_compressed_files_are_read(tmp_path, name):
    file = write(tmp_path, PACKED[name], f"a.{name}")
    more = {"joined.gz": ["more"], "cp1252.zip": ["größe"]}.get(name, [])
    assert texts(file) == ["good", "fine", *more]
    check_positions(file)
    if not name.endswith("zip"):
        stdin = io.BufferedReader(io.BytesIO(PACKED[name]))
        rows = open_sources(IndexingSettings(sources=("-",)), stdin).rows()
        assert [row.record.text for row in rows] == ["good", "fine", *more]


def test_a_folder_of_compressed_files(tmp_path):
    for name in ("gz", "bz2", "xz", "zip"):
        write(tmp_path, PACKED[name], f"{name}.csv.{name}")
    assert [file.path.name for file in open_one(tmp_path).files] == [
        "bz2.csv.bz2",
        "gz.csv.gz",
        "xz.csv.xz",
        "zip.csv.zip",
    ]


def tarred():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("a.csv")
        info.size = len(PLAIN)
        archive.addfile(info, io.BytesIO(PLAIN))
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (zipped(("a.csv", PLAIN), ("b.csv", PLAIN)), r"holds 2 files.*unzip .* -d FOLDER, then"),
        (zipped(), "an empty zip archive"),
        (zipped(("x/", b"")), "holds 0 files"),
        (zipped(("[Content_Types].xml", b""), ("xl/a.xml", b"")), "Save the sheet as CSV"),
        (zipped(("a.csv", PLAIN))[:-30], "cannot be read on"),
        (tarred(), "a tar archive.*tar -xf"),
        (b"\x28\xb5\x2f\xfd" + b"x" * 50, "zstd -d"),
        (b"\xd0\xcf\x11\xe0" + b"\0" * 50, "Excel workbook"),
        (b"<!DOCTYPE html><html>", "an HTML page"),
        (b"%PDF-1.7\n", "a PDF"),
        (b"SQLite format 3\0" + b"\0" * 90, "an SQLite database"),
        (gzip.compress(b"PAR1" + b"\0" * 90), "not by a pipe, not compressed"),
        (b"\x7fELF\x02\x01\x01\0\0\0\x01\x02", "binary"),
        (PACKED["gz"][:-9], "cannot be read on"),
        (PACKED["gz"][:3], "cannot be read on"),
        (b"\x1f\x8b\x01" + PACKED["gz"][3:], "cannot be read on"),
        (PACKED["xz"][:-9], "cannot be read on"),
        (PACKED["bz2"][:20] + b"xxx" + PACKED["bz2"][23:], "cannot be read on"),
    ],  # Compressed files hold the time: not as names, which every worker has to find the same.
    ids=lambda value: "file" if isinstance(value, bytes) else value,
)
def test_what_cannot_be_read_is_told_with_a_way_out(tmp_path, data, message):
    file = write(tmp_path, data)
    with pytest.raises(DataError, match=message):
        rows_of(file)


def test_subjqa_that_is_compressed(tmp_path, sample):
    file = write(tmp_path, gzip.compress((sample / "test.csv").read_bytes()), "test.csv.gz")
    with pytest.raises(DataError, match=r"a file of SubjQA.*Decompress it"):
        open_one(file)


def test_a_damaged_gzip_gives_the_rows_before_the_damage(tmp_path):
    body = b"".join(b"r%d,A,%s\n" % (n, os.urandom(300).hex().encode()) for n in range(2_000))
    whole = bytearray(gzip.compress(HEADER + body))
    whole[len(whole) // 2] ^= 0xFF
    sources = open_one(write(tmp_path, bytes(whole)))
    seen = []
    with pytest.raises(DataError, match=r"a\.csv, line \d+"):
        seen.extend(sources.rows())
    file = write(tmp_path, bytes(whole[: len(whole) // 2]), "cut.csv")
    with pytest.raises(DataError, match="cannot be read on"):
        rows_of(file)


def test_a_file_that_may_not_be_read(tmp_path):
    file = write(tmp_path, PLAIN)
    file.chmod(0)
    if os.access(file, os.R_OK):
        pytest.skip("the superuser may read everything")
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        rows_of(file)


def test_standard_input_that_is_closed(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DataError, match="standard input is closed"):
        open_sources(IndexingSettings(sources=("-",)))


MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    "data",
    [
        PLAIN.replace(b"r2", HEADER + b"r2"),
        PLAIN.replace(b"r2", MARK + HEADER + b"r2"),
        PLAIN.replace(b"r2", b"\n \n" + HEADER.replace(b",", b" , ") + b"r2"),
        b"\n" + PLAIN,
        b"\r\n  \r\n\n" + PLAIN,
        MARK * 2 + PLAIN,
        MARK + b"\n" + PLAIN,
        b"sep=,\n" + PLAIN,
        b"sep=;\r\n" + PLAIN.replace(b",", b";"),
        PLAIN.replace(b",", b" ; "),
        b'"review_id","item_id","text"\n' + PLAIN[len(HEADER) :],
    ],
)
def test_headers_that_are_nearly_right(tmp_path, data):
    file = write(tmp_path, data)
    assert [text.strip() for text in texts(file)] == ["good", "fine"]
    check_positions(file)


def test_tabs_without_quotes(tmp_path):
    header = PLAIN.replace(b",", b"\t")
    said = ['"Great" lamp', '5" screen', '"', "it's fine", 'a ""b""']
    rows = "".join(f"r{n}\tA\t{text}\n" for n, text in enumerate(said, start=3))
    file = write(tmp_path, header + rows.encode(), "a.tsv")
    assert texts(file) == ["good", "fine", *said]
    check_positions(file)
    # Quotes that are right as quotes are quotes.
    file = write(tmp_path, header + b'r3\tA\t"two\tcells, ""one"" quote"\n', "a.tsv")
    assert texts(file) == ["good", "fine", 'two\tcells, "one" quote']


def test_json_lines_that_were_joined(tmp_path):
    line = b'{"item_id": "A", "text": "%s"}\n'
    file = write(tmp_path, MARK + line % b"one" + MARK + line % b"two" + b"\n" + MARK)
    assert texts(file) == ["one", "two"]


@pytest.mark.parametrize("header", [b"item_id,review_id,text\n", b"text,item_id,stars\n"])
def test_another_header_in_the_middle_stops_the_job(tmp_path, header):
    file = write(tmp_path, PLAIN + header + b"A,r3,fine\n")
    sources = open_one(file)
    with pytest.raises(DataError, match=r"another header.*a\.csv, line 4\).*one by one"):
        list(sources.rows())


@pytest.mark.parametrize("data", [b"", MARK, MARK * 2, b"\n\n", b" ", HEADER, MARK + HEADER])
def test_files_without_a_row(tmp_path, data):
    assert rows_of(write(tmp_path, data)) == []


def test_columns_without_a_name_are_row_numbers(tmp_path):
    for first in (b"", b"Unnamed: 0"):
        file = write(tmp_path, first + b",item_id,text,\n0,A,good,\n1,A,good,x\n")
        first_row, second = (row.record for row in rows_of(file))
        assert first_row == second
        assert first_row.meta == {}
    file = write(tmp_path, b'{"": 1, "item_id": "A", "text": "good"}')
    assert rows_of(file)[0].record.meta == {}


def test_a_header_of_many_columns():
    names = [f"c{n}" for n in range(20_000)]
    header = csv_header([",".join(["item_id", *names, "text"]).encode()], "x", Columns())
    assert header.names == ("item_id", *names, "text")
    with pytest.raises(ConfigError, match="names 'c7' more than once"):
        csv_header([",".join(["item_id", *names, "c7"]).encode()], "x", Columns())


OBJECTS = [
    {
        "review_id": "r1",
        "item_id": "A",
        "text": 'A "quoted" {text}, [1] \\ \n',
        "x": {"y": [1, {}]},
    },
    {"review_id": "r2", "item_id": "A", "text": "\u2028 東京 💡 \x7f" * 20, "x": {}},
    {"review_id": "r3", "item_id": "B", "text": "fine", "x": []},
]


@pytest.mark.parametrize("indent", [None, 0, 2])
@pytest.mark.parametrize("is_ascii", [True, False])
@pytest.mark.parametrize("layout", ["list", "list without end", "one after the other", "lists"])
def test_json_in_any_layout(tmp_path, caplog, layout, is_ascii, indent):
    def said(value):
        return json.dumps(value, indent=indent, ensure_ascii=is_ascii)

    data = said(OBJECTS)
    if layout == "list without end":
        data = data.rstrip("]\n ")
    elif layout == "one after the other":
        data = "\n".join(map(said, OBJECTS)) if indent is None else " ".join(map(said, OBJECTS))
    elif layout == "lists":
        data = said(OBJECTS[:1]) + said([]) + said(OBJECTS[1:])
    file = write(tmp_path, data.encode(), "a.json")
    assert texts(file) == [each["text"] for each in OBJECTS]
    assert [row.record.meta["x"] for row in rows_of(file)] == [each["x"] for each in OBJECTS]
    assert ("may be cut off" in caplog.text) == (layout == "list without end")
    check_positions(file)


def test_a_list_is_read_in_pieces(tmp_path):
    rows = [
        {"item_id": "A", "text": '\\"' * (n % 97) + "é" * (n % 89) or "x"} for n in range(4_000)
    ]
    for indent in (None, 1):
        file = write(tmp_path, json.dumps(rows, indent=indent, ensure_ascii=False).encode())
        assert texts(file) == [row["text"] for row in rows]
        sources = open_one(file)
        whole = list(sources.rows())
        for at in (0, 777, 3_998):
            assert list(sources.rows(whole[at].after)) == whole[at + 1 :]
        lines = file.read_bytes()
        for row in whole[:: len(whole) // 7]:
            assert row.after.line == lines[: row.after.offset].count(b"\n")


def test_what_is_wrong_in_a_list_spoils_only_itself(tmp_path):
    good = '{"item_id": "A", "text": "good"}'
    long = json.dumps({"item_id": "A", "text": "x" * 2_000_000})
    file = write(
        tmp_path,
        f'[{good},\n{{"item_id": "A", "text": "open}},\n{good}, 5, null, "text", "a,]",\n'
        f'{{"item_id" "A"}}, {long}, {{"item_id": "A"}}, ]}} {good}]'.encode(),
        "a.json",
    )
    records = [row.record for row in rows_of(file)]
    assert [each.text for each in records if isinstance(each, Review)] == ["good"] * 3
    bad = [(each.line, each.reason) for each in records if isinstance(each, Reject)]
    assert bad == [
        (2, "malformed"),
        (3, "malformed"),
        (3, "malformed"),
        (3, "malformed"),
        (3, "malformed"),
        (4, "malformed"),
        (4, "over-long"),
        (4, "missing text"),
        (4, "malformed"),
    ]
    check_positions(file)


@pytest.mark.parametrize("tail", ['{"item_id": "A"', '{"item_id": "A', '{"a": [1, ', '"', '"\\'])
def test_a_list_that_ends_within_an_object(tmp_path, tail):
    file = write(tmp_path, f'[{{"item_id": "A", "text": "good"}},\n{tail}'.encode(), "a.json")
    rows = open_one(file).rows()
    assert next(rows).record.text == "good"
    with pytest.raises(DataError, match=r"ends within .*a\.json, line 2\)"):
        next(rows)


def test_a_json_text_nested_too_deep(tmp_path):
    for depth in (25, 1_000, 100_000):
        deep = "[" * depth + "]" * depth
        for text in (
            '{"item_id": "A", "text": "x", "y": %s}',
            '[{"item_id": "A", "text": "x", "y": %s}]',
        ):
            file = write(tmp_path, (text % deep).encode(), "a.json")
            [row] = rows_of(file)
            assert row.record.reason == "nesting too deep"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_first_rows_of_empty_cells_are_blank(tmp_path, delimiter):
    lines = ["||", " | |", "", "review_id|item_id|text", "r1|A|x", "r2|A|y"]
    data = "\n".join(lines).replace("|", delimiter)
    file = write(tmp_path, data.encode())
    assert texts(file) == ["x", "y"]
    assert [row.line for row in rows_of(file)] == [5, 6]
    check_positions(file)


@pytest.mark.parametrize(
    ("data", "guessed"),
    [
        ({"reviews": [{"asin": "A", "reviewText": "x"}]}, {"text": None, "item_id": None}),
        ({"asin": {"0": "A"}, "reviewText": {"0": "x"}}, {"text": None, "item_id": None}),
        ({"product": {"id": "A"}, "text": "x", "product_group": "g"}, {"item_id": "product_group"}),
    ],
)
def test_a_column_of_lists_or_objects_is_not_guessed(tmp_path, data, guessed):
    with pytest.raises(UnknownColumnsError) as caught:
        rows_of(write(tmp_path, json.dumps(data).encode(), "a.json"))
    assert caught.value.columns == guessed
