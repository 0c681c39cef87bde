"""Compile a plan from options, verify it and write it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.text import Text

from diagplan.cli.shared.output import FINE, JsonOption, command, console, print_json, print_table, working
from diagplan.cli.shared.requests import (
    ScheduleOption,
    layout_from_options,
    numbers_from_option,
    policies_from_options,
    schedule_from_options,
)
from diagplan.planner.errors import InvalidPlanError
from diagplan.planner.plan import Plan
from diagplan.planner.policy import BUNDLES
from diagplan.planner.presets import PRESETS

__all__ = ["compile_command"]

LAYOUT, SCHEDULE, POLICIES, LOWERING = "Layout", "Schedule", "Policies", "Lowering"


def _option(panel: str, text: str, *names: str, **settings: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=False, **settings)


@command
def compile_command(
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Plan file to write (.json, .json.gz, .json.zst).", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        _option(LAYOUT, "A published model's grid; see `diagplan presets`.", autocompletion=lambda: list(PRESETS)),
    ] = None,
    frames: Annotated[int | None, _option(LAYOUT, "Frames to generate.")] = None,
    rows: Annotated[int | None, _option(LAYOUT, "Token rows of a frame.")] = None,
    cols: Annotated[int | None, _option(LAYOUT, "Token columns of a frame.")] = None,
    prompt_frames: Annotated[int | None, _option(LAYOUT, "Frames that are given.")] = None,
    lead: Annotated[int | None, _option(LAYOUT, "Given tokens before everything: text, class, begin-of-video.")] = None,
    between_frames: Annotated[int | None, _option(LAYOUT, "Given tokens between frames: actions.")] = None,
    between_rows: Annotated[int | None, _option(LAYOUT, "Given tokens between rows: end-of-line.")] = None,
    schedule: Annotated[ScheduleOption | None, _option(SCHEDULE, "The schedule; implied by the options below.")] = None,
    k: Annotated[int | None, _option(SCHEDULE, "Row delay of diagonal decoding, in steps.", "--k", "-k")] = None,
    d: Annotated[
        int | None, _option(SCHEDULE, "Frame delay, in steps; frames in sequence if left out.", "--d", "-d")
    ] = None,
    window: Annotated[int | None, _option(SCHEDULE, "ZipAR's window, in tokens.")] = None,
    order: Annotated[
        Path | None, _option(SCHEDULE, "Step of every cell, T x h x w or h x w, as .npy or .json.")
    ] = None,
    policies: Annotated[
        str,
        typer.Option(
            help=f"Bundle of policies: {', '.join(BUNDLES)}.",
            rich_help_panel=POLICIES,
            autocompletion=lambda: list(BUNDLES),
        ),
    ] = "default",
    proxy: Annotated[
        str | None,
        _option(POLICIES, "Proxy policy, instead of the bundle's; docs/concepts.md has them."),
    ] = None,
    row_end: Annotated[str | None, _option(POLICIES, "keep or refresh, instead of the bundle's.")] = None,
    proxy_kv: Annotated[str | None, _option(POLICIES, "visible or hidden, instead of the bundle's.")] = None,
    visibility: Annotated[str | None, _option(POLICIES, "written or causal, instead of the bundle's.")] = None,
    max_width: Annotated[int | None, _option(LOWERING, "No step has more feeds than this.")] = None,
    slots: Annotated[
        Literal["position", "step-order"], typer.Option(help="How cache slots are numbered.", rich_help_panel=LOWERING)
    ] = "position",
    pad: Annotated[str | None, _option(LOWERING, "Widths to fill steps up to, e.g. 1,2,4,8.")] = None,
    masks: Annotated[
        Literal["explicit", "rule"],
        typer.Option(help="Write every mask row, or only the rule.", rich_help_panel=LOWERING),
    ] = "explicit",
    as_json: JsonOption = False,
) -> int:
    """Compile a decoding plan, verify it and write it as JSON."""
    from diagplan.planner.checker import verify_plan
    from diagplan.planner.compiler import compile_plan
    from diagplan.schemas.convert import plan_digest
    from diagplan.schemas.files import write_plan

    layout = layout_from_options(
        model,
        frames=frames,
        rows=rows,
        cols=cols,
        prompt_frames=prompt_frames,
        lead=lead,
        between_frames=between_frames,
        between_rows=between_rows,
    )
    chosen = policies_from_options(policies, proxy=proxy, row_end=row_end, proxy_kv=proxy_kv, visibility=visibility)
    timing = schedule_from_options(layout, policies, name=schedule, k=k, d=d, window=window, order=order)
    widths = None if pad is None else numbers_from_option("--pad", pad)
    with working("compiling", quiet=as_json):
        plan = compile_plan(
            layout,
            timing,
            chosen,
            max_width=max_width,
            slots=slots,
            pad=widths,
        )
    with working("verifying", quiet=as_json):
        report = verify_plan(plan)
    if not report.ok:
        raise InvalidPlanError(
            f"the compiled plan does not verify: {report.diagnostics[0].message} Please report this."
        )
    stats, digest = plan.stats(), plan_digest(plan)
    if out is not None:
        with working(f"writing {out}", quiet=as_json):
            write_plan(plan, out, masks=masks)
    if as_json:
        print_json(
            stats.as_dict()
            | {"digest": digest, "schedule": _schedule_json(plan), "policies": asdict(plan.policies)}
            | {"layout": asdict(layout), "warnings": report.warnings, "out": None if out is None else str(out)}
        )
        return FINE
    screen = console()
    screen.print(Text(f"{plan!r}"[1:-1]), soft_wrap=True)
    rows_ = [(label, value) for label, value in stats.labelled()]
    print_table(["", ">"], [*rows_, ("warnings of the checker", f"{report.warnings:,}")])
    screen.print(Text(f"digest {digest}"), soft_wrap=True)
    if out is not None:
        screen.print(Text(f"wrote {out} ({out.stat().st_size:,} bytes)"), soft_wrap=True)
    return FINE


def _schedule_json(plan: Plan) -> dict[str, Any]:
    return {name: value for name, value in asdict(plan.schedule).items() if name != "order"}
