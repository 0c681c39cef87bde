import re
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.audit import AuditCell, audit, judge, settings_that_give
from diagplan.planner.formulas import frame_steps, total_steps

MADE_UP = AuditCell(
    table=9,
    model="made-up",
    algorithm="diagd",
    k=2,
    d=10,
    frames=3,
    rows=40,
    cols=64,
    published=Decimal("0.15"),
    law=162,
    agrees="no",
)


def test_every_cell_is_judged() -> None:
    cells = audit()
    assert len(cells) == 53
    assert Counter(cell.agrees for cell in cells) == {"rounds": 41, "truncates": 2, "no": 10}
    assert Counter(cell.table for cell in cells) == {1: 6, 2: 8, 3: 8, 4: 24, 7: 3, 8: 4}


def test_only_zipar_is_cut_off() -> None:
    cut_off = [cell for cell in audit() if cell.agrees == "truncates"]
    assert [(cell.table, cell.model, cell.algorithm) for cell in cut_off] == [
        (1, "cosmos-4b", "zipar"),
        (1, "cosmos-12b", "zipar"),
    ]
    assert {(cell.law, cell.published, cell.k, cell.d) for cell in cut_off} == {(309, Decimal("0.30"), 1, None)}


def test_the_ten_cells_that_do_not_follow() -> None:
    cells = [cell for cell in audit() if cell.agrees == "no"]
    assert [(cell.table, cell.model, cell.k, cell.d, str(cell.published), cell.law) for cell in cells] == [
        (1, "cosmos-4b", 2, 10, "0.15", 162),
        (2, "cosmos-4b", 2, 40, "0.30", 222),
        (2, "cosmos-4b", 2, 10, "0.15", 162),
        (2, "cosmos-12b", 2, 40, "0.30", 222),
        (2, "cosmos-12b", 2, 10, "0.19", 162),
        (3, "cosmos-4b", 2, 40, "0.30", 222),
        (3, "cosmos-4b", 2, 10, "0.15", 162),
        (3, "cosmos-12b", 2, 40, "0.30", 222),
        (3, "cosmos-12b", 2, 10, "0.19", 162),
        (4, "cosmos-4b", 2, 18, "0.24", 178),
    ]
    assert [cell.setting for cell in cells if cell.table == 4] == [
        "k=2 with d=47 to 51; of the settings printed elsewhere k=4 d=8, k=4 d=12"
    ]
    assert [cell.setting for cell in cells if cell.table == 2] == [
        "k=2 with d=77 to 81, d = h k' = 80 (stacked rows) among them; k=4 with d=40",
        "k=2 with d=2 to 6; of the settings printed elsewhere k=2 d=4, k=2 d=6",
        "k=2 with d=77 to 81, d = h k' = 80 (stacked rows) among them; k=4 with d=40",
        "k=2 with d=22 to 26",
    ]


def test_a_setting_is_named_only_where_the_law_fails() -> None:
    for cell in audit():
        assert (cell.setting is not None) == (cell.agrees == "no")


def test_every_setting_named_gives_the_printed_number() -> None:
    for cell in audit():
        for k, first, last in re.findall(r"k=(\d+) (?:with )?d=(\d+)(?: to (\d+))?", cell.setting or ""):
            for d in range(int(first), int(last or first) + 1):
                assert judge(total_steps(cell.frames, cell.rows, cell.cols, int(k), d), cell.published) == "rounds"


@pytest.mark.parametrize(
    ("law", "published", "agrees"),
    [
        (144, "0.14", "rounds"),
        (145, "0.15", "rounds"),
        (154, "0.15", "rounds"),
        (155, "0.15", "truncates"),
        (159, "0.15", "truncates"),
        (160, "0.15", "no"),
        (149, "0.14", "truncates"),
        (140, "0.14", "rounds"),
        (134, "0.14", "no"),
        (7680, "7.68", "rounds"),
        (7675, "7.68", "rounds"),
        (4, "0.00", "rounds"),
        (9, "0.00", "truncates"),
    ],
)
def test_judging_a_made_up_cell(law: int, published: str, agrees: str) -> None:
    assert judge(law, Decimal(published)) == agrees


@given(st.integers(0, 20000))
def test_judging_agrees_with_integer_arithmetic(law: int) -> None:
    up, down = (law + 5) // 10, law // 10
    assert judge(law, Decimal(up).scaleb(-2)) == "rounds"
    assert judge(law, Decimal(down).scaleb(-2)) == ("rounds" if up == down else "truncates")
    assert judge(law, Decimal(down + 2).scaleb(-2)) == "no"


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 8), st.integers(1, 8), st.integers(0, 30))
def test_the_interval_for_the_same_k_is_complete(frames: int, rows: int, cols: int, k: int, tens: int) -> None:
    published = Decimal(tens).scaleb(-2)
    cell = replace(MADE_UP, frames=frames, rows=rows, cols=cols, k=k, d=1, published=published)
    k = min(k, cols)
    fitting = [
        d
        for d in range(1, frame_steps(rows, cols, k) + 1)
        if judge(total_steps(frames, rows, cols, k, d), published) == "rounds"
    ]
    named = re.match(rf"k={k} with d=(\d+)(?: \(frames in sequence\))?(?: to (\d+))?", settings_that_give(cell))
    found = range(int(named[1]), int(named[2] or named[1]) + 1) if named else range(0)
    assert list(found) == fitting


def test_frames_in_sequence_are_named_and_kept() -> None:
    # MC-AR's shape: 750 steps are k = 2 in sequence, and .75 was printed for k = 3.
    cell = replace(MADE_UP, frames=15, rows=14, cols=24, k=3, d=None, published=Decimal("0.75"), law=945)
    assert settings_that_give(cell).endswith("; k=2 with d=50 (frames in sequence)")


def test_next_token_prediction_has_a_nearest_setting_too() -> None:
    cell = replace(MADE_UP, algorithm="ntp", k=None, d=None, published=Decimal("7.56"), law=7680)
    assert settings_that_give(cell) == "k=64 with d=2498 to 2502; k=63 with d=2521 (frames in sequence)"


def test_a_setting_with_both_delays_changed_where_neither_alone_does() -> None:
    cell = replace(MADE_UP, frames=1, rows=2, cols=30, k=1, d=1, published=Decimal("0.05"))
    assert settings_that_give(cell) == "k=15 with d=1"
    cell = replace(MADE_UP, frames=2, rows=2, cols=30, k=1, d=1, published=Decimal("0.12"))
    assert settings_that_give(cell) == "k=28 with d=57"


def test_a_number_that_no_setting_gives() -> None:
    cell = replace(MADE_UP, published=Decimal("0.01"))
    assert settings_that_give(cell) == "no k in 1..w with d in 1..F gives it"
