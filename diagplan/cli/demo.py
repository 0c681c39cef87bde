"""The demonstration, and the judging of a world model."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import TimeElapsedColumn
from rich.text import Text

from diagplan.cli.models import BackendOption, load_options
from diagplan.cli.output import FINE, JsonOption, command, console, print_json, print_table, progress_bar
from diagplan.cli.study import evaluate_study_command
from diagplan.planner.errors import SpecError

__all__ = ["register"]


@command
def demo_command(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for what is made.")] = Path("demo"),
    model: Annotated[str, typer.Option(help="crafter-mini, or a world model's folder.")] = "crafter-mini",
    clip: Annotated[
        Path | None, typer.Option(help="A clip, .mp4 with .jsonl beside it; the bundled one.", show_default=False)
    ] = None,
    repeats: Annotated[int, typer.Option(help="Runs of each plan; the median time is shown.", min=1)] = 3,
    as_json: JsonOption = False,
) -> int:
    """Roll one clip forward under several plans: pictures, a video and a table."""
    from diagplan.drawing.pictures import save_picture
    from diagplan.games.clips import read_clip
    from diagplan.schemas.atomic import make_folder
    from diagplan.schemas.files import write_plan
    from diagplan.study.demonstration import SCHEDULES, as_rows, demonstrate, save_demonstration
    from diagplan.video.frames import fit
    from diagplan.worlds import SHIPPED, load_world
    from diagplan.worlds.generation import compile_for

    make_folder(out)
    world = load_world(model)
    path = SHIPPED["crafter-mini"] / "clip.mp4" if clip is None else clip
    truth_clip = read_clip(path)
    blocks = world.read_actions(path.with_suffix(".jsonl"))
    with progress_bar("replaying", "{task.description}", TimeElapsedColumn(), quiet=as_json) as progress:
        task = progress.add_task("", total=repeats * len(SCHEDULES))
        table, made, truth = demonstrate(
            world, truth_clip, blocks, repeats=repeats, on_run=lambda: progress.advance(task)
        )
    prompt = fit(truth_clip.frames[0], world.height, world.width)
    written = save_demonstration(out, truth_clip, table, made, truth, prompt)
    plan = compile_for(world, len(truth), SCHEDULES["k=2 d=14"])
    write_plan(plan, out / "plan.json")
    save_picture(plan, out / "plan.png")
    written += [out / "plan.json", out / "plan.png"]
    if as_json:
        print_json({"plans": [asdict(row) for row in table], "written": [str(name) for name in written]})
        return FINE
    columns, cells = as_rows(table)
    print_table(columns, cells, title=f"{world.name}: {len(truth)} frames from one, greedy")
    for name in written:
        console().print(Text(f"wrote {name}"), soft_wrap=True)
    return FINE


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
    from diagplan.worlds.loading import open_world

    world = open_world(model, load_options(backend=backend, int8=int8))
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


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("demo")(demo_command)
    judging = typer.Typer(
        no_args_is_help=True, help="Judge models.", context_settings={"help_option_names": ["-h", "--help"]}
    )
    judging.command("world")(evaluate_world_command)
    judging.command("study")(evaluate_study_command)
    app.add_typer(judging, name="evaluate")
