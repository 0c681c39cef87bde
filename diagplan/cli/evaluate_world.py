"""Judge a world model on held-out clips."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import TimeElapsedColumn
from rich.text import Text

from diagplan.cli.shared.extras import require_for
from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.models import BackendOption, ThreadsOption, world_option
from diagplan.cli.shared.output import FINE, JsonOption, command, console, print_json, print_table, progress_bar
from diagplan.cli.shared.requests import naming_options
from diagplan.cli.shared.speculation import (
    DraftOption,
    ExactOption,
    SpeculateOption,
    SpeculationOption,
    speculation_from_options,
)

__all__ = ["evaluate_world_command"]


@command
def evaluate_world_command(
    clips: Annotated[
        Path, typer.Option(help="The folder of held-out clips, as `diagplan record` writes them.", show_default=False)
    ],
    model: Annotated[
        str,
        world_option("The world model: crafter-mini, a folder, or what export-onnx wrote of one.", panel=None),
    ] = "crafter-mini",
    backend: BackendOption = "torch",
    windows: Annotated[int, typer.Option(help="Roll so many pieces with motion forward.", min=1)] = 128,
    map_rows: Annotated[
        int | None,
        typer.Option(
            help="Rows of tokens, from the top, that show the map. Left out: as the model says.",
            min=3,
            show_default=False,
        ),
    ] = None,
    int8: Annotated[
        bool, typer.Option("--int8", help="Compute int8 products, on an x86 CPU.", show_default=False)
    ] = False,
    threads: ThreadsOption = None,
    exact: ExactOption = False,
    speculate: SpeculateOption = None,
    draft: DraftOption = None,
    speculation_document: SpeculationOption = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The file to write the report to, .json. Left out: none.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Judge a world model on held-out clips: teacher-forced, rolled forward, and against repeating the last frame."""
    from diagplan.schemas.atomic import write_atomically
    from diagplan.study.demonstration import SCHEDULES
    from diagplan.study.tables import passes_text
    from diagplan.study.world_report import EXACT, evaluate_world
    from diagplan.worlds.loading import folder_of

    speculation = speculation_from_options(
        exact=exact, speculate=speculate, draft=draft, speculation=speculation_document
    )
    require_for("a report", folder_of(model), backend, "torch", "av", "PIL", "skimage")
    require_outputs(Output("-o", out, (".json", "")), inputs={"--speculation": speculation_document})
    with (
        naming_options(["map_rows"]),
        progress_bar("judging", "{task.description}", TimeElapsedColumn(), quiet=as_json) as progress,
    ):
        task = progress.add_task("", total=len(SCHEDULES) + (speculation is not None))
        report = evaluate_world(
            clips, model, backend=backend, quantize="int8" if int8 else None, windows=windows, map_rows=map_rows,
            speculation=speculation, threads=threads or "auto",
            on_plan=lambda name: progress.update(task, advance=1, description=name),
        )  # fmt: skip
    figures = report.as_dict()
    if out is not None:
        write_atomically(out, (json.dumps(figures, indent=1) + "\n").encode())
    if as_json:
        print_json(figures)
        return FINE
    single = ("windows", "tokenizer_psnr", "loss", "accuracy", "moved_loss", "action_gap", "clear_moves")
    print_table(["", ">"], [(name.replace("_", " "), _shown(figures[name])) for name in single])
    rows: list[tuple[object, ...]] = [("repeat", "", "", *_ends(report.repeat))]
    rows += [
        (name, passes_text(report.passes[name]), _percent(report.following[name]), *_ends(rollout))
        for name, rollout in report.rollouts.items()
    ]
    columns = [
        "rollout",
        ">passes",
        ">moves followed",
        ">tokens 1st",
        ">last",
        ">PSNR 1st",
        ">last",
        ">SSIM 1st",
        ">last",
    ]
    print_table(columns, rows)
    if (how := report.exact) is not None:
        same = "" if how.same_as_ntp is None else f", {_percent(how.same_as_ntp)} of tokens as next-token prediction's"
        about = f"{how.tokens_a_pass:.1f} tokens a pass, window {how.window}, first guesses: {how.draft}"
        console().print(Text(f"{EXACT}: {about}{same}"), soft_wrap=True)
    return FINE


def _shown(value: Any) -> str:
    return "unknown" if value is None else str(value) if isinstance(value, int) else f"{value:.4f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _ends(rollout: Any) -> tuple[str, ...]:
    ends = (0, -1)
    return (
        *(_percent(rollout.tokens[i]) for i in ends),
        *(f"{rollout.psnr[i]:.1f}" for i in ends),
        *(f"{rollout.ssim[i]:.3f}" for i in ends),
    )
