"""A teacher's logits: asked once for each window, found again by what is read and by what reads."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qa_system.errors import DataError, ModelError
from qa_system.models.inference import load_tokenizer
from qa_system.models.locate import locate
from qa_system.readers.windows import Window, WindowCutter
from qa_system.training.reader import soft_targets as module
from qa_system.training.reader.soft_targets import soft_targets

CUTTER = WindowCutter(load_tokenizer(locate("bundled:reader").path), 64, 16)


class Teacher:
    """Computes a token's id as its start, and the windows asked so far as its end."""

    pads = True
    pad_id = 0
    workers = 1
    precision = "fp32"

    def __init__(self, worst: float = 0.0, patience: int = 10**9) -> None:
        self.asked = 0
        self.worst = worst
        self.patience = patience

    def logits(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        self.asked += len(input_ids)
        if self.asked > self.patience:
            raise KeyboardInterrupt
        return input_ids + self.worst, np.full(input_ids.shape, float(self.asked))


def windows(*texts: str) -> list[Window]:
    [found] = CUTTER.cut(["How is it?"], [list(texts)])
    return [window for each in found for window in each]


def test_the_null_token_and_the_text_in_the_order_of_the_windows(tmp_path: Path) -> None:
    asked = windows("It is good.", "Bad", "It is good.")
    found = soft_targets(Teacher(), "a" * 64, asked, tmp_path)
    for window, logits in zip(asked, found, strict=True):
        ids = window.input_ids
        text = ids[window.context_start : window.context_start + len(window.offsets)]
        assert logits[0].tolist() == [ids[0], *text]
    assert found[0].shape == (2, 1 + 4)


def test_a_window_is_read_once(tmp_path: Path) -> None:
    first, second = Teacher(), Teacher()
    found = soft_targets(first, "a" * 64, windows("Good.", "Bad.", "Good."), tmp_path)
    assert first.asked == 2
    again = soft_targets(second, "a" * 64, windows("Bad.", "New.", "Good."), tmp_path)
    assert second.asked == 1
    np.testing.assert_array_equal(again[2], found[0])
    np.testing.assert_array_equal(again[0], found[1])


def test_another_teacher_or_precision_is_asked_anew(tmp_path: Path) -> None:
    soft_targets(Teacher(), "a" * 64, windows("Good."), tmp_path)
    other, coarse = Teacher(), Teacher()
    coarse.precision = "bf16"
    soft_targets(other, "b" * 64, windows("Good."), tmp_path)
    soft_targets(coarse, "a" * 64, windows("Good."), tmp_path)
    assert (other.asked, coarse.asked) == (1, 1)


def test_a_stopped_run_asks_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WINDOWS_PER_FILE", 2)
    asked = windows(*(f"Number {number}." for number in range(5)))
    with pytest.raises(KeyboardInterrupt):
        soft_targets(Teacher(patience=4), "a" * 64, asked, tmp_path)
    later = Teacher()
    found = soft_targets(later, "a" * 64, asked, tmp_path)
    assert later.asked == 1
    assert [logits[0].tolist()[0] for logits in found] == [asked[0].input_ids[0]] * 5


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    soft_targets(Teacher(), "a" * 64, windows("Good."), tmp_path)
    [file] = tmp_path.rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(DataError, match="cannot be read") as caught:
        soft_targets(Teacher(), "a" * 64, windows("Good."), tmp_path)
    assert str(file) in str(caught.value)
    file.unlink()
    assert len(soft_targets(Teacher(), "a" * 64, windows("Good."), tmp_path)) == 1


def test_what_is_no_number_teaches_nothing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="NaN or infinity"):
        soft_targets(Teacher(worst=np.nan), "a" * 64, windows("Good."), tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))
