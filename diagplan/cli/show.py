"""Draw a plan in the terminal, or as a picture."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.output import FINE, JsonOption, command, console, drawing_width, print_json, working
from diagplan.cli.shared.requests import PlanFile
from diagplan.planner.errors import SpecError

__all__ = ["show_command"]


@command
def show_command(
    plan: PlanFile,
    step: Annotated[
        int | None,
        typer.Option(help="Show what this step does: its tokens, its proxies, one mask row.", show_default=False),
    ] = None,
    feed: Annotated[
        int | None,
        typer.Option(
            help="With --step: whose mask row, counted from 0. Left out: the last feed with a target.",
            show_default=False,
        ),
    ] = None,
    frame: Annotated[
        list[int] | None,
        typer.Option(
            help="Show this frame, counted from 0; may be repeated. Left out: as many as fit.", show_default=False
        ),
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Write the picture as a PNG file too.", show_default=False)] = None,
    svg: Annotated[Path | None, typer.Option(help="Write the picture as an SVG file too.", show_default=False)] = None,
    gif: Annotated[Path | None, typer.Option(help="Write the wave as an animated GIF too.", show_default=False)] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page that a browser walks through, .html.", show_default=False)
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="With --html: another plan of the same layout, beside it.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Show the wave: every cell with its step number, and the width of every step."""
    from diagplan.drawing.explorer import show
    from diagplan.drawing.pictures import save_picture
    from diagplan.drawing.readout import read_out
    from diagplan.drawing.terminal import wave, width_profile
    from diagplan.schemas.files import read_plan
    from diagplan.schemas.verify import verify

    if feed is not None and step is None:
        raise SpecError(f"expected --step with --feed, got --feed {feed} alone. Say which step the feed is in.")
    if against is not None and html is None:
        raise SpecError(f"expected --html with --against, got --against {against} alone. Say where to write the page.")
    pictures = {"--png": png, "--svg": svg, "--gif": gif}
    require_outputs(
        *(Output(name, path, (f".{name[2:]}",)) for name, path in (pictures | {"--html": html}).items()),
        inputs={"PLAN": plan, "--against": against},
    )
    read = read_plan(plan)
    report = verify(read, cap=1)
    if step is not None and not 0 <= step < read.steps:
        raise SpecError(f"expected a step from 0 to {read.steps - 1}, got step={step}.")
    written = []
    for path in pictures.values():
        if path is not None:
            with working(f"drawing {path}", quiet=as_json):
                save_picture(read, path, step=step, feed=feed, frames=frame)
            written.append(str(path))
    if html is not None:
        other = None if against is None else read_plan(against)
        names = () if other is None or against is None else (plan.name, against.name)
        show(read, other, names=names).save(html)
        written.append(str(html))
    if as_json:
        seen = read_out(read)
        print_json(
            {
                "steps": read.steps,
                "frames": seen.steps.tolist(),
                "width": seen.widths.tolist(),
                "ok": report.ok,
                "problems": list(seen.problems),
                "written": written,
            }
        )
        return FINE
    screen = console()
    width = drawing_width()
    screen.print(wave(read, width=width, step=step, feed=feed, frames=frame))
    if step is None:
        screen.print(width_profile(read, width))
    for name in written:
        screen.print(Text(f"wrote {name}"), soft_wrap=True)
    if not report.ok:
        screen.print(Text(f"{plan.name} is not valid: {report.errors:,} error(s). `diagplan verify` lists them."))
    return FINE
