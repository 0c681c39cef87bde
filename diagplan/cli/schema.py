"""Print the JSON Schema of plan, chain, trace, curve or speculation documents."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.output import FINE, command, print_json

__all__ = ["schema_command"]


@command
def schema_command(
    of: Annotated[
        Literal["plan", "chain", "trace", "curve", "speculation"],
        typer.Argument(
            help="The kind of document: a plan, a chain of plans, a trace, a cost curve, or a speculation.",
            show_default=False,
        ),
    ] = "plan",
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The file to write. Left out: the schema is printed.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it on one line.", show_default=False)] = False,
) -> int:
    """Print the JSON Schema of plan documents, of chains of plans, of traces, of cost curves, or of speculations."""
    from diagplan.schemas.atomic import write_atomically
    from diagplan.schemas.schema import document_schema, schema_text

    require_outputs(Output("-o", out, (".json", "")))
    if out is not None:
        write_atomically(out, schema_text(of).encode())
        if as_json:
            print_json({"out": str(out)})
    elif as_json:
        print_json(document_schema(of))
    else:
        sys.stdout.write(schema_text(of))
    return FINE
