"""What a plan costs: passes, widths, cache, and how often it works on a guess."""

from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.columns import PlanColumns, prefill_feeds
from diagplan.planner.layout import require_int
from diagplan.planner.masks import iter_masks
from diagplan.planner.values import ByValue, read_only

__all__ = ["PlanStats", "plan_stats"]

_BLOCK = 1024  # slots counted together


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanStats(ByValue):
    """The figures of one plan.

    Args:
        steps: forward passes.
        tokens: tokens generated; next-token prediction needs as many passes.
        feeds: query rows of all passes, prefill included, padding not.
        prefill_feeds: feeds of step 0 that only write the prompt to the cache.
        padding_feeds: feeds that fill steps up to fixed widths.
        width: feeds of every step, prefill and padding not counted, int64 [S].
        speedup: tokens / steps, the speed-up over next-token prediction in passes.
        extra_steps: passes that a width cap costs.
        positions: slots of the sequence.
        cache_slots: cache slots the plan uses, the trash slot included.
        proxies: feeds of a token that is not their position's.
        refreshes: feeds that write a position again, with its own token.
        unwritten_reads: pairs of a feed and a never-written cache slot that it sees.
    """

    steps: int
    tokens: int
    feeds: int
    prefill_feeds: int
    padding_feeds: int
    width: NDArray[np.int64] = field(repr=False)
    speedup: float
    extra_steps: int
    positions: int
    cache_slots: int
    proxies: int
    refreshes: int
    unwritten_reads: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "width", read_only(self.width, np.int64))

    @property
    def max_width(self) -> int:
        """Feeds of the widest step, the prompt's prefill not counted."""
        return int(self.width.max())

    @property
    def mean_width(self) -> float:
        """Mean feeds of a step, the prompt's prefill not counted."""
        return float(self.width.mean())

    def cache_bytes(
        self, *, layers: int, kv_heads: int, head_dim: int, bytes_per_value: int = 2, batch: int = 1
    ) -> int:
        """Bytes of the key-value cache: 2 x batch x layers x kv_heads x cache_slots x head_dim x bytes_per_value.

        >>> from diagplan.planner.compiler import compile_plan
        >>> from diagplan.planner.layout import Layout
        >>> from diagplan.planner.schedule import NextToken
        >>> stats = compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), NextToken()).stats()
        >>> stats.cache_bytes(layers=16, kv_heads=8, head_dim=128)
        327680
        """
        sizes = {"layers": layers, "kv_heads": kv_heads, "head_dim": head_dim}
        sizes |= {"bytes_per_value": bytes_per_value, "batch": batch}
        return 2 * self.cache_slots * prod(require_int(name, value, 1) for name, value in sizes.items())

    def as_dict(self) -> dict[str, int | float]:
        """The figures by name, without the width of each step."""
        return {
            "steps": self.steps,
            "tokens": self.tokens,
            "speedup": round(self.speedup, 4),
            "feeds": self.feeds,
            "prefill_feeds": self.prefill_feeds,
            "padding_feeds": self.padding_feeds,
            "max_width": self.max_width,
            "mean_width": round(self.mean_width, 4),
            "extra_steps": self.extra_steps,
            "positions": self.positions,
            "cache_slots": self.cache_slots,
            "proxies": self.proxies,
            "refreshes": self.refreshes,
            "unwritten_reads": self.unwritten_reads,
        }


def plan_stats(plan: PlanColumns) -> PlanStats:
    """Count what a plan does. The plan's numbers must be in range (``verify`` says so); it need not be valid."""
    real = plan.source >= 0
    prefill = prefill_feeds(plan)
    width = np.diff(np.concatenate([[0], np.cumsum(real)])[plan.step_offsets])
    width[0] -= prefill
    proxy = real & (plan.source != plan.position)
    first = np.full(plan.positions, plan.feeds)
    np.minimum.at(first, plan.position[real], np.flatnonzero(real))
    again = real & ~proxy & (first[plan.position] < np.arange(plan.feeds))
    tokens = int(np.count_nonzero(plan.target >= 0))
    return PlanStats(
        steps=plan.steps,
        tokens=tokens,
        feeds=int(np.count_nonzero(real)),
        prefill_feeds=prefill,
        padding_feeds=int(np.count_nonzero(~real)),
        width=width,
        speedup=tokens / plan.steps,
        extra_steps=plan.steps - plan.schedule.steps,
        positions=plan.positions,
        cache_slots=plan.cache_slots,
        proxies=int(np.count_nonzero(proxy)),
        refreshes=int(np.count_nonzero(again)),
        unwritten_reads=_unwritten_reads(plan),
    )


def _unwritten_reads(plan: PlanColumns) -> int:
    """Rows that follow the rule see unwritten slots under ``causal`` only, as runs where cache slots are positions."""
    listed = np.zeros(plan.feeds, dtype=np.bool_)
    listed[plan.listed.feed] = True
    causal = plan.policies.visibility == "causal"
    if not causal and not listed.any():
        return 0
    real = plan.source >= 0
    if causal and np.any(plan.slot[real] != plan.position[real]):
        return _unwritten_reads_of_rows(plan)
    blocks = -(-plan.cache_slots // _BLOCK)
    unwritten = np.zeros((blocks, _BLOCK), dtype=np.bool_)
    unwritten.ravel()[: plan.cache_slots] = True
    left = unwritten.sum(axis=1)

    def before(ends: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        """Unwritten slots below each end: whole blocks, and the part of a block."""
        whole = np.concatenate([[0], np.cumsum(left)])
        block, rest = np.divmod(ends.astype(np.int64), _BLOCK)
        part = unwritten[np.minimum(block, blocks - 1)] & (np.arange(_BLOCK) < rest[:, None])
        return np.asarray(whole[block] + part.sum(axis=1))

    count = 0
    for first, last in zip(plan.step_offsets[:-1].tolist(), plan.step_offsets[1:].tolist(), strict=True):
        slots = np.unique(plan.slot[first:last])
        slots = slots[unwritten.ravel()[slots]]
        unwritten.ravel()[slots] = False
        left -= np.bincount(slots // _BLOCK, minlength=blocks)
        if causal:
            by_rule = (plan.source[first:last] >= 0) & ~listed[first:last]
            count += int(before(plan.position[first:last][by_rule] + 1).sum())
        for row in range(*np.searchsorted(plan.listed.feed, (first, last))):
            ends = np.minimum(plan.listed.row(row), plan.cache_slots)
            count += int((before(ends[:, 1]) - before(ends[:, 0])).sum())
    return count


def _unwritten_reads_of_rows(plan: PlanColumns) -> int:
    """The same from the expanded rows, in time proportional to feeds times cache slots."""
    unwritten = np.ones(plan.cache_slots, dtype=np.bool_)
    count = 0
    for first, mask in iter_masks(plan):
        end = int(plan.step_offsets[np.searchsorted(plan.step_offsets, first, side="right")])
        unwritten[plan.slot[first:end]] = False
        count += int(np.count_nonzero(mask & unwritten))
    return count
