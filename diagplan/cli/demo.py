"""The demonstration: one clip under several plans."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TimeElapsedColumn
from rich.text import Text

from diagplan.cli.shared.output import FINE, JsonOption, command, console, print_json, print_table, progress_bar

__all__ = ["demo_command"]


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
