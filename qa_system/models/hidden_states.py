"""Where the layers of a transformer are inside its ONNX graph, read without the package `onnx`.

An export has the outputs of its task alone. ONNX Runtime returns any tensor of a graph that is
declared as an output; the tensors that `qa export` leaves between two layers are recognised by the
weights of the normalisation that makes them, which keep the names of the checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

__all__ = ["hidden_states", "with_outputs"]

# Numbers of fields in onnx.proto.
GRAPH = 7
NODE = 1
NODE_INPUT, NODE_OUTPUT, NODE_OPERATOR = 1, 2, 4
GRAPH_OUTPUT = 12
VALUE_NAME = 1
BYTES = 2
"""The wire type of a text, of bytes, and of a message inside a message."""

KNOWN = re.compile(r"(?:Bert|Roberta|XLMRoberta|Camembert|DistilBert|MPNet)(?:Model|For\w+)")
"""Architectures whose hidden states are what these normalisations make."""
EMBEDDINGS = re.compile(r"(?:^|\.)embeddings\.LayerNorm\.weight$")
LAYER = re.compile(r"\.layer\.(\d+)\.(?:output\.LayerNorm|output_layer_norm)\.weight$")


def hidden_states(weights: bytes, architecture: str) -> list[str]:
    """Return the tensors after each layer of a graph; the first is the table of embeddings.

    Args:
        weights: the graph, as its file has it.
        architecture: of the model that was exported, such as `BertModel`.

    Returns:
        Their names; none where the graph is of a kind that is not known.
    """
    if not KNOWN.fullmatch(architecture):
        return []
    found: dict[int, str] = {}
    for node in _inside(memoryview(weights), GRAPH, NODE):
        fields = list(_fields(node))
        if _text(fields, NODE_OPERATOR) != ["LayerNormalization"]:
            continue
        [output, *_], inputs = _text(fields, NODE_OUTPUT), _text(fields, NODE_INPUT)
        for name in inputs[1:2]:
            if EMBEDDINGS.search(name):
                found[0] = output
            elif layer := LAYER.search(name):
                found[int(layer[1]) + 1] = output
    is_whole = len(found) > 1 and sorted(found) == [*range(len(found))]
    return [found[number] for number in range(len(found))] if is_whole else []


def with_outputs(weights: bytes, names: Sequence[str]) -> bytes:
    """Return a graph that declares more of its tensors as outputs.

    Two messages of Protocol Buffers one after the other are one message with the fields of both.

    Args:
        weights: the graph, as its file has it.
        names: of the tensors.
    """
    outputs = b"".join(
        _message(GRAPH_OUTPUT, _message(VALUE_NAME, name.encode())) for name in names
    )
    return weights + _message(GRAPH, outputs)


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _inside(message: memoryview, *numbers: int) -> Iterator[memoryview]:
    """Yield the messages under a path of field numbers."""
    number, *rest = numbers
    for found, content in _fields(message):
        if found == number:
            yield from _inside(content, *rest) if rest else (content,)


def _text(fields: Sequence[tuple[int, memoryview]], number: int) -> list[str]:
    return [bytes(content).decode() for found, content in fields if found == number]


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the numbers and contents of a message's fields that have a length."""
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == BYTES:
            length, at = _read_varint(message, at)
            yield number, message[at : at + length]
            at += length
        elif kind == 0:
            _, at = _read_varint(message, at)
        else:
            at += {1: 8, 5: 4}[kind]


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
