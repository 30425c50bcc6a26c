"""Telemetry is off from the first import on, and the user's word stands."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qa_system.telemetry import OFF, turn_off

PRINT = "import os; print(*(f'{name}={os.environ[name]}' for name in %r), sep='\\n')"


def set_after(import_: str, root: Path, **given: str) -> dict[str, str]:
    """The variables of a process that starts with those given, and imports."""
    kept = {name: value for name, value in os.environ.items() if name not in OFF}
    code = f"{import_}\n{PRINT % list(OFF)}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "PYTHONPATH": str(root), **given},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split("=") for line in done.stdout.splitlines())


@pytest.mark.parametrize("package", ["qa_system", "indexing", "eval"])
def test_any_import_of_ours_turns_it_off(package: str, root: Path) -> None:
    assert set_after(f"import {package}", root) == OFF


@pytest.mark.parametrize("name", OFF)
def test_what_the_user_has_set_stays(name: str, root: Path) -> None:
    assert set_after("import qa_system", root, **{name: "mine"}) == OFF | {name: "mine"}


def test_a_hub_client_that_was_imported_first_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "0")
    turn_off()
    assert not constants.HF_HUB_DISABLE_TELEMETRY
    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY")
    turn_off()
    assert constants.HF_HUB_DISABLE_TELEMETRY


def test_the_hubs_client_takes_both_its_variables(root: Path) -> None:
    check = (
        "import qa_system\nfrom huggingface_hub.constants import HF_HUB_DISABLE_TELEMETRY as off"
    )
    on = {"HF_HUB_DISABLE_TELEMETRY": "0", "DO_NOT_TRACK": "0"}
    set_after(f"{check}\nassert not off", root, **on)
    set_after(f"{check}\nassert off", root, HF_HUB_DISABLE_TELEMETRY="0")


def test_an_onnxruntime_that_was_imported_first_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import onnxruntime  # noqa: F401  (imported with its telemetry off)

    with caplog.at_level(logging.WARNING):
        turn_off()
        assert not caplog.records
        monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
        turn_off()
    assert "set ORT_DISABLE_TELEMETRY=1" in caplog.text
