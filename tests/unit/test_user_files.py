"""What a command is told to write to may hold something of a user's: that is refused, and kept."""

import pytest
from haystack import Document

from eval.report.folder import check_places
from indexing.rejects import RejectFile
from qa_system.errors import ConfigError, DataError
from qa_system.export.onnx import export_model
from qa_system.sources.rows import Reject
from qa_system.stores.faiss import FAISSDocumentStore
from qa_system.training.recipes import ReaderTraining
from qa_system.training.run import claim


@pytest.mark.parametrize("content", [b"5\n", b"[1]\n", b'"file line reason"\n', b"text\n"])
def test_a_reject_file_that_is_none(tmp_path, content):
    (tmp_path / "mine").write_bytes(content)
    with pytest.raises(ConfigError, match="is no reject file"):
        RejectFile(tmp_path / "mine")
    assert (tmp_path / "mine").read_bytes() == content


def test_training_refuses_a_folder_with_files(tmp_path):
    source = {"path": "bundled:sample"}
    recipe = {"model": "bundled:reader", "train": [source], "dev": [source]}
    (tmp_path / "checkpoints").mkdir()
    mine = [tmp_path / "README.md", tmp_path / "checkpoints" / "best.txt"]
    for path in mine:
        path.write_bytes(b"mine")
    with pytest.raises(ConfigError, match="Name another folder"):
        claim(tmp_path, ReaderTraining.model_validate(recipe))
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(mine)
    assert [path.read_bytes() for path in mine] == [b"mine", b"mine"]


@pytest.mark.parametrize(
    "content",
    [
        b'{"file":"lint.py","line":3,"reason":"unused"}\n',
        b'{"file":"lint.py","line":3,"reason":"unused"}',
        b'{"file":"a","line":1,"reason":"r","review_id":"x1","item_id":"A","text":"Good."}\n',
        b'{"file":"a","line":1,"reason":"r","detail":"","review_id":null,"row":""}\nprecious\n',
    ],
)
def test_a_file_that_begins_like_rejects_is_kept(tmp_path, content):
    path = tmp_path / "mine.jsonl"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="no reject file"):
        RejectFile(path)
    assert path.read_bytes() == content


def test_a_reject_file_of_an_earlier_run_is_replaced(tmp_path):
    path = tmp_path / "rejects.jsonl"
    with RejectFile(path) as rejects:
        rejects.write(Reject("a.csv", 2, "malformed", "quotes"))
    with path.open("ab") as half:
        half.write(b'{"file":"a.csv","li')
    RejectFile(path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "model.json"])
def test_an_export_replaces_no_file_of_others(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigError, match="no export has written"):
        export_model(tmp_path, tmp_path, task="reader")
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize("name", ["report.json", "rows.jsonl", "report.html"])
def test_a_report_replaces_no_file_of_others(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(DataError, match="no evaluation has written"):
        check_places(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["vectors-0.json.new", "lexical.json.new", "writer.json", "vectors-0-0.f32"]
)
def test_a_link_in_a_store_is_not_followed(tmp_path, name):
    target = tmp_path / "precious"
    target.write_bytes(b"x" * 24_000)
    with FAISSDocumentStore(tmp_path / "store") as store:
        store.write_documents([Document(id="a", content="a lamp", embedding=[1.0, 2.0])])
    (tmp_path / "store" / name).unlink(missing_ok=True)
    (tmp_path / "store" / name).symlink_to(target)
    with FAISSDocumentStore(tmp_path / "store") as store:
        store.write_documents([Document(id="b", content="a chair", embedding=[2.0, 1.0])])
        assert [hit.id for hit in store.search_by_embedding([1.0, 0.0])] == ["b", "a"]
        assert store.verify() == []
    assert target.read_bytes() == b"x" * 24_000
