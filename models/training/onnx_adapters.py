"""Takes the adapters out of an exported transformer: what an image without any runs."""

from pathlib import Path
from typing import Any

_INPUTS = ("adapter_down", "adapter_up")


def remove_adapters(source: Path, target: Path) -> None:
    """Write `source` without its adapter inputs, everything else as it is.

    Every low-rank product ends in an addition to what the layer itself gives; there the graph is cut. Feeding adapters
    of rank 0 gives the same bits, but costs a quarter of a step.
    """
    import onnx

    model = onnx.load(source)
    graph = model.graph
    adapted, renamed, kept = set(_INPUTS), dict[str, str](), []
    for node in graph.node:
        inputs = [renamed.get(name, name) for name in node.input]
        plain = [name for name in inputs if name not in adapted]
        if len(plain) == len(inputs):
            del node.input[:]
            node.input.extend(inputs)
            kept.append(node)
        elif node.op_type == "Add" and len(plain) == 1:
            renamed[node.output[0]] = plain[0]
        else:
            adapted.update(node.output)
    graph.ClearField("node")
    graph.node.extend(_needed(kept, {output.name for output in graph.output}))
    _keep(graph.input, {entry.name for entry in graph.input} - set(_INPUTS))
    _keep(graph.initializer, {name for node in graph.node for name in node.input})
    graph.ClearField("value_info")
    onnx.checker.check_model(model)
    onnx.save(model, target)


def _needed(nodes: list[Any], wanted: set[str]) -> list[Any]:
    """The nodes that lead to the wanted outputs, in their order."""
    needed = []
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            needed.append(node)
    return needed[::-1]


def _keep(entries: Any, names: set[str]) -> None:
    kept = [entry for entry in entries if entry.name in names]
    del entries[:]
    entries.extend(kept)
