"""Compile a plan, or a chain of plans, from options, verify it and write it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.text import Text

from diagplan.cli.shared.chains import Between, Then, chain_layouts_from_options, compile_and_print
from diagplan.cli.shared.files import PLANS, Output, require_outputs
from diagplan.cli.shared.models import option
from diagplan.cli.shared.output import FINE, JsonOption, command, console, print_json, print_table, working
from diagplan.cli.shared.requests import (
    LAYOUT,
    SCHEDULE,
    Cols,
    Frames,
    LayoutModel,
    PoliciesOption,
    ProxyKvOption,
    ProxyOption,
    RowEndOption,
    Rows,
    ScheduleOption,
    VisibilityOption,
    layout_from_options,
    numbers_from_option,
    policies_from_options,
    schedule_from_options,
)
from diagplan.planner.errors import InvalidPlanError, SpecError
from diagplan.planner.plan import Plan

__all__ = ["compile_command"]

LOWERING = "Lowering"
_ONE_PLAN = "A chain's plans have different grids, and share their cache slots by position."


@command
def compile_command(
    out: Annotated[
        Path | None,
        option(
            "Output",
            "The plan file to write: .json, .json.gz or .json.zst. Left out: only the figures are printed.",
            "-o",
            "--out",
        ),
    ] = None,
    model: LayoutModel = None,
    frames: Frames = None,
    rows: Rows = None,
    cols: Cols = None,
    prompt_frames: Annotated[
        int | None, option(LAYOUT, "Frames that are given. Left out: as the model has them, else 0.")
    ] = None,
    lead: Annotated[
        int | None,
        option(
            LAYOUT,
            "Given tokens before everything: a text, a class, begin-of-video. Left out: as the model has them, else 0.",
        ),
    ] = None,
    between_frames: Annotated[
        int | None,
        option(LAYOUT, "Given tokens between two frames, such as actions. Left out: as the model has them, else 0."),
    ] = None,
    between_rows: Annotated[
        int | None,
        option(LAYOUT, "Given tokens between two rows, such as end-of-line. Left out: as the model has them, else 0."),
    ] = None,
    then: Then = None,
    between: Between = None,
    refeed: Annotated[
        bool, option(LAYOUT, "With --then: feed what comes before a grid again, instead of keeping it.", "--refeed")
    ] = False,
    schedule: Annotated[
        ScheduleOption | None, option(SCHEDULE, "The schedule by its name. Left out: the options below imply it.")
    ] = None,
    k: Annotated[int | None, option(SCHEDULE, "The row delay of diagonal decoding, in steps.", "--k", "-k")] = None,
    d: Annotated[
        int | None,
        option(SCHEDULE, "The frame delay, in steps, with --k. Left out: frames come in sequence.", "--d", "-d"),
    ] = None,
    window: Annotated[int | None, option(SCHEDULE, "ZipAR's window, in tokens.")] = None,
    order: Annotated[
        Path | None,
        option(SCHEDULE, "A file with the step of every cell, T x h x w or h x w, .npy or .json."),
    ] = None,
    policies: PoliciesOption = "default",
    proxy: ProxyOption = None,
    row_end: RowEndOption = None,
    proxy_kv: ProxyKvOption = None,
    visibility: VisibilityOption = None,
    max_width: Annotated[
        int | None, option(LOWERING, "No step has more feeds than this. Left out: steps are as wide as they come.")
    ] = None,
    slots: Annotated[
        Literal["position", "step-order"],
        typer.Option(help="How cache slots are numbered: by position, or as they are fed.", rich_help_panel=LOWERING),
    ] = "position",
    pad: Annotated[
        str | None, option(LOWERING, "Widths to fill steps up to, e.g. 1,2,4,8. Left out: steps are not filled.")
    ] = None,
    masks: Annotated[
        Literal["explicit", "rule"],
        typer.Option(help="Write every mask row, or the rule that gives them.", rich_help_panel=LOWERING),
    ] = "explicit",
    as_json: JsonOption = False,
) -> int:
    """Compile a decoding plan, or a chain of them, verify it and write it as JSON."""
    from diagplan.drawing.stats_table import stats_rows
    from diagplan.planner.checker import verify_plan
    from diagplan.planner.compiler import compile_plan
    from diagplan.schemas.convert import plan_digest
    from diagplan.schemas.files import write_plan

    require_outputs(Output("-o", out, PLANS))
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
    if then:
        for name, value in (("--order", order), ("--pad", pad), ("--slots", None if slots == "position" else slots)):
            if value is not None:
                raise SpecError(f"expected no {name} with --then, got {name} {value}. {_ONE_PLAN}")
        return compile_and_print(
            chain_layouts_from_options(layout, then, between),
            lambda grid: schedule_from_options(grid, policies, name=schedule, k=k, d=d, window=window, order=None),
            chosen, max_width=max_width, out=out, masks=masks, refeed=refeed, as_json=as_json,
        )  # fmt: skip
    if between is not None or refeed:
        name = "--between" if between is not None else "--refeed"
        raise SpecError(f"expected --then with {name}, got {name} alone. Say which grid comes next.")
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
    rows_ = stats_rows(stats)
    print_table(["", ">"], [*rows_, ("warnings of the checker", f"{report.warnings:,}")])
    screen.print(Text(f"digest {digest}"), soft_wrap=True)
    if out is not None:
        screen.print(Text(f"wrote {out} ({out.stat().st_size:,} bytes)"), soft_wrap=True)
    return FINE


def _schedule_json(plan: Plan) -> dict[str, Any]:
    return {name: value for name, value in asdict(plan.schedule).items() if name != "order"}
