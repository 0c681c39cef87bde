"""Arguments of the wrong kind, or in the wrong order, are refused by name; NumPy integers count as integers."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from diagplan import (
    Diagonal,
    Imported,
    Layout,
    NextToken,
    Plan,
    ZipAR,
    bundle_schedule,
    compile_plan,
    compile_rollout,
    plan_digest,
    preset_layout,
    read_plan,
    verify,
    write_plan,
)
from diagplan.planner import formulas
from diagplan.planner.arguments import require_call, require_kind, require_number
from diagplan.planner.errors import SpecError
from diagplan.planner.lowering import cap_width
from diagplan.planner.rollout import rollout_cost
from diagplan.planner.shown import shown

call: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (compile_plan, compile_rollout, verify, plan_digest, write_plan, read_plan, preset_layout, bundle_schedule)
}
GRID = Layout(frames=1, rows=2, cols=2, lead=1)
PLAN = compile_plan(GRID, NextToken())
LAYOUT_FIRST = "The layout comes first: compile_plan(layout, schedule, policies)."
WINDOW_FIRST = "The window's layout comes first: compile_rollout(window, schedule, policies, frames=...)."
SCHEDULES = "Give one of NextToken(), Diagonal(k=...), ZipAR(window=...), Imported(steps=...)."
POLICIES = "Give Policies(...) or a bundle: BUNDLES['default']."


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("compile_plan", (Diagonal(k=2), GRID), f"layout to be a Layout, got layout=<Diagonal>. {LAYOUT_FIRST}"),
        ("compile_plan", ("cosmos", NextToken()), f"layout to be a Layout, got layout='cosmos'. {LAYOUT_FIRST}"),
        ("compile_plan", (None, NextToken()), f"layout to be a Layout, got layout=None. {LAYOUT_FIRST}"),
        ("compile_plan", (GRID, GRID), f"schedule to be a schedule, got schedule=<Layout>. {SCHEDULES}"),
        (
            "compile_plan",
            (GRID, NextToken),
            f"schedule to be a schedule, got schedule=the class NextToken. {SCHEDULES}",
        ),
        ("compile_plan", (GRID, 2), f"schedule to be a schedule, got schedule=<int>. {SCHEDULES}"),
        (
            "compile_plan",
            (GRID, NextToken(), "default"),
            f"policies to be a Policies, got policies='default'. {POLICIES}",
        ),
        ("compile_rollout", (NextToken(), GRID), f"window to be a Layout, got window=<NextToken>. {WINDOW_FIRST}"),
        ("compile_rollout", (GRID, "next-token"), f"schedule to be a schedule, got schedule='next-token'. {SCHEDULES}"),
        (
            "compile_rollout",
            (GRID, NextToken(), ["default"]),
            f"policies to be a Policies, got policies=<list>. {POLICIES}",
        ),
        (
            "verify",
            (GRID,),
            (
                "plan to be a Plan, a Chain or the path of a file of one, got plan=<Layout>. "
                "Compile one, or give the path of a file."
            ),
        ),
        (
            "plan_digest",
            ("a.json",),
            "plan to be a Plan, got plan='a.json'. Read a file first: plan_digest(read_plan(path)).",
        ),
        (
            "write_plan",
            ("a.json", PLAN),
            "plan to be a Plan, got plan='a.json'. The plan comes first: write_plan(plan, path).",
        ),
        ("write_plan", (PLAN, PLAN), "path to be a path, got path=<Plan>. Give the name of the file to write."),
        ("read_plan", (PLAN,), "path to be a path, got path=<Plan>. Give the name of a plan file."),
        (
            "preset_layout",
            (GRID,),
            (
                "name to be a str, got name=<Layout>. Give a model's name, e.g. preset_layout('cosmos'); "
                "`diagplan presets` lists them."
            ),
        ),
        (
            "bundle_schedule",
            (GRID, "default", 1),
            "layout to be a Layout, got layout='default'. The name comes first: bundle_schedule(name, layout, k).",
        ),
    ],
)
def test_the_wrong_kind_is_refused_by_name(name: str, arguments: tuple[Any, ...], message: str) -> None:
    options = {"frames": 2} if name == "compile_rollout" else {}
    with pytest.raises(SpecError, match=f"^{re.escape('expected ' + message)}$"):
        call[name](*arguments, **options)


def test_a_value_that_fills_the_screen_is_not_shown() -> None:
    for value in ("x" * 10**6, list(range(10**6)), np.zeros(10**6)):
        with pytest.raises(SpecError) as caught:
            require_kind("plan", value, Plan, "Compile one.")
        assert len(str(caught.value)) < 140


def test_fields_that_no_layout_has() -> None:
    with pytest.raises(
        SpecError, match=r"^expected a field of Layout out of frames, rows, .*, got row\. Correct its name\.$"
    ):
        call["preset_layout"]("cosmos", row=3)


def test_an_order_has_a_name() -> None:
    label: Any = 3
    with pytest.raises(SpecError, match=r"^expected label to be a str, got label=<int>\. Give the order a name\.$"):
        Imported(steps=[[0]], label=label)


KINDS = [np.int8, np.int32, np.int64, np.uint8, np.uint64]


def numbers_of(value: Any) -> list[Any]:
    """The numbers in the fields of nested dataclasses."""
    if isinstance(value, dict):
        return [number for part in value.values() for number in numbers_of(part)]
    if isinstance(value, list | tuple):
        return [number for part in value for number in numbers_of(part)]
    return [value] if isinstance(value, int | np.integer) else []


@pytest.mark.parametrize("kind", KINDS)
def test_numpy_integers_are_integers(kind: Callable[[int], Any]) -> None:
    n = kind
    grid = Layout(
        frames=n(2), rows=n(3), cols=n(4), lead=n(1), prompt_frames=n(1), between_frames=n(0), between_rows=n(0)
    )
    same = Layout(frames=2, rows=3, cols=4, lead=1, prompt_frames=1)
    assert (grid, json.dumps(asdict(grid)), repr(grid)) == (same, json.dumps(asdict(same)), repr(same))
    plan = compile_plan(grid, Diagonal(k=n(1), d=n(3)), max_width=n(2), pad=[n(1), n(4)])
    expected = compile_plan(same, Diagonal(k=1, d=3), max_width=2, pad=[1, 4])
    assert plan == expected
    assert type(cap_width(compile_plan(same, Diagonal(k=1)), n(2)).max_width) is int
    assert plan_digest(plan) == plan_digest(expected)
    assert repr(Diagonal(k=n(1), d=n(3))) == "Diagonal(k=1, d=3)"
    assert repr(ZipAR(window=n(8))) == "ZipAR(window=8, variant='ideal')"
    rollout = compile_rollout(grid, Diagonal(k=n(1)), frames=n(5), prompt_frames=n(2), max_width=n(9))
    assert rollout == compile_rollout(same, Diagonal(k=1), frames=5, prompt_frames=2, max_width=9)
    cost = rollout_cost(grid, Diagonal(k=n(1)), frames=n(5), prompt_frames=n(2))
    assert cost == rollout_cost(same, Diagonal(k=1), frames=5, prompt_frames=2)
    header = {"layout": asdict(plan.layout), "schedule": asdict(plan.schedule), "width": plan.max_width}
    windows = [asdict(window) for window in rollout.windows]
    found = numbers_of([header, windows, rollout.frames, rollout.prompt_frames, list(cost)])
    assert {type(number) for number in found} == {int}
    assert verify(plan, cap=n(3)).ok


def test_numpy_integers_do_not_overflow() -> None:
    n: Any = np.int8
    assert formulas.total_steps(n(100), n(100), n(100), n(100), None) == 100**3
    assert formulas.zipar_llamagen_steps(n(100), n(100), n(100), n(100)) == 100**3
    assert formulas.frame_steps(n(100), n(100), n(100)) == 100**2
    assert formulas.r_spa(n(100), n(100), n(1)) == formulas.r_spa(100, 100, 1)
    assert formulas.r_spa_approx(n(100), n(100), n(9)) == formulas.r_spa_approx(100, 100, 9)
    assert formulas.r_spa_error_bound(n(100), n(100), n(9)) == formulas.r_spa_error_bound(100, 100, 9)
    assert formulas.r_diag(n(100), n(100), n(100)) == formulas.r_diag(100, 100, 100)
    assert formulas.r_diag_error_bound(n(100), n(100), n(100)) == formulas.r_diag_error_bound(100, 100, 100)
    assert Layout(frames=n(100), rows=n(100), cols=n(100), lead=n(1)).positions == 100**3 + 1


@pytest.mark.parametrize("value", [True, np.True_, np.float64(2), 2.0, "2", np.array([2])])
def test_other_things_are_no_integers(value: Any) -> None:
    message = f"expected k to be an integer, got k={shown(value)}. Give a whole number >= 1."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        Diagonal(k=value)


@pytest.mark.parametrize(("value", "shown"), [("x", "'x'"), (True, "True"), (None, "None"), (10**400, "a number of")])
def test_what_is_no_number(value: Any, shown: str) -> None:
    with pytest.raises(SpecError, match=f"^expected scale to be a number, got scale={re.escape(shown)}.* Give one"):
        require_number("scale", value, "Give one.")


def test_numbers_of_any_make() -> None:
    assert [require_number("scale", value, "") for value in (2, np.float32(0.5), Fraction(1, 4))] == [2.0, 0.5, 0.25]
    assert require_number("scale", float("inf"), "") == float("inf")
    with pytest.raises(SpecError, match="expected scale to be a finite number, got scale=inf"):
        require_number("scale", float("inf"), "Give one.", finite=True)


def test_what_can_be_called() -> None:
    require_call("on_frame", None)
    require_call("on_frame", print)
    for value, name in ((3, "<int>"), (int, "the class int")):
        message = f"expected on_frame to be a function or None, got on_frame={name}. Give a function, or leave it out."
        with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
            require_call("on_frame", value)
