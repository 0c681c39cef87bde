"""Say which feeds differ between two plans."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.text import Text

from diagplan.cli.shared.output import FINE, PROBLEM, JsonOption, command, console, print_json, print_table, working
from diagplan.cli.shared.requests import PlanFile
from diagplan.planner.errors import InvalidPlanError
from diagplan.planner.plan import well_formed

__all__ = ["diff_command"]


@command
def diff_command(
    a: PlanFile,
    b: PlanFile,
    limit: Annotated[int, typer.Option(help="Show so many feeds that differ; all are counted.", min=1)] = 30,
    as_json: JsonOption = False,
) -> int:
    """Say which feeds differ between two plans. Exit code 1 if any does."""
    from diagplan.drawing.wording import difference_words
    from diagplan.planner.compare import compare_plans
    from diagplan.schemas.files import read_plan

    plans = read_plan(a), read_plan(b)
    for path, plan in zip((a, b), plans, strict=True):
        if not well_formed(plan):
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
