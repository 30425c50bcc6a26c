"""A graph that is being exported, opened to be run on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["open_graph"]

FATAL = 4
"""What fails is an exception, which says the same as ONNX Runtime's own line on stderr."""


def open_graph(model: ModelProto) -> Any:
    """Open a graph in ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
