"""Layouts of one sequence, what a chain keeps, and its cost by enumeration and by the closed form."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagplan import BUNDLES, Diagonal, Imported, Layout, NextToken, Policies, SpecError, ZipAR, compile_plan
from diagplan.planner.chain_compiler import chain_cost, chain_layouts, chain_of, compile_chain
from diagplan.planner.checker.chains import verify_chain
from diagplan.planner.lowering import pad_steps
from tests.support.strategies import chain_requests

GRID = Layout(frames=1, rows=3, cols=4, lead=5)


@settings(max_examples=40)
@given(request=chain_requests(), refeed=st.booleans())
def test_every_compiled_chain_is_valid(request: dict[str, Any], refeed: bool) -> None:
    chain = compile_chain(**request, refeed=refeed)
    report = verify_chain(chain)
    assert report.ok, report.diagnostics
    for plan, layout, schedule, policies in zip(
        chain.plans, request["layouts"], request["schedules"], request["policies"], strict=True
    ):
        assert plan == compile_plan(layout, schedule, policies, max_width=request["max_width"])
    if refeed:
        assert not any(chain.kept)


@settings(max_examples=20)
@given(request=chain_requests(side=3))
def test_nothing_more_could_be_kept(request: dict[str, Any]) -> None:
    """Every prompt feed that is not left out is refused by the checker once it is."""
    chain = compile_chain(**request)
    for number in range(1, len(chain.plans)):
        kept = {slot for start, end in chain.kept[number] for slot in range(start, end)}
        for slot in range(chain.plans[number].layout.first_generated):
            if slot not in kept:
                runs = sorted(kept | {slot})
                more = _runs(runs)
                damaged = replace(chain, kept=(*chain.kept[:number], more, *chain.kept[number + 1 :]))
                assert verify_chain(damaged).counts.keys() & {"DP702", "DP703"}


def _runs(numbers: list[int]) -> tuple[tuple[int, int], ...]:
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return tuple(runs)


def _named(request: dict[str, Any]) -> dict[str, Any]:
    """The same request without imported orders and without a cap."""
    schedules = [Diagonal(k=2, d=3) if isinstance(s, Imported) else s for s in request["schedules"]]
    return {"layouts": request["layouts"], "schedules": schedules, "policies": request["policies"]}


@settings(max_examples=80)
@given(request=chain_requests(), refeed=st.booleans())
def test_the_closed_form_is_the_enumeration(request: dict[str, Any], refeed: bool) -> None:
    named = _named(request)
    assert compile_chain(**named, refeed=refeed).cost() == chain_cost(**named, refeed=refeed)


@settings(max_examples=40)
@given(request=chain_requests(), between=st.integers(0, 4))
def test_layouts_are_placed_one_after_the_other(request: dict[str, Any], between: int) -> None:
    layouts = request["layouts"]
    placed = chain_layouts(layouts, between)
    assert placed[0] == layouts[0]
    for before, layout, own in zip(placed, placed[1:], layouts[1:], strict=False):
        assert layout == replace(own, lead=before.positions + between)
    assert chain_layouts(layouts, [between] * (len(layouts) - 1)) == placed


def test_what_is_kept_by_hand() -> None:
    """The second plan begins at slot 17; slots 8 and 12 end rows whose successors came before them."""
    layouts = chain_layouts([GRID, GRID], 2)
    assert [layout.lead for layout in layouts] == [5, 19]
    assert compile_chain(layouts, NextToken()).kept == ((), ((0, 16),))
    assert compile_chain(layouts, Diagonal(k=1)).kept == ((), ((0, 16),))
    kept = compile_chain(layouts, Diagonal(k=1), Policies(row_end="keep")).kept
    assert kept == ((), ((0, 8), (9, 12), (13, 16)))
    assert compile_chain(layouts, Diagonal(k=4), Policies(row_end="keep")).kept == ((), ((0, 16),))
    steps = np.array([[0, 1, 1, 1]] * 3) + np.arange(3)[:, None]  # three tokens come last
    assert compile_chain(layouts, Imported(steps=steps)).kept == ((), ((0, 14),))


@pytest.mark.parametrize(
    ("schedule", "left"),
    [
        (NextToken(), 1),
        (Diagonal(k=4), 1),  # as many columns: no row waits
        (Diagonal(k=2), 1 + 3 * 2),
        (Diagonal(k=4, d=3), 1 + 2),
        (Diagonal(k=1, d=1), 1 + 3 * 2 + 2),
        (Diagonal(k=1, d=6), 1 + 3 * 2),  # a frame alone takes six steps
        (ZipAR(window=2, variant="llamagen"), 1 + 3),  # the second row waits for all of the first
    ],
    ids=repr,
)
def test_what_is_left_to_be_fed_again(schedule: Any, left: int) -> None:
    """Three frames of three rows, whose proxies' keys and values stay."""
    first = Layout(frames=3, rows=3, cols=4, lead=5)
    layouts = chain_layouts([first, GRID])
    cost = chain_cost(layouts, schedule, Policies(row_end="keep"))
    assert cost == compile_chain(layouts, schedule, Policies(row_end="keep")).cost()
    assert cost.kept_tokens == first.positions - left


def test_a_slot_that_is_written_over_is_not_kept() -> None:
    """By a plan that never feeds token 1, and puts a cell into its slot."""
    first, plan, third = compile_chain(chain_layouts([GRID] * 3), NextToken()).plans
    feeds = np.flatnonzero(plan.position != 1)
    columns = {name: getattr(plan, name)[feeds] for name in ("source", "position", "slot", "target")}
    columns["slot"] = np.where(columns["position"] == 20, 1, columns["slot"])
    other = replace(
        plan,
        policies=replace(plan.policies, row_end="custom"),
        step_offsets=np.maximum(plan.step_offsets - 1, 0),
        **columns,
    )
    chain = chain_of([first, other, third])
    assert chain.kept == ((), ((0, 1), (2, 16)), ((0, 1), (2, 20), (21, 28)))
    assert verify_chain(chain).ok


def test_schedules_and_policies_are_each_plans_own_or_one_for_all() -> None:
    layouts = chain_layouts([GRID, GRID])
    chain = compile_chain(layouts, [NextToken(), ZipAR(window=2)], [BUNDLES["default"], BUNDLES["zipar-llamagen"]])
    assert [plan.schedule.name for plan in chain.plans] == ["next-token", "zipar"]
    assert [plan.policies.visibility for plan in chain.plans] == ["written", "causal"]
    assert [plan.max_width for plan in compile_chain(layouts, Diagonal(k=1), max_width=2).plans] == [2, 2]


def test_plans_that_are_there_are_chained() -> None:
    layouts = chain_layouts([GRID, GRID])
    plans = [compile_plan(layout, Diagonal(k=2)) for layout in layouts]
    assert chain_of(plans) == compile_chain(layouts, Diagonal(k=2))
    ordered = [compile_plan(layout, Diagonal(k=2), slots="step-order") for layout in layouts]
    chain = chain_of(ordered)  # what is fed first has the number of its position: the lead, and a first token
    assert verify_chain(chain).ok
    assert chain.kept[1][0][0] == 0
    assert chain.cost().kept_tokens < compile_chain(layouts, Diagonal(k=2)).cost().kept_tokens
    padded = chain_of([pad_steps(plan, [4]) for plan in plans])
    assert padded.kept == compile_chain(layouts, Diagonal(k=2)).kept
    assert verify_chain(padded).ok


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layouts": [GRID]}, "expected 2 to 64 layouts of a chain, got 1. One alone needs no chain."),
        ({"layouts": [GRID] * 65}, "expected 2 to 64 layouts of a chain, got 65."),
        ({"layouts": GRID}, "expected layouts to be a list, got layouts=<Layout>. Give a list: [layout, ...]."),
        ({"layouts": [GRID, 3]}, "expected layouts to be Layouts, got layouts=<int>."),
        ({"layouts": [GRID, GRID]}, "expected lead >= 17 for plan 1 of a chain, all positions of the plan before, got"),
        ({"schedules": [NextToken()]}, "expected 2 schedules, or one for all, got 1"),
        ({"schedules": 3}, "expected schedule to be a schedule"),
        ({"policies": [Policies()] * 3}, "expected 2 policies, or one for all, got 3"),
    ],
)
def test_wrong_descriptions(change: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {"layouts": chain_layouts([GRID, GRID]), "schedules": NextToken(), "policies": None}
    functions: list[Any] = [compile_chain, chain_cost]
    for function in functions:
        with pytest.raises(SpecError, match=re.escape(message)):
            function(**right | change)


def test_other_wrong_arguments() -> None:
    with pytest.raises(SpecError, match=re.escape("expected between >= 0, got between=-1.")):
        chain_layouts([GRID, GRID], -1)
    with pytest.raises(SpecError, match=re.escape("expected 1 between, or one for all, got 2, [1, 2].")):
        chain_layouts([GRID, GRID], [1, 2])
    with pytest.raises(SpecError, match=re.escape("expected at most 16777216 slots")):
        chain_layouts([GRID, GRID], 1 << 24)
    layouts = chain_layouts([GRID, GRID])
    with pytest.raises(SpecError, match="expected schedules by name for a closed form, got an imported order"):
        chain_cost(layouts, Imported(steps=np.arange(12).reshape(3, 4)))
    plans = [compile_plan(layout, NextToken()) for layout in layouts]
    with pytest.raises(SpecError, match=re.escape("expected lead >= 29 for plan 1 of a chain")):
        chain_of(plans[::-1])
    with pytest.raises(SpecError, match="expected plans to be Plans, got plans=<Layout>"):
        chain_of(layouts)  # type: ignore[arg-type]
