"""An ONNX graph that computes for the first token alone what only the first token needs.

A classifier reads the first token of the last layer. Behind that layer's attention no token looks
at another, so what is computed there for the others is of no use: with three layers, a quarter of
the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["select_early"]

TOKENWISE: Final = frozenset(("Add", "Div", "Erf", "Gelu", "LayerNormalization", "Mul", "Tanh"))
"""Operators that treat each token alike, if the constants beside it are vectors."""
TOKENS: Final = 1
"""The axis of (rows, tokens, dimension)."""


def select_early(model: ModelProto) -> bool:
    """Move the selection of a token to before the operators that treat each token alike.

    Args:
        model: with one selection; it is changed.

    Returns:
        Whether the selection was moved.
    """
    import onnx

    graph = model.graph
    constants = {each.name: len(each.dims) for each in graph.initializer}
    selections = [node for node in graph.node if _is_selection(node, constants)]
    if len(selections) != 1:
        return False
    [selection] = selections
    source, place = selection.input
    before = _before(graph.node, source, constants)
    if not before:
        return False
    made = {name for node in before for name in node.output}
    selected: dict[str, str] = {}
    for node in before:
        for number, name in enumerate(node.input):
            if name in constants or name in made or not name:
                continue
            if name not in selected:
                selected[name] = f"{name}_selected"
                gather = onnx.helper.make_node(
                    "Gather", [name, place], [selected[name]], name=selected[name], axis=TOKENS
                )
                graph.node.insert(list(graph.node).index(node), gather)
            node.input[number] = selected[name]
        if source in node.output:
            node.output[list(node.output).index(source)] = selection.output[0]
    graph.node.remove(selection)
    for stated in [each for each in graph.value_info if each.name in made]:
        graph.value_info.remove(stated)  # their shapes
    return True


def _is_selection(node: NodeProto, constants: dict[str, int]) -> bool:
    """Tell whether a node takes one token out of each row."""
    import onnx

    axes = [onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == "axis"]
    return node.op_type == "Gather" and axes == [TOKENS] and constants.get(node.input[1]) == 0


def _before(nodes: list[NodeProto], source: str, constants: dict[str, int]) -> list[NodeProto]:
    """Return the nodes whose outputs nothing but the selection needs, in order."""
    users: dict[str, list[int]] = {}
    for number, node in enumerate(nodes):
        for name in node.input:
            users.setdefault(name, []).append(number)
    found: set[int] = set()
    for number in range(len(nodes) - 1, -1, -1):
        node = nodes[number]
        is_needed_here = all(
            user in found
            or (name == source and source in nodes[user].input and nodes[user].op_type == "Gather")
            for name in node.output
            for user in users.get(name, (-1,))
        )
        if is_needed_here and _is_tokenwise(node, constants):
            found.add(number)
    return [nodes[number] for number in sorted(found)]


def _is_tokenwise(node: NodeProto, constants: dict[str, int]) -> bool:
    ranks = [constants.get(name) for name in node.input if name]
    if node.op_type == "MatMul":
        return ranks == [None, 2]
    return node.op_type in TOKENWISE and all(rank is None or rank <= 1 for rank in ranks)
