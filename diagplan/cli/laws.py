"""The commands about the law of step counts, and about what the package holds: steps, audit, prove, schema, presets."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from diagplan.cli.output import FINE, PROBLEM, JsonOption, command, console, print_json, print_table, working
from diagplan.cli.requests import layout_from_options, numbers_from_option
from diagplan.planner import formulas
from diagplan.planner.layout import Layout

__all__ = ["register"]


@command
def steps_command(
    model: Annotated[
        str | None, typer.Option(help="A published model's grid; see `diagplan presets`.", show_default=False)
    ] = None,
    frames: Annotated[int | None, typer.Option(help="Frames to generate.", show_default=False)] = None,
    rows: Annotated[int | None, typer.Option(help="Token rows of a frame.", show_default=False)] = None,
    cols: Annotated[int | None, typer.Option(help="Token columns of a frame.", show_default=False)] = None,
    k: Annotated[str, typer.Option("-k", "--k", help="Row delays, with commas.")] = "1,2,4",
    d: Annotated[
        str | None,
        typer.Option(
            "-d", "--d", help="Frame delays, with commas; frames in sequence if left out.", show_default=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Forward passes by the closed form, with exact and approximate speed-ups over next-token prediction."""
    layout = layout_from_options(model, frames=frames, rows=rows, cols=cols, lead=None if model else 1)
    delays = [None] if d is None else numbers_from_option("--d", d)
    lines = [_line(layout, row_delay, delay) for row_delay in numbers_from_option("--k", k) for delay in delays]
    grid = {"frames": layout.frames, "rows": layout.rows, "cols": layout.cols, "next_token_steps": layout.tokens}
    if as_json:
        print_json(grid | {"schedules": lines})
        return FINE
    print_table(
        [">k", ">d", ">k'", ">d'", ">passes", ">exact", ">exact ratio", ">approximate", "by"],
        [
            (
                line["k"],
                "in sequence" if line["d"] is None else line["d"],
                line["k_in_force"],
                line["d_in_force"],
                f"{line['steps']:,}",
                line["ratio"],
                f"{line['speedup']:.4f}",
                None if line["approximate"] is None else f"{line['approximate']:.4f}",
                line["by"],
            )
            for line in lines
        ],
        title=f"{layout.frames} frame{'s'[: layout.frames > 1]} of {layout.rows} x {layout.cols}: "
        f"next-token prediction takes {layout.tokens:,} passes",
    )
    return FINE


def _line(layout: Layout, k: int, d: int | None) -> dict[str, Any]:
    """One schedule's passes, its exact ratio, and the published approximation where there is one."""
    grid = layout.rows, layout.cols
    steps = formulas.total_steps(layout.frames, *grid, k, d)
    approximate, by = None, None
    d_in_force = formulas.frame_delay(d, *grid, k)
    if d_in_force == formulas.frame_steps(*grid, k):
        approximate, by = float(formulas.r_spa_approx(*grid, k)), "r_spa"
    elif k == 1 and d_in_force == layout.rows:
        approximate, by = float(formulas.r_diag_approx(layout.cols)), "r_diag"
    return {
        "k": k,
        "d": d,
        "k_in_force": formulas.row_delay(k, layout.cols),
        "d_in_force": d_in_force,
        "steps": steps,
        "ratio": f"{layout.tokens}/{steps}",
        "speedup": layout.tokens / steps,
        "approximate": approximate,
        "by": by,
    }


@command
def audit_command(as_json: JsonOption = False) -> int:
    """Compare the published step counts with the law. A report: the exit code is 0."""
    from diagplan.planner.audit import audit

    cells = audit()
    counts = {verdict: sum(cell.agrees == verdict for cell in cells) for verdict in ("rounds", "truncates", "no")}
    if as_json:
        listed = [asdict(cell) | {"published": float(cell.published)} for cell in cells]
        print_json({"cells": listed, "counts": counts})
        return FINE
    print_table(
        [
            ">table",
            "model",
            "algorithm",
            ">k",
            ">d",
            "grid",
            ">published",
            ">law",
            "agrees",
            "what would give the printed number",
        ],
        [
            (
                cell.table,
                cell.model,
                cell.algorithm,
                cell.k,
                cell.d,
                f"{cell.frames}x{cell.rows}x{cell.cols}",
                f"{cell.published}k",
                f"{cell.law:,}",
                cell.agrees,
                cell.setting,
            )
            for cell in cells
        ],
        title="Published STEP cells against (T-1) d' + (h-1) k' + w",
    )
    console().print(
        Text(
            f"{len(cells)} cells: {counts['rounds']} agree by rounding half up to ten steps, "
            f"{counts['truncates']} only by truncation, {counts['no']} do not follow."
        ),
        soft_wrap=True,
    )
    return FINE


@command
def prove_command(
    theorem: Annotated[
        list[str] | None, typer.Option(help="Prove this one only; may be repeated.", show_default=False)
    ] = None,
    wrong: Annotated[
        bool, typer.Option("--wrong", help="Ask for the deliberately false variants instead: each should be refuted.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds for each query to Z3.", min=0.1)] = 60.0,
    as_json: JsonOption = False,
) -> int:
    """Prove the theorems behind the plans, for all sizes, with Z3. Exit code 1 if one is not proved."""
    from diagplan.planner.proofs import prove

    wanted = "refuted" if wrong else "proved"
    results = []
    with working("proving", quiet=as_json) as status:
        for result in prove(theorem, variant="wrong" if wrong else "true", timeout_s=timeout):
            results.append(result)
            if status is not None:
                status.update(f"proving: {len(results)} done, last {result.name}")
    ok = all(result.verdict == wanted for result in results)
    if as_json:
        print_json({"ok": ok, "theorems": [asdict(result) for result in results]})
    else:
        rows = [
            (
                result.name,
                result.words,
                result.formula,
                result.verdict,
                _assignment(result.counterexample),
                f"{result.seconds:.2f}",
            )
            for result in results
        ]
        print_table(
            ["theorem", "in words", "true formula" if wrong else "formula", "verdict", "counterexample", ">seconds"],
            rows,
        )
        seconds = sum(result.seconds for result in results)
        right = sum(result.verdict == wanted for result in results)
        console().print(Text(f"{right} of {len(results)} {wanted}, {seconds:.1f} s"))
    return FINE if ok else PROBLEM


def _assignment(counterexample: dict[str, int] | None) -> str:
    return "" if counterexample is None else ", ".join(f"{name}={value}" for name, value in counterexample.items())


@command
def schema_command(
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="File to write instead of stdout.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it on one line.")] = False,
) -> int:
    """Print the JSON Schema of plan documents."""
    from diagplan.schemas.atomic import write_atomically
    from diagplan.schemas.schema import plan_schema, plan_schema_text

    if out is not None:
        write_atomically(out, plan_schema_text().encode())
        if as_json:
            print_json({"out": str(out)})
    elif as_json:
        print_json(plan_schema())
    else:
        sys.stdout.write(plan_schema_text())
    return FINE


@command
def presets_command(as_json: JsonOption = False) -> int:
    """List the published models' grids, and the bundles of policies."""
    from diagplan.planner.policy import BUNDLES
    from diagplan.planner.presets import PRESETS

    if as_json:
        models = {
            name: asdict(preset.layout) | {"models": preset.models, "source": preset.source}
            for name, preset in PRESETS.items()
        }
        print_json({"models": models, "bundles": {name: asdict(policies) for name, policies in BUNDLES.items()}})
        return FINE
    print_table(
        [
            "--model",
            ">frames",
            ">rows",
            ">cols",
            ">prompt frames",
            ">lead",
            ">between frames",
            ">between rows",
            "models",
        ],
        [(name, *_sizes(preset.layout), preset.models) for name, preset in PRESETS.items()],
        title="Models (every number can be changed by its option)",
    )
    console().print()
    print_table(
        ["--policies", "proxy", "row_end", "proxy_kv", "visibility"],
        [(name, *asdict(policies).values()) for name, policies in BUNDLES.items()],
        title="Bundles of policies",
    )
    return FINE


def _sizes(layout: Layout) -> tuple[int, ...]:
    return (
        layout.frames,
        layout.rows,
        layout.cols,
        layout.prompt_frames,
        layout.lead,
        layout.between_frames,
        layout.between_rows,
    )


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    for name, function in (
        ("steps", steps_command),
        ("audit", audit_command),
        ("prove", prove_command),
        ("schema", schema_command),
        ("presets", presets_command),
    ):
        app.command(name)(function)
