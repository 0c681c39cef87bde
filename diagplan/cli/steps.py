"""Count passes by the closed form."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from diagplan.cli.shared.chains import Between, Then, chain_layouts_from_options
from diagplan.cli.shared.output import FINE, JsonOption, command, print_json, print_table
from diagplan.cli.shared.requests import Cols, Frames, LayoutModel, Rows, layout_from_options, numbers_from_option
from diagplan.planner.chain_compiler import chain_cost
from diagplan.planner.errors import SpecError
from diagplan.planner.formulas import count_passes
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Diagonal

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
    then: Then = None,
    between: Between = None,
    as_json: JsonOption = False,
) -> int:
    """Forward passes by the closed form, with exact and approximate speed-ups over next-token prediction."""
    layout = layout_from_options(model, frames=frames, rows=rows, cols=cols, lead=None if model else 1)
    if between is not None and not then:
        raise SpecError("expected --then with --between, got --between alone. Say which grid comes next.")
    delays = [None] if d is None else numbers_from_option("--d", d)
    if then:
        layouts = chain_layouts_from_options(layout, then, between)
        return _of_chain(layouts, numbers_from_option("--k", k), delays, as_json=as_json)
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


def _of_chain(layouts: Sequence[Layout], ks: list[int], ds: Sequence[int | None], *, as_json: bool) -> int:
    tokens = sum(layout.tokens for layout in layouts)
    costs = [(k, d, chain_cost(layouts, Diagonal(k=k, d=d))) for k in ks for d in ds]
    if as_json:
        print_json(
            {"plans": len(layouts), "next_token_steps": tokens}
            | {"grids": [{"frames": one.frames, "rows": one.rows, "cols": one.cols} for one in layouts]}
            | {
                "schedules": [
                    {"k": k, "d": d, "steps": cost.passes, "ratio": f"{tokens}/{cost.passes}",
                     "speedup": tokens / cost.passes, "kept_tokens": cost.kept_tokens,
                     "prefill_tokens": cost.prefill_tokens}
                    for k, d, cost in costs
                ]
            }
        )  # fmt: skip
        return FINE
    print_table(
        [">k", ">d", ">passes", ">exact", ">exact ratio", ">kept", ">prefill"],
        [
            (
                k, "in sequence" if d is None else d, f"{cost.passes:,}", f"{tokens}/{cost.passes}",
                f"{tokens / cost.passes:.4f}", f"{cost.kept_tokens:,}", f"{cost.prefill_tokens:,}",
            )
            for k, d, cost in costs
        ],
        title=f"{' then '.join(f'{one.frames} x {one.rows} x {one.cols}' for one in layouts)}: "
        f"next-token prediction takes {tokens:,} passes",
    )  # fmt: skip
    return FINE
