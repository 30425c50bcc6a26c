"""Which damage a checksum finds, and how little is read to find it."""

import os
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.stores.embedded import checksums
from qa_system.stores.embedded.checksums import Checker, Record, crc_of, record_of


@pytest.fixture
def read(monkeypatch):
    """The bytes of each reading."""
    lengths = []

    def counted(path, start=0, end=None, crc=0):
        lengths.append((path.stat().st_size if end is None else end) - start)
        return crc_of(path, start, end, crc)

    monkeypatch.setattr(checksums, "crc_of", counted)
    return lengths


def noted(path):
    return Record(*record_of(path, path.stat().st_size, crc_of(path)))


@given(data=st.binary(max_size=300), cut=st.integers(0, 300))
def test_a_stretch_continues_the_one_before(tmp_path_factory, data, cut):
    path = tmp_path_factory.mktemp("crc") / "file"
    path.write_bytes(data)
    cut = min(cut, len(data))
    assert crc_of(path, cut, len(data), crc_of(path, 0, cut)) == crc_of(path) == zlib.crc32(data)


def test_a_file_is_read_once_until_it_changes(tmp_path, read):
    path = tmp_path / "file"
    path.write_bytes(b"a" * 100)
    record, checker = noted(path), Checker()
    for _ in range(3):
        assert checker.damage_of(path, record) is None
    assert [each for each in read if each] == [100]
    path.write_bytes(b"a" * 99 + b"b")
    assert "file is damaged" in checker.damage_of(path, record)
    path.write_bytes(b"a" * 100)
    assert checker.damage_of(path, record) is None


def test_of_a_file_that_grows_only_the_rest_is_read(tmp_path, read):
    path = tmp_path / "file"
    path.write_bytes(b"a" * 100)
    first, checker = noted(path), Checker()
    assert checker.damage_of(path, first, may_grow=True) is None
    with path.open("ab") as file:
        file.write(b"b" * 20)
    second = noted(path)
    assert checker.damage_of(path, first, may_grow=True) is None
    assert checker.damage_of(path, second, may_grow=True) is None
    assert [each for each in read if each] == [100, 20]
    assert "instead of 100" in checker.damage_of(path, first)


def test_a_large_file_is_read_if_it_was_touched_or_everything_is(tmp_path, read, monkeypatch):
    monkeypatch.setattr(checksums, "LARGE", 50)
    path = tmp_path / "file"
    path.write_bytes(b"a" * 100)
    record = noted(path)
    assert Checker().damage_of(path, record) is None
    assert not any(read)
    before = path.stat()
    path.write_bytes(b"a" * 99 + b"b")
    assert "damaged" in Checker().damage_of(path, record)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    checker = Checker()
    assert checker.damage_of(path, record) is None
    checker.read_again()
    assert "damaged" in checker.damage_of(path, record)


def test_what_is_no_file(tmp_path):
    record = Record(0, 0, 0)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for name in ("folder", "link", "nothing"):
        assert Checker().damage(tmp_path, {name: record}) == f"{name} is missing"
    assert Checker().damage(tmp_path, {"file": [0, 0, 0]}) is None
