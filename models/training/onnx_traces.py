"""Takes the exporter's notes out of an ONNX file."""

from pathlib import Path


def remove_traces(path: Path) -> None:
    """Drop doc strings and metadata of graph, functions and nodes: torch writes the stack, and so the paths of a machine,
    into every node. What the graph computes does not change.
    """
    import onnx

    model = onnx.load(path)
    for holder in (model, model.graph, *model.functions):
        del holder.metadata_props[:]
        holder.doc_string = ""
    nodes = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    for part in (
        *nodes,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
        *model.graph.initializer,
    ):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.save(model, path)
