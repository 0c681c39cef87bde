"""Print the JSON Schema of plan or trace documents."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.output import FINE, command, print_json

__all__ = ["schema_command"]


@command
def schema_command(
    document: Annotated[
        Literal["plan", "trace"], typer.Argument(help="Of which documents. Left out: of plans.", show_default=False)
    ] = "plan",
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The file to write. Left out: the schema is printed.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it on one line.", show_default=False)] = False,
) -> int:
    """Print the JSON Schema of plan documents, or of traces."""
    from diagplan.schemas.atomic import write_atomically
    from diagplan.schemas.schema import plan_schema, plan_schema_text, trace_schema, trace_schema_text

    schema, text = (plan_schema, plan_schema_text) if document == "plan" else (trace_schema, trace_schema_text)
    require_outputs(Output("-o", out, (".json", "")))
    if out is not None:
        write_atomically(out, text().encode())
        if as_json:
            print_json({"out": str(out)})
    elif as_json:
        print_json(schema())
    else:
        sys.stdout.write(text())
    return FINE
