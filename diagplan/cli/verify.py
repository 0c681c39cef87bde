"""Check a plan or a chain by every rule, and its digests."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from diagplan.cli.shared.output import FINE, PROBLEM, JsonOption, command, console, print_json, print_table, working
from diagplan.cli.shared.requests import PlanFile

__all__ = ["verify_command"]


@command
def verify_command(
    plan: PlanFile,
    cap: Annotated[int, typer.Option(help="Show so many breaches of one rule; all are counted.")] = 20,
    as_json: JsonOption = False,
) -> int:
    """Check a plan, or a chain of plans, by every rule, and its digests. Exit code 1 if there is any error."""
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
                "diagnostics": [
                    {key: value for key, value in asdict(one).items() if key != "plan" or value is not None}
                    for one in report.diagnostics
                ],
            }
        )
        return FINE if report.ok else PROBLEM
    if report.diagnostics:
        chained = any(one.plan is not None for one in report.diagnostics)
        print_table(
            ["code", "severity", *([">plan"] if chained else []), ">step", ">feed", ">slot", "message", "remedy"],
            [
                (d.code, d.severity, *([d.plan] if chained else []), d.step, d.feed, d.slot, d.message, d.remedy)
                for d in report.diagnostics
            ],
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
