"""The figures of a plan, as people read them."""

import io

from rich.console import Console

from diagplan.drawing.stats_table import stats_rows, stats_table
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Diagonal

LAYOUT = Layout(frames=1, rows=2, cols=3, lead=2)
ROWS = [
    ("forward passes", "4"),
    ("tokens", "6"),
    ("speed-up in passes", "1.50 x"),
    ("width, mean / max", "1.75 / 2"),
    ("feeds (of them prefill)", "8 (1)"),
    ("cache slots", "8"),
    ("proxies", "1"),
    ("refreshes", "1"),
    ("reads of unwritten slots", "0"),
]


def test_rows() -> None:
    assert stats_rows(compile_plan(LAYOUT, Diagonal(k=1)).stats()) == ROWS


def test_what_a_cap_and_padding_cost_is_shown_where_it_is_something() -> None:
    rows = dict(stats_rows(compile_plan(LAYOUT, Diagonal(k=1), max_width=1, pad=(4,)).stats()))
    assert rows["passes a width cap costs"] == "3"
    assert rows["padding feeds"] == "20"
    assert rows.keys() == {*dict(ROWS), "passes a width cap costs", "padding feeds"}


def test_table() -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(stats_table(compile_plan(LAYOUT, Diagonal(k=1)).stats()))
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.getvalue().splitlines() if "│" in line]
    assert lines == [list(row) for row in ROWS]
