"""Layouts + schedules + policies -> a chain of plans, and what it costs by the closed form."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.arguments import require_kind
from diagplan.planner.chain import MAX_PLANS, Chain, ChainCost, Runs, members, prompt_feeds
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout, require_int
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies, require_policies
from diagplan.planner.schedule import Imported, Schedule, record, require_schedule
from diagplan.planner.shown import shown

__all__ = ["chain_cost", "chain_layouts", "chain_of", "compile_chain"]

_Each = TypeVar("_Each")


def chain_layouts(layouts: Sequence[Layout], between: int | Sequence[int] = 0) -> tuple[Layout, ...]:
    """The layouts of one sequence, one after the other: each later one's lead becomes everything before it.

    Args:
        layouts: two at least; the leads of all but the first are replaced.
        between: given tokens before each later grid, such as an image's end and the next one's start.

    Raises:
        SpecError: fewer layouts, other things, or a sequence that is too long.

    >>> grid = Layout(frames=1, rows=2, cols=3, lead=4)
    >>> [layout.lead for layout in chain_layouts([grid, grid, grid], between=2)]
    [4, 12, 20]
    """
    layouts = _checked_layouts(layouts, leads=False)
    numbers = _for_each("between", between, len(layouts) - 1)
    placed = [layouts[0]]
    for layout, count in zip(layouts[1:], numbers, strict=True):
        placed.append(replace(layout, lead=placed[-1].positions + require_int("between", count, 0)))
    return tuple(placed)


def compile_chain(
    layouts: Sequence[Layout],
    schedules: Schedule | Sequence[Schedule],
    policies: Policies | Sequence[Policies] | None = None,
    *,
    max_width: int | None = None,
    refeed: bool = False,
) -> Chain:
    """Compile the plans of a chain.

    Args:
        layouts: of each plan; a later one's lead holds every position of the one before, as ``chain_layouts`` has it.
        schedules: of each plan, or one for all.
        policies: of each plan, or one for all; ``None`` is ``BUNDLES["default"]``.
        max_width: as for ``compile_plan``, of each plan.
        refeed: feed every plan's whole lead again, in one wide pass: what a plan before left in the cache is not used.
            Then each plan's tokens are those of the plan alone with the tokens before it given.

    Raises:
        SpecError: the description is inconsistent; the message says what to change.
    """
    layouts = _checked_layouts(layouts)
    timings = _for_each("schedules", schedules, len(layouts))
    treatments = _for_each("policies", policies, len(layouts))
    plans = [
        compile_plan(layout, timing, treatment, max_width=max_width)
        for layout, timing, treatment in zip(layouts, timings, treatments, strict=True)
    ]
    return chain_of(plans, refeed=refeed)


def chain_of(plans: Sequence[Plan], *, refeed: bool = False) -> Chain:
    """A chain of plans that are there, which keeps as much of the cache as it can.

    Args:
        plans: valid ones, of which each later one's lead holds every position of the one before.
        refeed: as for ``compile_chain``.

    Raises:
        SpecError: fewer than two plans or more than ``MAX_PLANS``, or leads that are too short.
    """
    plans = _listed("plans", plans, Plan)
    _checked_layouts([plan.layout for plan in plans])
    kept: list[Runs] = [()]
    holds = _written(plans[0], np.full(plans[0].positions, -1), ())
    for plan in plans[1:]:
        feeds = prompt_feeds(plan)
        slot = np.full(plan.positions, -1)
        slot[: len(holds)] = holds
        feeds = feeds[plan.slot[feeds] == slot[plan.position[feeds]]]
        kept.append(() if refeed else _runs(plan.position[feeds], plan.positions))
        holds = _written(plan, slot, kept[-1])
    return Chain(plans=plans, kept=tuple(kept))


def chain_cost(
    layouts: Sequence[Layout],
    schedules: Schedule | Sequence[Schedule],
    policies: Policies | Sequence[Policies] | None = None,
    *,
    refeed: bool = False,
) -> ChainCost:
    """The cost of a chain without a width cap, by the closed form; arguments as for ``compile_chain``.

    Passes are the sum over the plans, by each one's own formula. A plan whose first generated slot is b, after one of
    P positions that leaves u of them to be fed again, feeds b - P + u - 1 tokens beside the one that predicts, and
    keeps P - u. Under ``row_end="refresh"`` u is 1, the last token; under ``"keep"`` there are also the last tokens of
    T (h - 1) rows where k' < w (of T (h - 2) for ZipAR's release) and of T - 1 frames where d' < F.

    Raises:
        SpecError: the description is inconsistent, or a schedule is an imported order, which has no closed form.

    >>> from diagplan.planner.schedule import Diagonal
    >>> grid = Layout(frames=1, rows=24, cols=24, lead=60)
    >>> chain_cost(chain_layouts([grid] * 4, between=2), Diagonal(k=2))
    ChainCost(plans=4, passes=280, prefill_tokens=65, kept_tokens=3639, tokens=2304)
    """
    layouts = _checked_layouts(layouts)
    timings = _for_each("schedules", schedules, len(layouts))
    treatments = [
        Policies() if treatment is None else treatment for treatment in _for_each("policies", policies, len(layouts))
    ]
    passes, prefill, kept = 0, 0, 0
    left, positions = 0, 0  # of the plan before: tokens to be fed again, and its positions
    for layout, timing, treatment in zip(layouts, timings, treatments, strict=True):
        require_schedule(timing)
        require_policies(treatment)
        if isinstance(timing, Imported):
            raise SpecError(
                "expected schedules by name for a closed form, got an imported order. Count in the plans: "
                "compile_chain(...).cost()."
            )
        passes += record(timing, layout).steps
        known = 0 if refeed else positions - left
        prefill += layout.first_generated - 1 - known
        kept += known
        left, positions = _left(layout, timing, treatment), layout.positions
    tokens = sum(layout.tokens for layout in layouts)
    return ChainCost(plans=len(layouts), passes=passes, prefill_tokens=prefill, kept_tokens=kept, tokens=tokens)


def _left(layout: Layout, schedule: Schedule, policies: Policies) -> int:
    """Tokens that a plan leaves to be fed again, by the closed form."""
    if policies.row_end == "refresh":
        return 1
    delays = record(schedule, layout)
    assert delays.k_in_force is not None
    assert delays.d_in_force is not None
    rows = layout.rows - (2 if delays.name == "zipar-llamagen" else 1)
    alone = delays.steps - (layout.frames - 1) * delays.d_in_force
    waiting = max(0, rows) * (delays.k_in_force < layout.cols)
    return 1 + layout.frames * waiting + (layout.frames - 1) * (delays.d_in_force < alone)


def _written(plan: Plan, holds: NDArray[np.int64], kept: Runs) -> NDArray[np.int64]:
    """After a plan, per position the cache slot that holds its own token, -1 where none does.

    Args:
        plan: the plan.
        holds: the same before it, int64 [positions].
        kept: positions whose feeds of step 0 are left out.
    """
    dropped = prompt_feeds(plan)
    fed = np.ones(plan.feeds, dtype=np.bool_)
    fed[dropped[members(kept, plan.positions)[plan.position[dropped]]]] = False
    taken = np.zeros(max(plan.cache_slots, int(holds.max()) + 1), dtype=np.bool_)
    taken[plan.slot[fed]] = True
    stays = np.where((holds >= 0) & ~taken[np.maximum(holds, 0)], holds, -1)
    feeds = np.flatnonzero(fed & (plan.source >= 0))
    newest = np.full(plan.positions, -1)
    newest[plan.position[feeds]] = feeds
    own = plan.source[newest] == plan.position[newest]
    return np.where(newest < 0, stays, np.where(own, plan.slot[newest], -1))


def _runs(numbers: NDArray[np.integer], size: int) -> Runs:
    inside = np.zeros(size + 2, dtype=np.bool_)
    inside[numbers + 1] = True
    edges = np.flatnonzero(inside[1:] != inside[:-1]).reshape(-1, 2).tolist()
    return tuple((start, end) for start, end in edges)


def _checked_layouts(layouts: Sequence[Layout], *, leads: bool = True) -> tuple[Layout, ...]:
    layouts = _listed("layouts", layouts, Layout)
    for number, (before, layout) in enumerate(pairwise(layouts), start=1):
        if leads and layout.lead < before.positions:
            raise SpecError(
                f"expected lead >= {before.positions} for plan {number} of a chain, all positions of the plan before, "
                f"got lead={layout.lead}. Place the layouts with chain_layouts."
            )
    return layouts


def _listed(name: str, values: Sequence[_Each], kind: type) -> tuple[_Each, ...]:
    require_kind(name, values, list | tuple, f"Give a list: [{kind.__name__.lower()}, ...].", what="a list")
    if not 2 <= len(values) <= MAX_PLANS:
        raise SpecError(f"expected 2 to {MAX_PLANS} {name} of a chain, got {len(values)}. One alone needs no chain.")
    for value in values:
        require_kind(name, value, kind, "Give nothing else in the list.", what=f"{kind.__name__}s")
    return tuple(values)


def _for_each(name: str, values: Any, count: int) -> list[Any]:
    """One value for each plan, from such a list or from one value for all."""
    if not isinstance(values, list | tuple):
        return [values] * count
    if len(values) != count:
        raise SpecError(f"expected {count} {name}, or one for all, got {len(values)}, {shown(list(values)[:4])}.")
    return list(values)
