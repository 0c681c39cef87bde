"""The commands that make, check, show, compare and export plans."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.text import Text

from diagplan.cli.output import FINE, PROBLEM, JsonOption, command, console, print_json, print_table, working
from diagplan.cli.requests import (
    ScheduleOption,
    layout_from_options,
    numbers_from_option,
    policies_from_options,
    schedule_from_options,
)
from diagplan.planner.errors import InvalidPlanError, SpecError
from diagplan.planner.plan import Plan, well_formed
from diagplan.planner.policy import BUNDLES
from diagplan.planner.presets import PRESETS

__all__ = ["register"]

PlanFile = Annotated[Path, typer.Argument(help="A plan file (.json, .json.gz, .json.zst).", show_default=False)]
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
    from diagplan.drawing.stats_table import stats_rows
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
    rows_ = stats_rows(stats)
    print_table(["", ">"], [*rows_, ("warnings of the checker", f"{report.warnings:,}"), ("digest", digest)])
    if out is not None:
        screen.print(Text(f"wrote {out} ({out.stat().st_size:,} bytes)"), soft_wrap=True)
    return FINE


def _schedule_json(plan: Plan) -> dict[str, Any]:
    return {name: value for name, value in asdict(plan.schedule).items() if name != "order"}


@command
def verify_command(
    plan: PlanFile,
    cap: Annotated[int, typer.Option(help="Diagnostics shown of one rule; all are counted.")] = 20,
    as_json: JsonOption = False,
) -> int:
    """Check a plan by every rule, and its digest. Exit code 1 if there is any error."""
    from diagplan.schemas.verify import verify

    with working(f"verifying {plan}", quiet=as_json):
        report = verify(plan, cap=cap)
    if as_json:
        print_json(
            {
                "ok": report.ok,
                "errors": report.errors,
                "warnings": report.warnings,
                "counts": dict(report.counts),
                "diagnostics": [asdict(diagnostic) for diagnostic in report.diagnostics],
            }
        )
        return FINE if report.ok else PROBLEM
    if report.diagnostics:
        print_table(
            ["code", "severity", ">step", ">feed", ">slot", "message", "remedy"],
            [(d.code, d.severity, d.step, d.feed, d.slot, d.message, d.remedy) for d in report.diagnostics],
        )
    hidden = report.errors + report.warnings - len(report.diagnostics)
    screen = console()
    if hidden:
        counts = ", ".join(f"{code}: {count:,}" for code, count in sorted(report.counts.items()))
        screen.print(Text(f"{hidden:,} more not shown; in all {counts}. --cap shows more."), soft_wrap=True)
    verdict = "valid" if report.ok else "not valid"
    screen.print(
        Text(f"{plan.name}: {verdict}, {report.errors:,} error(s), {report.warnings:,} warning(s)"), soft_wrap=True
    )
    return FINE if report.ok else PROBLEM


@command
def show_command(
    plan: PlanFile,
    step: Annotated[
        int | None, typer.Option(help="Mark this step's tokens, proxies and one mask row.", show_default=False)
    ] = None,
    feed: Annotated[
        int | None, typer.Option(help="Which feed of the step, from 0; default its last query.", show_default=False)
    ] = None,
    frame: Annotated[
        list[int] | None, typer.Option(help="Show this frame only; may be repeated.", show_default=False)
    ] = None,
    png: Annotated[Path | None, typer.Option(help="Write the picture as PNG.", show_default=False)] = None,
    svg: Annotated[Path | None, typer.Option(help="Write the picture as SVG.", show_default=False)] = None,
    gif: Annotated[Path | None, typer.Option(help="Write the wave as an animated GIF.", show_default=False)] = None,
    as_json: JsonOption = False,
) -> int:
    """Show the wave: every cell with its step number, and the width of every step."""
    from diagplan.drawing.pictures import save_picture
    from diagplan.drawing.readout import read_out
    from diagplan.drawing.terminal import wave, width_profile
    from diagplan.schemas.files import read_plan
    from diagplan.schemas.verify import verify

    if feed is not None and step is None:
        raise SpecError(f"expected --step with --feed, got --feed {feed} alone. Say which step the feed is in.")
    made = read_plan(plan)
    report = verify(made, cap=1)
    if step is not None and not 0 <= step < made.steps:
        raise SpecError(f"expected a step from 0 to {made.steps - 1}, got step={step}.")
    written = []
    for path, suffix in ((png, ".png"), (svg, ".svg"), (gif, ".gif")):
        if path is not None:
            if path.suffix != suffix:
                raise SpecError(f"expected a name ending in {suffix} for --{suffix[1:]}, got {path}.")
            with working(f"drawing {path}", quiet=as_json):
                save_picture(made, path, step=step, feed=feed, frames=frame)
            written.append(str(path))
    if as_json:
        seen = read_out(made)
        print_json(
            {
                "steps": made.steps,
                "frames": seen.steps.tolist(),
                "width": seen.widths.tolist(),
                "ok": report.ok,
                "problems": list(seen.problems),
                "written": written,
            }
        )
        return FINE
    screen = console()
    width = screen.width
    screen.print(wave(made, width=width, step=step, feed=feed, frames=frame))
    if step is None:
        screen.print(width_profile(made, width))
    for name in written:
        screen.print(Text(f"wrote {name}"), soft_wrap=True)
    if not report.ok:
        screen.print(Text(f"{plan.name} is not valid: {report.errors:,} error(s). `diagplan verify` lists them."))
    return FINE


@command
def diff_command(
    a: PlanFile,
    b: PlanFile,
    limit: Annotated[int, typer.Option(help="Feeds shown; all are counted.", min=1)] = 30,
    as_json: JsonOption = False,
) -> int:
    """Say which feeds differ between two plans. Exit code 1 if any does."""
    from diagplan.drawing.wording import difference_words
    from diagplan.planner.compare import compare_plans
    from diagplan.schemas.files import read_plan

    plans = read_plan(a), read_plan(b)
    for path, made in zip((a, b), plans, strict=True):
        if not well_formed(made):
            raise InvalidPlanError(f"expected numbers in range in {path}, got others. `diagplan verify` names them.")
    with working("comparing", quiet=as_json):
        result = compare_plans(*plans)
    code = FINE if result.same else PROBLEM
    if as_json:
        header = {name: [str(left), str(right)] for name, (left, right) in result.header.items()}
        print_json(
            {
                "same": result.same,
                "header": header,
                "differences": [asdict(difference) for difference in result.feeds[:limit]],
                "count": len(result.feeds),
                "same_feeds": result.same_feeds,
                "masks_compared": result.masks_compared,
            }
        )
        return code
    screen = console()
    if result.header:
        print_table(["", a.name, b.name], [(name, *values) for name, values in result.header.items()])
    for difference in result.feeds[:limit]:
        screen.print(Text(difference_words(difference, *plans)), soft_wrap=True)
    if len(result.feeds) > limit:
        screen.print(Text(f"and {len(result.feeds) - limit:,} more; --limit shows more"))
    if not result.masks_compared:
        screen.print(Text("mask rows were not compared bit by bit: the plans differ in length or are too long"))
    verdict = "the plans are the same" if result.same else f"the plans differ: {len(result.feeds):,} feed(s)"
    if result.header:
        verdict += f", {len(result.header)} header field(s)"
    screen.print(Text(f"{verdict}; {result.same_feeds:,} feeds agree"))
    return code


@command
def graph_command(
    plan: PlanFile,
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="File to write: .graphml, .dot or .json (node-link).", show_default=False),
    ],
    nodes: Annotated[Literal["feeds", "tokens"], typer.Option(help="What a node is.")] = "feeds",
    cache_edges: Annotated[bool, typer.Option(help="Include what each query sees in the cache.")] = True,
    as_json: JsonOption = False,
) -> int:
    """Export the plan as a dependency graph, and say how many passes its dependencies call for."""
    from diagplan.planner.graph import passes_needed, plan_graph
    from diagplan.schemas.files import read_plan
    from diagplan.schemas.graph_files import write_graph
    from diagplan.schemas.verify import verify

    made = read_plan(plan)
    if not verify(made).ok:
        raise InvalidPlanError(f"expected a valid plan in {plan}, got one with errors. `diagplan verify` names them.")
    with working("building the graph", quiet=as_json):
        graph = plan_graph(made, nodes, cache_edges=cache_edges)
        needed = passes_needed(graph)
    with working(f"writing {out}", quiet=as_json):
        write_graph(graph, out)
    figures = {
        "nodes": graph.number_of_nodes(),
        "edges": graph.number_of_edges(),
        "passes_needed": needed,
        "steps": made.steps,
    }
    if as_json:
        print_json(figures | {"out": str(out)})
    else:
        print_table(["", ">"], [(name.replace("_", " "), f"{value:,}") for name, value in figures.items()])
        console().print(Text(f"wrote {out}"), soft_wrap=True)
    return FINE


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for name, function in (
        ("compile", compile_command),
        ("verify", verify_command),
        ("show", show_command),
        ("diff", diff_command),
        ("graph", graph_command),
    ):
        app.command(name)(function)
