"""The demonstration: one clip under several plans."""

import sys
from dataclasses import asdict
from pathlib import Path
from shutil import which
from typing import Annotated

import typer
from rich.progress import TimeElapsedColumn
from rich.text import Text

from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.models import ThreadsOption, option, world_option
from diagplan.cli.shared.output import FINE, JsonOption, command, console, print_json, print_table, progress_bar
from diagplan.cli.shared.speculation import (
    EXACT,
    DraftOption,
    SpeculationOption,
    speculation_figures,
    speculation_from_options,
)

__all__ = ["demo_command"]


@command
def demo_command(
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.")] = Path("demo"),
    model: Annotated[str, world_option("The world model: crafter-mini, or a folder.", panel=None)] = "crafter-mini",
    clip: Annotated[
        Path | None,
        typer.Option(help="A clip, .mp4 with .jsonl beside it. Left out: the bundled one.", show_default=False),
    ] = None,
    repeats: Annotated[int, typer.Option(help="Run each plan so often; the median time is shown.", min=1)] = 3,
    threads: ThreadsOption = None,
    speculate: Annotated[
        int | None,
        option(
            EXACT,
            "Of the row exact: feed so many tokens a pass. Left out: the window is measured.",
            metavar="WINDOW",
            min=1,
        ),
    ] = None,
    draft: DraftOption = None,
    speculation_document: SpeculationOption = None,
    as_json: JsonOption = False,
) -> int:
    """Roll one clip forward under several plans: pictures, a video and a table."""
    from diagplan.study.demonstration import WAYS, as_rows, make_demonstration

    speculation = speculation_from_options(
        exact=False, speculate=speculate, draft=draft, speculation=speculation_document
    )
    require_outputs(Output("-o", out), inputs={"--speculation": speculation_document})
    with progress_bar("replaying", "{task.description}", TimeElapsedColumn(), quiet=as_json) as progress:
        task = progress.add_task("", total=repeats * len(WAYS))
        demonstration = make_demonstration(
            out, model, clip, repeats=repeats, speculation=speculation or "auto", threads=threads or "auto",
            on_run=lambda: progress.advance(task),
        )  # fmt: skip
    exact = speculation_figures(demonstration.speculation, None, as_json=as_json)
    if as_json:
        print_json(
            {
                "threads": demonstration.threads,
                "plans": [asdict(row) for row in demonstration.table],
                "exact": exact,
                "written": [str(name) for name in demonstration.written],
            }
        )
        return FINE
    columns, cells = as_rows(demonstration.table)
    print_table(columns, cells, title=f"{demonstration.world}: {demonstration.frames} frames from one, greedy")
    (row,) = (row for row in demonstration.table if row.plan == "exact")
    how = f"{row.tokens_a_pass:.1f} tokens a pass, window {exact['window']}, first guesses: {exact['draft']}"
    console().print(Text(f"exact: {how}"), soft_wrap=True)
    for name in demonstration.written:
        console().print(Text(f"wrote {name}"), soft_wrap=True)
    itself = "diagplan" if which("diagplan") else sys.argv[0]  # `make demo` runs what is not on the path yet
    console().print(Text(f"play it yourself: {itself} play"), soft_wrap=True)
    return FINE
