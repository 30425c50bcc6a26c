"""Doctests run offline too, in a folder of their own."""

import os

import pytest

import qa_system  # noqa: F401  (before a test imports Haystack: it turns telemetry off)

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True)
def _doctests_leave_no_trace(request: pytest.FixtureRequest) -> None:
    if isinstance(request.node, pytest.DoctestItem):
        request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("tmp_path"))
