"""Judge a world model on held-out clips."""

import json
import math
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import TimeElapsedColumn

from diagplan.cli.shared.models import BackendOption, require_exported_options
from diagplan.cli.shared.output import FINE, JsonOption, command, print_json, print_table, progress_bar
from diagplan.planner.errors import SpecError

__all__ = ["evaluate_world_command"]


@command
def evaluate_world_command(
    clips: Annotated[Path, typer.Option(help="Folder of held-out clips, as `record` writes them.", show_default=False)],
    model: Annotated[
        str, typer.Option(help="crafter-mini, or a world model's folder; with --backend onnx what export-onnx wrote.")
    ] = "crafter-mini",
    backend: BackendOption = "torch",
    windows: Annotated[int, typer.Option(help="Pieces to roll forward, those with motion.", min=1)] = 128,
    map_rows: Annotated[
        int | None,
        typer.Option(help="Rows of tokens that show the map; what the model says.", min=3, show_default=False),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Int8 products, on an x86 CPU.", show_default=False)] = False,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Write the report, .json.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Judge a world model on held-out clips: teacher-forced, rolled forward, and against repeating the last frame."""
    from diagplan.games.clips import list_clips
    from diagplan.schemas.atomic import write_atomically
    from diagplan.study.demonstration import SCHEDULES
    from diagplan.study.world_report import read_windows, report_world
    from diagplan.worlds import load_world

    require_exported_options(backend, config=None, dtype="float32", int8=int8)
    world = load_world(model, backend=backend, quantize="int8" if int8 else None)
    if map_rows is not None and map_rows > world.rows:
        raise SpecError(f"expected --map-rows of at most {world.rows}, got {map_rows}. Leave it out.")
    pieces = read_windows(world, list_clips(clips), windows)
    with progress_bar("judging", "{task.description}", TimeElapsedColumn(), quiet=as_json) as progress:
        task = progress.add_task("", total=len(SCHEDULES))

        def on_plan(name: str) -> None:
            progress.update(task, advance=1, description=name)

        report = report_world(world, pieces, SCHEDULES, map_rows=map_rows or world.map_rows, on_plan=on_plan)
    said = _finite(report.as_dict())
    if out is not None:
        write_atomically(out, (json.dumps(said, indent=1) + "\n").encode())
    if as_json:
        print_json(said)
        return FINE
    single = ("windows", "tokenizer_psnr", "loss", "accuracy", "moved_loss", "action_gap", "clear_moves")
    print_table(["", ">"], [(name.replace("_", " "), _shown(said[name])) for name in single])
    rows: list[tuple[object, ...]] = [("repeat", "", "", *_ends(report.repeat))]
    rows += [
        (name, report.passes[name], _percent(report.following[name]), *_ends(found))
        for name, found in report.rollouts.items()
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
    return FINE


def _finite(value: Any) -> Any:
    """The same with ``None`` for every number that JSON has no word for."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(value: Any) -> str:
    return "unknown" if value is None else str(value) if isinstance(value, int) else f"{value:.4f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def _ends(found: Any) -> tuple[str, ...]:
    ends = (0, -1)
    return (
        *(_percent(found.tokens[i]) for i in ends),
        *(f"{found.psnr[i]:.1f}" for i in ends),
        *(f"{found.ssim[i]:.3f}" for i in ends),
    )
