"""A graph that is being exported, opened and run on a CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["open_graph", "run_graph"]

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


def run_graph(
    session: Any, feeds: Mapping[str, NDArray[np.int64]], outputs: Sequence[str] | None = None
) -> Any:
    """Return outputs of a graph, fed with what it takes.

    Args:
        session: as `open_graph` returns it.
        feeds: of a network; a graph may take fewer.
        outputs: their names; None: all.
    """
    taken = {node.name for node in session.get_inputs()}
    return session.run(outputs, {name: ids for name, ids in feeds.items() if name in taken})
