"""Every test runs offline; tests that need the research data say so and skip without it."""

import os
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import hypothesis
import pytest

# The same examples every time, and no clock: a busy machine is no fault of the code.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.load_profile("repeatable")

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def sample() -> Path:
    return ROOT / "data" / "sample"


@pytest.fixture(scope="session")
def qa_data() -> Path:
    """The folder of the research data sets, SubjQA and SQuADShifts."""
    folder = Path(os.environ.get("QA_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"the research data is not here: {folder} (QA_DATA names another folder)")
    return folder


@pytest.fixture(scope="session")
def reader_seed() -> Path:
    """The checkpoint that the bundled reader was exported from."""
    folder = ROOT.parent / "shared" / "models" / "reader-seed"
    if not folder.is_dir():
        pytest.skip(f"the reader's checkpoint is not here: {folder}")
    return folder


@pytest.fixture(scope="session")
def save_checkpoint() -> Callable[[Any, Path], Path]:
    """Saves a model beside the bundled reader's tokenizer, as anybody could have saved it."""
    from transformers import PreTrainedTokenizerFast

    from qa_system.models import locate

    def save(model: Any, folder: Path) -> Path:
        model.save_pretrained(folder)
        PreTrainedTokenizerFast(
            tokenizer_file=str(locate("bundled:reader").path / "tokenizer.json"),
            cls_token="[CLS]",
            sep_token="[SEP]",
            pad_token="[PAD]",
            unk_token="[UNK]",
            model_max_length=512,
        ).save_pretrained(folder)
        return folder

    return save


@pytest.fixture(scope="session")
def made_up_run() -> Callable[..., Any]:
    """Builds runs of made-up questions; see `tests/made_up_runs.py`."""
    built: Callable[..., Any] = runpy.run_path(str(ROOT / "tests" / "made_up_runs.py"))[
        "made_up_run"
    ]
    return built
