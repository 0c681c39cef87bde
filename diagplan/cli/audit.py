"""Compare the published step counts with the law."""

from dataclasses import asdict

from rich.text import Text

from diagplan.cli.shared.output import FINE, JsonOption, WideOption, command, console, print_json, print_table

__all__ = ["audit_command"]


@command
def audit_command(wide: WideOption = False, as_json: JsonOption = False) -> int:
    """Compare the published step counts with the law. A report: the exit code is 0."""
    from diagplan.planner.audit import audit, count_verdicts

    cells = audit()
    counts = count_verdicts(cells)
    if as_json:
        listed = [asdict(cell) | {"published": float(cell.published)} for cell in cells]
        print_json({"cells": listed, "counts": counts})
        return FINE
    columns = ["model", "algorithm", ">k", ">d", "grid", ">printed", ">law", "agrees"]
    rows: list[tuple[object, ...]] = [
        (
            cell.model,
            cell.algorithm,
            cell.k,
            cell.d,
            f"{cell.frames}x{cell.rows}x{cell.cols}",
            f"{cell.published}k",
            f"{cell.law:,}",
            cell.agrees,
        )
        for cell in cells
    ]
    if wide:
        columns = [">table", *columns, "what would give the printed number"]
        rows = [(cell.table, *row, cell.setting) for cell, row in zip(cells, rows, strict=True)]
    print_table(columns, rows, title="Published STEP cells against (T-1) d' + (h-1) k' + w")
    console().print(
        Text(
            f"{len(cells)} cells: {counts['rounds']} agree by rounding half up to ten steps, "
            f"{counts['truncates']} only by truncation, {counts['no']} do not follow."
        ),
    )
    return FINE
