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
        cache = _Cache(self)
        rows_of_step = np.searchsorted(plan.listed.feed, plan.step_offsets).tolist()
        at_once = max(1, _BITS // plan.cache_slots)
        offsets = plan.step_offsets.tolist()
        for step in range(plan.steps if len(plan.listed) else 0):
            cache.write(offsets[step], offsets[step + 1])
            for first in range(rows_of_step[step], rows_of_step[step + 1], at_once):
                last = min(first + at_once, rows_of_step[step + 1])
                for kind, breach in self._breaches(first, last, cache):
                    row = np.flatnonzero(breach.any(axis=1))
                    if len(row):
                        breaches.setdefault(kind, []).append(
                            (plan.listed.feed[first + row], breach[row].argmax(axis=1))
                        )
        return {
            kind: (np.concatenate([feed for feed, _ in parts]), np.concatenate([slot for _, slot in parts]))
            for kind, parts in breaches.items()
        }

    def _breaches(self, first: int, last: int, cache: "_Cache") -> Iterator[tuple[str, Bool]]:
        """For listed rows of one step, by kind of breach the offending bits, bool [n, cache_slots]."""
        plan = self.plan
        feed = plan.listed.feed[first:last]
        runs = plan.listed.offsets[first : last + 1]
        edges = np.zeros((len(feed), plan.cache_slots + 1), dtype=np.int8)
        row = np.repeat(np.arange(len(feed)), np.diff(runs))
        start, end = plan.listed.runs[runs[0] : runs[-1]].T
        edges[row, start], edges[row, end] = 1, -1  # runs are apart
        seen = np.cumsum(edges, axis=1, dtype=np.int8)[:, :-1].view(np.bool_)
        ahead = cache.content > plan.position[feed, None]
        own = np.zeros_like(seen)
        own[np.arange(len(feed)), plan.slot[feed]] = True
        real = self.real[feed, None]
        yield "self", own & ~seen
        yield "future", seen & ahead & real & ~cache.trash
        yield "unwritten", seen & ~cache.written
        yield "stale", seen & cache.stale
        yield "trash", seen & (cache.trash == real)
        if plan.policies.proxy_kv == "hidden":
            yield "hidden", seen & cache.guess & ~own & real
        if plan.policies.visibility != "listed":
            shown = ~cache.stale & ~cache.trash
            if plan.policies.visibility != "causal":
                shown &= cache.written
            if plan.policies.proxy_kv == "hidden":
                shown &= ~cache.guess
            yield "rule", seen != np.where(real, shown & ~ahead | own, cache.trash)


class _Cache:
    """What the cache slots hold, step by step; each step takes time in proportion to its feeds.

    Attributes:
        content: the position whose keys and values a slot holds, its own number before any write, int32 [cache_slots].
        written, guess, stale, trash: slots that have been written, by a proxy, before the newest write of their
            position, and the one of padding, bool [cache_slots].
    """

    def __init__(self, facts: Facts) -> None:
        plan = facts.plan
        self.facts = facts
        self.content = np.arange(plan.cache_slots, dtype=np.int32)
        self.written, self.guess, self.stale, self.trash = np.zeros((4, plan.cache_slots), dtype=np.bool_)
        if plan.trash_slot is not None:
            self.trash[plan.trash_slot] = True
        self._writer = np.full(plan.cache_slots, -1, dtype=np.int64)  # the feed that wrote each slot last
        self._newest = np.full(plan.positions, -1, dtype=np.int64)  # the feed that wrote each position last

    def write(self, first: int, last: int) -> None:
        """Apply the writes of one step's feeds ``first : last``."""
        plan, facts = self.facts.plan, self.facts
        feeds, slot = np.arange(first, last), plan.slot[first:last]
        real = feeds[facts.real[first:last]]
        before = self._newest[plan.position[real]]
        self._writer[slot] = feeds
        self._newest[plan.position[real]] = real
        self.content[slot] = plan.position[first:last]
        self.written[slot] = True
        self.guess[slot] = facts.proxy[first:last]
        touched = np.concatenate([slot, plan.slot[before[before >= 0]]])
        self.stale[touched] = (self._newest[self.content[touched]] != self._writer[touched]) & ~self.trash[touched]
