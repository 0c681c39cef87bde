"""Dependency graphs as files: GraphML, DOT and networkx' node-link JSON."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from diagplan.planner.errors import SpecError
from diagplan.schemas.atomic import write_atomically

if TYPE_CHECKING:
    import networkx as nx

__all__ = ["GRAPH_FORMATS", "write_graph"]

GRAPH_FORMATS = (".graphml", ".dot", ".json")


def write_graph(graph: "nx.DiGraph[int]", path: str | Path) -> None:
    """Write a graph as .graphml, .dot or .json (networkx node-link form), by the name's extension.

    Raises:
        SpecError: another extension.
        DocumentError: the file cannot be written.
    """
    import networkx as nx

    path = Path(path)
    match path.suffix:
        case ".graphml":
            text = "\n".join(nx.generate_graphml(graph))
        case ".json":
            text = json.dumps(nx.node_link_data(graph, edges="edges"))
        case ".dot":
            text = "\n".join(_dot_lines(graph))
        case _:
            raise SpecError(
                f"expected a name ending in {', '.join(GRAPH_FORMATS)}, got {path.name}. Choose one of them."
            )
    write_atomically(path, text.encode() + b"\n")


def _dot_lines(graph: "nx.DiGraph[int]") -> Iterator[str]:
    def attributes(data: dict[str, object]) -> str:
        return ", ".join(f'{key}="{value}"' for key, value in data.items())

    yield "digraph plan {"
    yield f"  graph [{attributes(graph.graph)}];"
    for node, data in graph.nodes(data=True):
        yield f"  {node} [{attributes(data)}];"
    for a, b, data in graph.edges(data=True):
        yield f"  {a} -> {b} [{attributes(data)}];"
    yield "}"
