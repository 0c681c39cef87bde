"""Export a plan as a dependency graph."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.text import Text

from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.output import FINE, JsonOption, command, console, print_json, print_table, working
from diagplan.cli.shared.requests import PlanFile
from diagplan.planner.errors import InvalidPlanError

__all__ = ["graph_command"]


@command
def graph_command(
    plan: PlanFile,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="The file to write: .graphml, .dot or .json (node-link).", show_default=False),
    ],
    nodes: Annotated[
        Literal["feeds", "tokens"], typer.Option(help="Make a node of every feed, or of every token.")
    ] = "feeds",
    cache_edges: Annotated[bool, typer.Option(help="Include what each query sees in the cache.")] = True,
    as_json: JsonOption = False,
) -> int:
    """Export the plan as a dependency graph, and say how many passes its dependencies call for."""
    from diagplan.planner.graph import passes_needed, plan_graph
    from diagplan.schemas.files import read_plan
    from diagplan.schemas.graph_files import GRAPH_FORMATS, write_graph
    from diagplan.schemas.verify import verify

    require_outputs(Output("-o", out, GRAPH_FORMATS), inputs={"PLAN": plan})
    read = read_plan(plan)
    if not verify(read).ok:
        raise InvalidPlanError(f"expected a valid plan in {plan}, got one with errors. `diagplan verify` names them.")
    with working("building the graph", quiet=as_json):
        graph = plan_graph(read, nodes, cache_edges=cache_edges)
        needed = passes_needed(graph)
    with working(f"writing {out}", quiet=as_json):
        write_graph(graph, out)
    figures = {
        "nodes": graph.number_of_nodes(),
        "edges": graph.number_of_edges(),
        "passes_needed": needed,
        "steps": read.steps,
    }
    if as_json:
        print_json(figures | {"out": str(out)})
    else:
        print_table(["", ">"], [(name.replace("_", " "), f"{value:,}") for name, value in figures.items()])
        console().print(Text(f"wrote {out}"), soft_wrap=True)
    return FINE
