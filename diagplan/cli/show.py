"""Draw a plan in the terminal, or as a picture."""

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from diagplan.cli.shared.chains import cost_json, print_cost
from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.output import (
    FINE,
    JsonOption,
    command,
    console,
    drawing_width,
    print_json,
    print_table,
    working,
)
from diagplan.cli.shared.requests import PlanFile
from diagplan.planner.chain import Chain
from diagplan.planner.errors import InvalidPlanError, SpecError
from diagplan.planner.plan import Plan

__all__ = ["show_command"]


@command
def show_command(
    plan: PlanFile,
    number: Annotated[
        int | None,
        typer.Option(
            "--plan",
            help="Of a chain show this plan, counted from 0. Left out: of a chain what its plans cost.",
            show_default=False,
        ),
    ] = None,
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
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Show instead how a speculative replay went, from its trace: what each pass fed and accepted.",
            show_default=False,
        ),
    ] = None,
    sample: Annotated[int, typer.Option(help="With --trace: which sample of the batch, counted from 0.")] = 0,
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
    """Show the wave: every cell with its step number, and the width of every step. Or how a speculative replay went."""
    from diagplan.drawing.explorer import show
    from diagplan.drawing.pictures import save_picture
    from diagplan.drawing.readout import read_out
    from diagplan.drawing.terminal import wave, width_profile
    from diagplan.schemas.chain_files import read_plan_or_chain
    from diagplan.schemas.files import read_plan
    from diagplan.schemas.verify import verify

    if feed is not None and step is None:
        raise SpecError(f"expected --step with --feed, got --feed {feed} alone. Say which step the feed is in.")
    if against is not None and html is None:
        raise SpecError(f"expected --html with --against, got --against {against} alone. Say where to write the page.")
    pictures = {"--png": png, "--svg": svg, "--gif": gif}
    inputs = {"PLAN": plan, "--trace": trace, "--against": against}
    outputs = pictures | {"--html": html}
    require_outputs(*(Output(name, path, (f".{name[2:]}",)) for name, path in outputs.items()), inputs=inputs)
    read = read_plan_or_chain(plan)
    if isinstance(read, Chain):
        asked = {"--step": step, "--frame": frame, **outputs}
        if number is None:
            return _cost(read, plan, next((name for name, value in asked.items() if value), None), as_json=as_json)
        if not 0 <= number < len(read.plans):
            raise SpecError(f"expected a plan from 0 to {len(read.plans) - 1}, got --plan {number}.")
        read = read.plans[number]
    elif number is not None:
        raise SpecError(f"expected a chain of plans with --plan, got one plan in {plan.name}. Leave --plan out.")
    if trace is not None:
        if step is not None:
            raise SpecError(f"expected --step or --trace, got both, --step {step}. Leave one out.")
        if html is not None:
            raise SpecError(f"expected --html or --trace, got both, --html {html}. Leave one out.")
        return _show_trace(read, trace, sample, frame, [path for path in pictures.values() if path], as_json)
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
        screen.print(Text(f"{plan.name} is not valid. `diagplan verify` lists its errors."))
    return FINE


def _cost(chain: Chain, path: Path, drawn: str | None, *, as_json: bool) -> int:
    """What a chain's plans cost."""
    from diagplan.planner.checker.chains import verify_chain

    if drawn is not None:
        raise SpecError(f"expected --plan with {drawn} of a chain, got {drawn} alone. Say which plan is to be drawn.")
    report = verify_chain(chain, cap=1)
    if not report.ok:
        raise InvalidPlanError(
            f"expected a valid chain in {path.name}, got {report.errors:,} error(s). `diagplan verify` lists them."
        )
    if as_json:
        print_json(cost_json(chain))
    else:
        print_cost(chain)
    return FINE


def _show_trace(
    plan: Plan, trace: Path, sample: int, frames: list[int] | None, pictures: list[Path], as_json: bool
) -> int:
    from diagplan.drawing.trace_pictures import save_trace_picture
    from diagplan.drawing.trace_readout import Fate, read_trace_out
    from diagplan.schemas.trace import read_trace

    seen = read_trace_out(plan, read_trace(trace), sample)
    for path in pictures:
        with working(f"drawing {path}", quiet=as_json):
            save_trace_picture(seen, path, frames=frames)
    rows = [
        {
            "pass": number,
            "fed": int((fates != Fate.NOT_FED).sum()),
            "accepted": int((fates >= Fate.ACCEPTED).sum()),
            "guessed wrong": int(((fates == Fate.WRONG) | (fates == Fate.CORRECTED)).sum()),
            "right, behind": int((fates == Fate.BEHIND).sum()),
        }
        for number, fates in enumerate(seen.fates)
    ]
    if as_json:
        print_json(
            {
                "steps": plan.steps,
                "passes": seen.count,
                "tokens_a_pass": round(seen.tokens_a_pass, 2),
                "frames": seen.passes.tolist(),
                "by_pass": [
                    {name.replace(", ", "_").replace(" ", "_"): value for name, value in row.items()} for row in rows
                ],
                "ok": not seen.problems,
                "problems": list(seen.problems),
                "written": [str(path) for path in pictures],
            }
        )
        return FINE
    print_table([f">{name}" for name in rows[0]] if rows else ["pass"], [tuple(row.values()) for row in rows])
    screen = console()
    words = f"{plan.steps:,} steps in {seen.count:,} passes, {seen.tokens_a_pass:.1f} tokens a pass"
    screen.print(Text(f"{trace.name}: {words}"), soft_wrap=True)
    for path in pictures:
        screen.print(Text(f"wrote {path}"), soft_wrap=True)
    if seen.problems:
        problems = "; ".join(seen.problems)
        screen.print(Text(f"{trace.name} is not valid: {problems}. `diagplan verify-trace` lists all."), soft_wrap=True)
    return FINE
