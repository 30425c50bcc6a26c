"""A table of weights that is stored as its difference from another model's."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from qa_system.errors import ModelError
from qa_system.models.differences import difference_of, restored
from qa_system.models.inference import OnnxSession
from qa_system.models.locate import locate


def weights(table: np.ndarray, more: int) -> bytes:
    graph = helper.make_graph(
        [helper.make_node("Identity", ["table"], ["out"])],
        "g" * more,
        [],
        [helper.make_tensor_value_info("out", TensorProto.INT8, table.shape)],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(table[:2], "small")],
    )
    return helper.make_model(graph).SerializeToString()


@pytest.fixture
def tables() -> tuple[np.ndarray, np.ndarray]:
    drawn = np.random.default_rng(13)
    base = drawn.integers(-128, 128, (300, 8), dtype=np.int8)
    return base, (base.astype(int) + drawn.integers(-3, 4, base.shape)).astype(np.int8)


def test_the_whole_is_restored_byte_by_byte(tables, tmp_path: Path) -> None:
    base, own = weights(tables[0], 1), weights(tables[1], 40)
    stored, difference = difference_of(own, base, "the base")
    assert difference.length == tables[0].size
    numbers = np.frombuffer(stored, np.int8, difference.length, difference.offset)
    assert np.abs(numbers).max() <= 3
    for name, data in (("own", stored), ("base", base)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_bytes(data)
    assert restored(tmp_path / "own", tmp_path / "base", difference) == own


@pytest.mark.parametrize("damage", [lambda data: data[:-1] + b"?", lambda data: data[:2_000]])
def test_another_base_is_told(damage, tables, tmp_path: Path) -> None:
    stored, difference = difference_of(weights(tables[1], 1), weights(tables[0], 1), "the base")
    for name, data in (("own", stored), ("base", damage(weights(tables[1], 1)))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.onnx").write_bytes(data)
    with pytest.raises(ModelError, match="another model than this 'the base'"):
        restored(tmp_path / "own", tmp_path / "base", difference)


def test_models_without_a_table_in_common(tables) -> None:
    with pytest.raises(ModelError, match="no table of the same shape"):
        difference_of(weights(tables[0], 1), weights(tables[0][:, :3], 1), "the base")


def test_the_bundled_reader_is_stored_so() -> None:
    location = locate("bundled:reader")
    stored = onnx.load(location.path / "model.onnx")
    assert OnnxSession(location).manifest["difference_from"]["model"] == "bundled:encoder"
    assert any(each.dims == [30522, 384] for each in stored.graph.initializer)
