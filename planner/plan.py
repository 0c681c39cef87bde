"""The plan: a static decode DAG as read-only integer columns. It does nothing; functions take it.

Feed i is one query row of one forward pass: the token at ``source[i]`` goes in with the position embedding of
``position[i]``, its keys and values are written to the cache slot ``slot[i]``, and its logits choose the token of
``target[i]`` (-1: none, the feed only writes the cache). The feeds of step s are
``step_offsets[s] : step_offsets[s + 1]``. A feed whose source is not its position is a *proxy*. A feed with
``source == -1`` is padding: it writes to the trash slot, which only padding sees.

Mask rows are a rule plus exceptions: the policies ``visibility`` and ``proxy_kv`` say which slots a feed sees
(planner/masks.py expands them), and ``listed`` holds the rows that differ from the rule.
"""

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.layout import Layout
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import ScheduleRecord

if TYPE_CHECKING:
    import networkx as nx

    from diagplan.planner.stats import PlanStats

__all__ = ["CacheInitial", "MaskRows", "Plan", "same_plan", "well_formed"]

CacheInitial = Literal["undefined", "zeros"]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


def _frozen(array: NDArray[Any], dtype: type[np.integer[Any]]) -> NDArray[Any]:
    column = np.ascontiguousarray(array, dtype=dtype)
    if column.flags.writeable:
        column = column.copy() if column is array else column
        column.flags.writeable = False
    return column


def _no_rows() -> "MaskRows":
    return MaskRows(feed=np.zeros(0, np.int64), offsets=np.zeros(1, np.int64), runs=np.zeros((0, 2), np.int32))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MaskRows:
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
        object.__setattr__(self, "feed", _frozen(self.feed, np.int64))
        object.__setattr__(self, "offsets", _frozen(self.offsets, np.int64))
        object.__setattr__(self, "runs", _frozen(self.runs.reshape(-1, 2), np.int32))

    def __len__(self) -> int:
        return len(self.feed)

    def row(self, j: int) -> Int32:
        """The runs of the j-th listed row, int32 [runs, 2]."""
        return self.runs[self.offsets[j] : self.offsets[j + 1]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Plan:
    """A decoding plan: which tokens each step emits, from which proxy token and position, under which mask rows.

    Args:
        layout: the geometry; slots are numbered as there.
        schedule: name, delays and uncapped steps of the schedule, for people and for the checker.
        policies: how proxies and their cache slots are treated; ``visibility`` and ``proxy_kv`` are the mask rule.
        positions: slots of the sequence, given and generated.
        given: the given slots as sorted half-open runs, int32 [G, 2].
        step_offsets: int64 [S + 1].
        source, position, slot, target: the feeds' columns, int32 [N] each (the module's text defines them).
        cache_slots: cache slots the plan uses, numbered from 0, the trash slot included.
        cache_initial: what the cache holds before step 0: ``"undefined"`` or ``"zeros"``.
        trash_slot: the cache slot padding writes to, or ``None``.
        max_width: the declared largest width of a step (feeds less the prompt's), or ``None``.
        listed: the mask rows that differ from the rule.
    """

    layout: Layout
    schedule: ScheduleRecord
    policies: Policies
    positions: int
    given: Int32
    step_offsets: Int64
    source: Int32
    position: Int32
    slot: Int32
    target: Int32
    cache_slots: int
    cache_initial: CacheInitial
    trash_slot: int | None = None
    max_width: int | None = None
    listed: MaskRows = field(default_factory=_no_rows)

    def __post_init__(self) -> None:
        object.__setattr__(self, "given", _frozen(self.given, np.int32))
        object.__setattr__(self, "step_offsets", _frozen(self.step_offsets, np.int64))
        for name in ("source", "position", "slot", "target"):
            object.__setattr__(self, name, _frozen(getattr(self, name), np.int32))
            assert getattr(self, name).shape == self.source.shape
        assert self.step_offsets[0] == 0
        assert self.step_offsets[-1] == len(self.source)

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

    def stats(self) -> "PlanStats":
        """Counts, widths, cache use and speed-up in passes; see ``PlanStats``.

        >>> from diagplan.planner.compiler import compile_plan
        >>> from diagplan.planner.schedule import Diagonal
        >>> compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1)).stats().steps
        4
        """
        from diagplan.planner.stats import plan_stats

        return plan_stats(self)

    def to_networkx(
        self, nodes: Literal["feeds", "tokens"] = "feeds", *, cache_edges: bool = True
    ) -> "nx.DiGraph[int]":
        """The plan as a graph of typed dependencies; see ``diagplan.planner.graph.plan_graph``.

        >>> from diagplan.planner.compiler import compile_plan
        >>> from diagplan.planner.schedule import Diagonal
        >>> plan = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1))
        >>> plan.to_networkx("tokens").number_of_nodes()
        7
        """
        from diagplan.planner.graph import plan_graph

        return plan_graph(self, nodes, cache_edges=cache_edges)

    def __repr__(self) -> str:
        layout, schedule = self.layout, self.schedule
        delays = ", ".join(f"{key}={value}" for key in ("k", "d") if (value := getattr(schedule, key)) is not None)
        return (
            f"<Plan {schedule.label or schedule.name}({delays}) on {layout.frames} x {layout.rows} x {layout.cols}: "
            f"{self.steps} steps, {layout.tokens} tokens, {np.count_nonzero(self.source >= 0)} feeds>"
        )


def same_plan(a: Plan, b: Plan) -> bool:
    """Whether two plans agree in every field, column and listed row."""
    for entry in fields(Plan):
        left, right = getattr(a, entry.name), getattr(b, entry.name)
        if isinstance(left, MaskRows):
            if not all(np.array_equal(getattr(left, f.name), getattr(right, f.name)) for f in fields(MaskRows)):
                return False
        elif isinstance(left, np.ndarray):
            if not np.array_equal(left, right):
                return False
        elif left != right:
            return False
    return True


def well_formed(plan: Plan) -> bool:
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
