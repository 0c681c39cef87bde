"""The columns of a plan: what every function that takes one is written against.

Feed i is one query row of one forward pass: the token at ``source[i]`` goes in with the position embedding of
``position[i]``, its keys and values are written to the cache slot ``slot[i]``, and its logits choose the token of
``target[i]`` (-1: none, the feed only writes the cache). The feeds of step s are
``step_offsets[s] : step_offsets[s + 1]``. A feed whose source is not its position is a *proxy*. A feed with
``source == -1`` is padding: it writes to the trash slot, which only padding sees.

Mask rows are a rule plus exceptions: the policies ``visibility`` and ``proxy_kv`` say which slots a feed sees
(planner/masks.py expands them), and ``listed`` holds the rows that differ from the rule.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.layout import Layout
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import ScheduleRecord
from diagplan.planner.values import ByValue, as_column

__all__ = ["CacheInitial", "MaskRows", "PlanColumns", "prefill_feeds", "well_formed"]

CacheInitial = Literal["undefined", "zeros"]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


def _no_rows() -> "MaskRows":
    return MaskRows(feed=np.zeros(0, np.int64), offsets=np.zeros(1, np.int64), runs=np.zeros((0, 2), np.int32))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskRows(ByValue):
    """Explicit mask rows: feed ``feed[j]`` sees the cache slots of ``runs[offsets[j] : offsets[j + 1]]``.

    Args:
        feed: feed numbers in rising order, int64 [M].
        offsets: int64 [M + 1].
        runs: half-open runs of cache slots, int32 [R, 2].
    """

    feed: Int64
    offsets: Int64
    runs: Int32

    def __post_init__(self) -> None:
        object.__setattr__(self, "feed", as_column(self.feed, np.int64))
        object.__setattr__(self, "offsets", as_column(self.offsets, np.int64))
        runs = as_column(self.runs, np.int32)
        if isinstance(runs, np.ndarray) and runs.ndim == 1 and len(runs) % 2 == 0:
            runs = runs.reshape(-1, 2)
        object.__setattr__(self, "runs", runs)

    def __len__(self) -> int:
        return len(self.feed)

    def row(self, j: int) -> Int32:
        """The runs of the j-th listed row, int32 [runs, 2]."""
        return self.runs[self.offsets[j] : self.offsets[j + 1]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class PlanColumns(ByValue):
    """The fields of a plan, frozen; ``diagplan.Plan``, the class to use, says what each of them holds.

    Making one checks nothing and raises nothing, so that the checker can judge whatever somebody put together; its
    first rule, DP100, says whether every field is what this class states.
    """

    layout: Layout
    schedule: ScheduleRecord
    policies: Policies
    positions: int
    given: Int32  # [G, 2]
    step_offsets: Int64  # [S + 1]
    source: Int32  # [N], as the next three
    position: Int32
    slot: Int32
    target: Int32
    cache_slots: int
    cache_initial: CacheInitial
    trash_slot: int | None = None
    max_width: int | None = None
    listed: MaskRows = field(default_factory=_no_rows)

    def __post_init__(self) -> None:
        object.__setattr__(self, "step_offsets", as_column(self.step_offsets, np.int64))
        for name in ("given", "source", "position", "slot", "target"):
            object.__setattr__(self, name, as_column(getattr(self, name), np.int32))
        for name in ("positions", "cache_slots", "trash_slot", "max_width"):
            if isinstance(value := getattr(self, name), np.integer):
                object.__setattr__(self, name, int(value))

    @property
    def steps(self) -> int:
        """Forward passes; the pass over the prompt is one of them."""
        return len(self.step_offsets) - 1

    @property
    def feeds(self) -> int:
        """Query rows of all passes, the prompt's and padding included."""
        return len(self.source)

    def feed_steps(self) -> Int32:
        """The step of every feed, int32 [N]."""
        return np.repeat(np.arange(self.steps, dtype=np.int32), np.diff(self.step_offsets))


def well_formed(plan: PlanColumns) -> bool:
    """Whether every number is in range, so that functions of a plan can index with it. Says nothing about sense."""

    def within(column: NDArray[np.integer[Any]], low: int, high: int) -> bool:
        return not len(column) or (low <= int(column.min()) and int(column.max()) < high)

    return (
        within(plan.source, -1, plan.positions)
        and within(plan.position, 0, plan.positions)
        and within(plan.slot, 0, plan.cache_slots)
        and within(plan.target, -1, plan.positions)
        and within(plan.given.ravel(), 0, plan.positions + 1)
        and within(plan.listed.feed, 0, plan.feeds)
        and (plan.trash_slot is None or 0 <= plan.trash_slot < plan.cache_slots)
    )


def prefill_feeds(plan: PlanColumns) -> int:
    """Feeds of step 0 that only write the prompt to the cache; they do not count towards a step's width."""
    end = int(plan.step_offsets[1])
    prompt = int(plan.given[0, 1]) if len(plan.given) and plan.given[0, 0] == 0 else 0
    return int(np.count_nonzero((plan.source[:end] >= 0) & (plan.position[:end] < prompt) & (plan.target[:end] < 0)))
