"""Count passes by the closed form."""

from dataclasses import asdict
from typing import Annotated

import typer

from diagplan.cli.shared.output import FINE, JsonOption, command, print_json, print_table
from diagplan.cli.shared.requests import Cols, Frames, LayoutModel, Rows, layout_from_options, numbers_from_option
from diagplan.planner.formulas import count_passes

__all__ = ["steps_command"]


@command
def steps_command(
    model: LayoutModel = None,
    frames: Frames = None,
    rows: Rows = None,
    cols: Cols = None,
    k: Annotated[str, typer.Option("-k", "--k", help="Row delays, with commas.")] = "1,2,4",
    d: Annotated[
        str | None,
        typer.Option(
            "-d", "--d", help="Frame delays, with commas. Left out: frames come in sequence.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Forward passes by the closed form, with exact and approximate speed-ups over next-token prediction."""
    layout = layout_from_options(model, frames=frames, rows=rows, cols=cols, lead=None if model else 1)
    delays = [None] if d is None else numbers_from_option("--d", d)
    lines = [
        count_passes(layout.frames, layout.rows, layout.cols, row_delay, delay)
        for row_delay in numbers_from_option("--k", k)
        for delay in delays
    ]
    grid = {"frames": layout.frames, "rows": layout.rows, "cols": layout.cols, "next_token_steps": layout.tokens}
    if as_json:
        print_json(grid | {"schedules": [asdict(line) for line in lines]})
        return FINE
    print_table(
        [">k", ">d", ">k'", ">d'", ">passes", ">exact", ">exact ratio", ">approximate", "by"],
        [
            (
                line.k,
                "in sequence" if line.d is None else line.d,
                line.k_in_force,
                line.d_in_force,
                f"{line.steps:,}",
                line.ratio,
                f"{line.speedup:.4f}",
                None if line.approximate is None else f"{line.approximate:.4f}",
                line.by,
            )
            for line in lines
        ],
        title=f"{layout.frames} frame{'s'[: layout.frames > 1]} of {layout.rows} x {layout.cols}: "
        f"next-token prediction takes {layout.tokens:,} passes",
    )
    return FINE
