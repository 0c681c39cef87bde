"""What the checker derives from a plan alone. Shares no code with the compiler or the mask expansion, on purpose."""

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.checker.expected import ExpectedFeeds, expected_feeds
from diagplan.planner.checker.schedules import named_steps
from diagplan.planner.checker.slots import NEVER
from diagplan.planner.plan import Plan

__all__ = ["NEVER", "Facts"]

Int32 = NDArray[np.int32]
Bool = NDArray[np.bool_]

_BITS = 1 << 24  # mask bits held at a time


class Facts:
    """Derived columns of one plan, each computed once when first asked for. Ranges must be right before most are."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @cached_property
    def step(self) -> Int32:
        """The step of every feed, [N]."""
        bounds = np.zeros(self.plan.feeds + 1, dtype=np.int32)
        np.add.at(bounds, self.plan.step_offsets[1:-1], 1)
        return np.cumsum(bounds[:-1], dtype=np.int32)

    @cached_property
    def real(self) -> Bool:
        """The feeds that are not padding, [N]."""
        return np.asarray(self.plan.source != -1)

    @cached_property
    def given(self) -> Bool:
        """The given positions, [positions]."""
        edges = np.zeros(self.plan.positions + 1, dtype=np.int32)
        np.add.at(edges, self.plan.given[:, 0], 1)
        np.add.at(edges, self.plan.given[:, 1], -1)
        return np.asarray(np.cumsum(edges[:-1]) > 0)

    @cached_property
    def emissions(self) -> Int32:
        """How many feeds choose each position's token, [positions]."""
        return np.bincount(self.plan.target[self.plan.target >= 0], minlength=self.plan.positions).astype(np.int32)

    @cached_property
    def known(self) -> Int32:
        """The step whose logits choose each position's token, -1 for given ones, NEVER for none, [positions]."""
        known = np.full(self.plan.positions, NEVER, dtype=np.int32)
        chooses = self.plan.target >= 0
        np.minimum.at(known, self.plan.target[chooses], self.step[chooses])
        known[self.given] = -1
        return known

    @cached_property
    def first_write(self) -> Int32:
        """The first step that writes each position's keys and values, NEVER for none, [positions]."""
        first = np.full(self.plan.positions, NEVER, dtype=np.int32)
        np.minimum.at(first, self.plan.position[self.real], self.step[self.real])
        return first

    @cached_property
    def proxy(self) -> Bool:
        """The feeds whose source is not their position, [N]."""
        return np.asarray(self.real & (self.plan.source != self.plan.position))

    @cached_property
    def prefill(self) -> Bool:
        """The feeds of step 0 that only write the prompt to the cache, [N]."""
        plan = self.plan
        prompt = self.given.argmin() if not self.given.all() else plan.positions
        return np.asarray(self.real & (self.step == 0) & (plan.target < 0) & (plan.position < prompt))

    @cached_property
    def width(self) -> NDArray[np.int64]:
        """Feeds of each step, the prefill and padding not counted, [S]."""
        return np.bincount(self.step[self.real & ~self.prefill], minlength=self.plan.steps)

    @cached_property
    def by_position(self) -> NDArray[np.int64]:
        """Real feeds in the order of (position, step), [n]."""
        order = np.lexsort((self.step, self.plan.position))
        return np.asarray(order[self.real[order]])

    @cached_property
    def last_of_position(self) -> NDArray[np.int64]:
        """The feed that writes each written position last, in the order of positions."""
        feeds = self.by_position
        position = self.plan.position[feeds]
        return np.asarray(feeds[np.append(position[1:] != position[:-1], True)[: len(feeds)]])

    @cached_property
    def expected(self) -> ExpectedFeeds | None:
        """The feeds that the plan's names call for (see expected.py); ``None`` if the schedule's fields are wrong."""
        known = named_steps(self.plan, self.given, self.known)
        return None if known is None else expected_feeds(self.plan, self.given, known, capped=self.capped)

    @cached_property
    def capped(self) -> bool:
        """Whether the names say how a width cap delays the feeds."""
        plan = self.plan
        named = plan.schedule.name != "custom" and plan.policies.row_end != "custom"
        return named and plan.max_width is not None and plan.max_width >= 1

    @cached_property
    def steps_named(self) -> bool:
        """Whether the names say in which step each token comes."""
        return self.expected is not None and (self.plan.max_width is None or self.capped)

    @cached_property
    def listed(self) -> dict[str, tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """What is wrong with the listed mask rows: per kind of breach the feeds and, for each, its first cache slot."""
        plan = self.plan
        breaches: dict[str, list[tuple[NDArray[np.int64], NDArray[np.int64]]]] = {}
        writer = np.full(plan.cache_slots, -1, dtype=np.int64)  # the feed whose keys and values each slot holds
        newest = np.full(plan.positions, -1, dtype=np.int64)  # the feed that wrote each position last
        rows_of_step = np.searchsorted(plan.listed.feed, plan.step_offsets)
        at_once = max(1, _BITS // plan.cache_slots)
        for step in range(plan.steps if len(plan.listed) else 0):
            feeds = np.arange(plan.step_offsets[step], plan.step_offsets[step + 1])
            writer[plan.slot[feeds]] = feeds
            newest[plan.position[feeds[self.real[feeds]]]] = feeds[self.real[feeds]]
            for lo in range(rows_of_step[step], rows_of_step[step + 1], at_once):
                rows = np.arange(lo, min(lo + at_once, rows_of_step[step + 1]))
                for kind, breach in self._breaches(rows, writer, newest):
                    row = np.flatnonzero(breach.any(axis=1))
                    breaches.setdefault(kind, []).append((plan.listed.feed[rows[row]], breach[row].argmax(axis=1)))
        return {
            kind: (np.concatenate([feed for feed, _ in parts]), np.concatenate([slot for _, slot in parts]))
            for kind, parts in breaches.items()
        }

    def _breaches(
        self, rows: NDArray[np.intp], writer: NDArray[np.int64], newest: NDArray[np.int64]
    ) -> Iterator[tuple[str, Bool]]:
        """For listed rows of one step, by kind of breach the offending bits, bool [n, cache_slots]."""
        plan = self.plan
        feed = plan.listed.feed[rows]
        seen = np.zeros((len(rows), plan.cache_slots), dtype=np.bool_)
        for i, row in enumerate(rows.tolist()):
            for start, end in plan.listed.row(row).tolist():
                seen[i, start:end] = True
        slot = np.arange(plan.cache_slots)
        written = writer >= 0
        content = np.where(written, plan.position[writer], slot)  # [cache_slots]
        trash = slot == plan.trash_slot
        own = slot == plan.slot[feed, None]
        ahead = content > plan.position[feed, None]
        guess = written & self.proxy[writer]
        stale = written & ~trash & (newest[content % plan.positions] != writer)
        real = self.real[feed, None]
        yield "self", own & ~seen
        yield "future", seen & ahead & real & ~trash
        yield "unwritten", seen & ~written
        yield "stale", seen & stale
        yield "trash", seen & (trash == real)
        if plan.policies.proxy_kv == "hidden":
            yield "hidden", seen & guess & ~own & real
        if plan.policies.visibility != "listed":
            rule = ~ahead & ~stale & ~trash & (written | (plan.policies.visibility == "causal"))
            if plan.policies.proxy_kv == "hidden":
                rule &= ~guess
            yield "rule", seen != np.where(real, rule | own, trash)
