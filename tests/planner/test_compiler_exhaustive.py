"""Every small grid with every delay: the closed form, the checker, and the rules played step by step."""

from collections.abc import Iterator
from itertools import product
from typing import get_args

import pytest
from hypothesis import settings

from diagplan.planner import formulas
from diagplan.planner.checker import verify_plan
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.policy import BUNDLES, Policies, ProxyKV, ProxyPolicy, RowEnd, Visibility
from diagplan.planner.schedule import Diagonal
from tests.support.simulation import simulate
from tests.support.strategies import PROXIES

#: Nothing given between frames, so that frame starts need proxies; then action tokens; then end-of-line tokens.
SURROUNDINGS = (
    {"lead": 1},
    {"prompt_frames": 1},
    {"prompt_frames": 1, "between_frames": 2},
    {"lead": 2, "between_rows": 1},
)


def cases(frames: int, side: int) -> Iterator[tuple[int, int, int, int, int | None]]:
    for T, h, w in product(range(1, frames + 1), range(1, side + 1), range(1, side + 1)):
        for k in range(1, side + 2):
            alone = formulas.frame_steps(h, w, k)
            yield from ((T, h, w, k, d) for d in (*range(1, alone + 2), None))


def check(case: tuple[int, int, int, int, int | None], surrounding: dict[str, int], policies: Policies) -> None:
    T, h, w, k, d = case
    layout = Layout(frames=T, rows=h, cols=w, **surrounding)
    plan = compile_plan(layout, Diagonal(k=k, d=d), policies)
    assert plan.steps == formulas.total_steps(T, h, w, k, d), (case, surrounding)
    assert verify_plan(plan).ok, (case, surrounding, policies)


def test_every_small_grid_takes_the_steps_of_the_closed_form() -> None:
    checked = 0
    for T, h, w, k, d in cases(4, 4):
        layout = Layout(frames=T, rows=h, cols=w, lead=1)
        assert max(simulate(layout, Diagonal(k=k, d=d)).values()) + 1 == formulas.total_steps(T, h, w, k, d)
        checked += 1
    assert checked == 4 * 600  # the sum of F + 2 over h, w and k, for each T


def fitting(policies: Policies) -> list[dict[str, int]]:
    return [s for s in SURROUNDINGS if policies.proxy != "prompt" or s.get("prompt_frames")]


@pytest.mark.parametrize("side", [3, pytest.param(4, marks=pytest.mark.slow)])
@pytest.mark.parametrize("bundle", ["default", "mineworld-image", "zipar-llamagen"])
def test_every_small_grid_verifies(bundle: str, side: int) -> None:
    for case, surrounding in product(cases(side, side), fitting(BUNDLES[bundle])):
        check(case, surrounding, BUNDLES[bundle])


@pytest.mark.slow
@pytest.mark.parametrize("row_end", ["keep", "refresh"])
@pytest.mark.parametrize("proxy", PROXIES)
def test_every_small_grid_verifies_under_every_policy(proxy: ProxyPolicy, row_end: RowEnd) -> None:
    # All of them from SEARCH_EXAMPLES=2000 on; with fewer every second one, every third, ...
    every = max(1, 2000 // settings().max_examples)
    grids = list(cases(4, 4))[::every]
    for visibility, proxy_kv in product(get_args(Visibility)[:2], get_args(ProxyKV)):
        policies = Policies(proxy=proxy, row_end=row_end, visibility=visibility, proxy_kv=proxy_kv)
        for case, surrounding in product(grids, fitting(policies)):
            check(case, surrounding, policies)
