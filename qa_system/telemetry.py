"""Turn off the telemetry of the packages we depend on.

`qa_system` does it when it is imported, `indexing` and `eval` import `qa_system` first. The
packages read these variables when they are imported, so it has to happen before that.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Final

__all__ = ["OFF", "turn_off"]

OFF: Final = {
    # Haystack sends an event to PostHog when a pipeline runs, and keeps an id in ~/.haystack.
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    # ONNX Runtime keeps a device id and a queue of events in the user's cache folder and sends them
    # to Microsoft. Its `disable_telemetry_events()` stops neither.
    "ORT_DISABLE_TELEMETRY": "1",
    # The Hub's client adds to each request what is installed and which coding agent runs it; it
    # asks the Hub for the list of agents. transformers and sentence-transformers go through it.
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # The convention for all programs (https://donottrack.sh). The Hub's client heeds it, too.
    "DO_NOT_TRACK": "1",
}
"""The environment variables and the values that mean off."""

_READ_AT_IMPORT: Final = {
    "HAYSTACK_TELEMETRY_ENABLED": ("haystack.telemetry._telemetry", "telemetry", None),
    "HF_HUB_DISABLE_TELEMETRY": ("huggingface_hub.constants", "HF_HUB_DISABLE_TELEMETRY", True),
}
"""Where a package keeps what it read, and what it keeps there when it is off."""


def turn_off() -> None:
    """Set every variable of `OFF` that the user has not set.

    A Haystack or a Hub client that was imported before is told as well. ONNX Runtime cannot be: a
    warning says so.
    """
    if "onnxruntime" in sys.modules and "ORT_DISABLE_TELEMETRY" not in os.environ:
        logging.getLogger(__name__).warning(
            "onnxruntime was imported before qa_system, and its telemetry stays on. "
            "Import qa_system first, or set ORT_DISABLE_TELEMETRY=1 before the program starts."
        )
    for name, value in OFF.items():
        os.environ.setdefault(name, value)
    for name, (module, attribute, off) in _READ_AT_IMPORT.items():
        if module in sys.modules and os.environ[name] == OFF[name]:
            setattr(sys.modules[module], attribute, off)
