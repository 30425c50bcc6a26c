"""Every test runs offline; tests that need the research data say so and skip without it."""

import os
from pathlib import Path

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
