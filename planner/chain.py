"""One grid after another in one sequence: a preview and its picture, several images, as a chain of plans.

Each later plan is a whole plan by itself: its lead is everything before it, and its step 0 would feed all of that. In
a chain the cache is kept, so the feeds of step 0 whose token the cache holds already are left out. What is *held* is a
position whose newest write, by a plan before, was its own token's; fed again are the tokens chosen last, those whose
slot keeps a proxy's keys and values, and given tokens that are new. What is held stays as the plan before left it:
after next-token prediction that is what a pass over the whole lead would write; after any other schedule a token was
fed when fewer of its predecessors were known.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.columns import MaskRows, prefill_feeds
from diagplan.planner.layout import Layout
from diagplan.planner.masks import Held
from diagplan.planner.plan import Plan

__all__ = ["MAX_PLANS", "Chain", "ChainCost", "Continued", "Runs", "members", "prompt_feeds"]

#: The most plans of a chain.
MAX_PLANS = 64

Runs = tuple[tuple[int, int], ...]


class ChainCost(NamedTuple):
    """What a chain costs.

    Attributes:
        plans: grids, one after the other.
        passes: forward passes, each plan's first one included.
        prefill_tokens: known tokens that first passes feed beside the one that predicts a plan's first token.
        kept_tokens: known tokens that they need not feed, for the cache holds them.
        tokens: tokens generated; next-token prediction needs as many passes.
    """

    plans: int
    passes: int
    prefill_tokens: int
    kept_tokens: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Continued:
    """A plan of a chain as it is run, after those before it.

    Args:
        plan: the plan without the feeds of what is kept. It is not valid by itself.
        held: what the cache holds of it before its first pass.
        before: the layouts of the plans before it.
    """

    plan: Plan
    held: Held
    before: tuple[Layout, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Plans of one sequence and one cache, in order; it does nothing, and making one checks nothing.

    Args:
        plans: each a whole plan, whose lead holds every position of the plan before.
        kept: for each plan the positions that step 0 need not feed, as sorted, disjoint half-open runs; none for the
            first one.
    """

    plans: tuple[Plan, ...]
    kept: tuple[Runs, ...]

    @property
    def layout(self) -> Layout:
        """The layout of the last plan: the whole sequence."""
        return self.plans[-1].layout

    def between(self, number: int) -> int:
        """Given tokens before the grid of a plan that no plan before has: its lead for the first."""
        return self.plans[number].layout.lead - (self.plans[number - 1].positions if number else 0)

    def given_slots(self) -> NDArray[np.int64]:
        """The slots of the whole sequence that no plan generates, int64 [G]."""
        given = np.ones(self.plans[-1].positions, dtype=np.bool_)
        for plan in self.plans:
            given[plan.layout.cell_slots().ravel()] = False
        return np.flatnonzero(given)

    def continued(self, number: int) -> Continued:
        """A plan as it is run: what step 0 feeds of it, and what the cache holds.

        A step 0 that has nothing left to feed is left out.
        """
        plan = self.plans[number]
        before = tuple(earlier.layout for earlier in self.plans[:number])
        kept = members(self.kept[number], plan.positions)
        dropped = prompt_feeds(plan)
        dropped = dropped[kept[plan.position[dropped]]]
        held = Held(position=plan.position[dropped], slot=plan.slot[dropped])
        return Continued(plan=_without(plan, dropped), held=held, before=before)

    def cost(self) -> ChainCost:
        """Plans, passes, prefill, what is kept and tokens, counted in the plans.

        >>> from diagplan.planner.chain_compiler import compile_chain
        >>> from diagplan.planner.schedule import Diagonal
        >>> preview = Layout(frames=1, rows=16, cols=16, lead=64)
        >>> picture = Layout(frames=1, rows=32, cols=32, lead=64 + 256)
        >>> compile_chain([preview, picture], Diagonal(k=2)).cost()
        ChainCost(plans=2, passes=140, prefill_tokens=63, kept_tokens=319, tokens=1280)
        """
        run = [self.continued(number) for number in range(len(self.plans))]
        return ChainCost(
            plans=len(run),
            passes=sum(part.plan.steps for part in run),
            prefill_tokens=sum(prefill_feeds(part.plan) for part in run),
            kept_tokens=sum(len(part.held.position) for part in run),
            tokens=sum(plan.layout.tokens for plan in self.plans),
        )


def prompt_feeds(plan: Plan) -> NDArray[np.int64]:
    """The feeds of step 0 that write a token of the lead and choose none."""
    first = slice(0, int(plan.step_offsets[1]))
    prompt = (plan.source[first] >= 0) & (plan.target[first] < 0) & (plan.position[first] < plan.layout.lead)
    return np.flatnonzero(prompt)


def _without(plan: Plan, dropped: NDArray[np.int64]) -> Plan:
    """The plan without some feeds of step 0, and without step 0 where it has no others."""
    stays = np.ones(plan.feeds, dtype=np.bool_)
    stays[dropped] = False
    offsets = np.maximum(plan.step_offsets - len(dropped), 0)
    columns = {name: getattr(plan, name)[stays] for name in ("source", "position", "slot", "target")}
    rows = [(int(feed), plan.listed.row(j)) for j, feed in enumerate(plan.listed.feed.tolist()) if stays[feed]]
    place = np.cumsum(stays) - 1
    listed = MaskRows(
        feed=place[np.array([feed for feed, _ in rows], dtype=np.int64)],
        offsets=np.cumsum([0, *(len(runs) for _, runs in rows)]),
        runs=np.concatenate([np.zeros((0, 2), dtype=np.int32), *(runs for _, runs in rows)]),
    )
    return replace(plan, step_offsets=offsets[1 if offsets[1] == 0 else 0 :], listed=listed, **columns)


def members(runs: Runs, size: int) -> NDArray[np.bool_]:
    """Which numbers below ``size`` lie in some runs."""
    inside = np.zeros(size, dtype=np.bool_)
    for start, end in runs:
        inside[start:end] = True
    return inside
