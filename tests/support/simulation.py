"""The schedules as rules, played step by step: when may a cell be generated?

Written from the specification's words, not from its formulas: nothing here multiplies a delay.
"""

from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Diagonal, Imported, NextToken, Schedule, ZipAR

__all__ = ["Cell", "simulate"]

Cell = tuple[int, int, int]


def simulate(layout: Layout, schedule: Schedule) -> dict[Cell, int]:
    """The step of every cell, each cell generated as early as the rules allow."""
    T, h, w = layout.frames, layout.rows, layout.cols
    row_full = [[0] * h for _ in range(T)]  # tokens known of every row
    began: list[int | None] = [None] * T
    steps: dict[Cell, int] = {}
    now = 0
    while len(steps) < T * h * w:
        ready = [
            (f, r, row_full[f][r])
            for f in range(T)
            for r in range(h)
            if row_full[f][r] < w  # the next cell of a row has its left neighbour, for rows fill from the left
            and (row_full[f][r] > 0 or _row_may_begin(schedule, row_full, began, (f, r), w, now))
        ]
        assert ready, "the rules never let the rest be generated"
        for f, r, c in ready:
            steps[f, r, c] = now
            row_full[f][r] += 1
            if began[f] is None:
                began[f] = now
        now += 1
    return steps


def _row_may_begin(
    schedule: Schedule, row_full: list[list[int]], began: list[int | None], at: tuple[int, int], w: int, now: int
) -> bool:
    f, r = at
    if r > 0:
        needed = w
        match schedule:
            case Diagonal():
                needed = schedule.k
            case ZipAR(variant="ideal"):
                needed = schedule.window
            case ZipAR(variant="llamagen") if r > 1:
                needed = schedule.window
            case Imported():
                raise AssertionError("an imported order has no rule")
        return row_full[f][r - 1] >= min(needed, w)
    if f == 0:
        return True
    if all(full == w for full in row_full[f - 1]):
        return True
    start = began[f - 1]
    if isinstance(schedule, NextToken | ZipAR | Imported) or schedule.d is None or start is None:
        return False
    return now - start >= schedule.d
