"""What a command is told to write to may hold something of a user's: that is refused, and kept."""

import pytest

from indexing.rejects import RejectFile
from qa_system.errors import ConfigError
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
