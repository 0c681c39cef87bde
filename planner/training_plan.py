"""The training plan: all feeds of a decoding plan, in step order, as one teacher-forced sequence.

Entry i is a feed: the token of slot ``source[i]`` goes in at position ``position[i]`` and, if it has a target, its
logits choose the token of ``target[i]``. Every entry keeps keys and values of its own, so a slot that is refreshed has
two entries. Entry i sees the newest write, not later than its step, of every slot in its mask row: then one pass gives
the logits of step-by-step replay, and training on it shows each query what it will see in decoding.

That mask is four columns. Entry i sees entry j if ``step[j] <= step[i] < until[j]``, ``position[j] <= position[i]``
and j is not hidden; and itself always. Under ``visibility="causal"`` the cache slots that nobody has written yet follow
the entries as columns of zeros, with the same rule.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Int32
from diagplan.planner.plan import Plan

__all__ = ["TrainingPlan", "iter_visible", "training_plan", "visible"]

_CHUNK = 1 << 24  # mask bits held at a time


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingPlan:
    """A decoding plan as one teacher-forced sequence of N entries, padding left out; read-only columns.

    Args:
        positions: slots of the sequence that tokens are looked up in.
        steps: forward passes of the decoding plan.
        step: the pass each entry belongs to, never falling, int32 [N].
        source: the slot whose true token goes in, a given one, the position's own or a proxy, int32 [N].
        position: the slot whose position embedding it has, int32 [N].
        slot: the cache slot it writes in decoding, int32 [N].
        target: the slot its logits choose, -1 for none, int32 [N].
        until: the step from which a newer write stands in its place, ``steps`` for never, int32 [N].
        hidden: whether other entries never see it (a hidden proxy), bool [N].
        unwritten: positions whose empty cache slot takes part in the softmax as zeros (``causal`` only), int32 [U].
        unwritten_until: the step in which each is written first, ``steps`` for never, int32 [U].
    """

    positions: int
    steps: int
    step: Int32
    source: Int32
    position: Int32
    slot: Int32
    target: Int32
    until: Int32
    hidden: NDArray[np.bool_]
    unwritten: Int32
    unwritten_until: Int32

    def __post_init__(self) -> None:
        for name in ("step", "source", "position", "slot", "target", "until", "hidden"):
            getattr(self, name).flags.writeable = False
            assert getattr(self, name).shape == self.step.shape
        for name in ("unwritten", "unwritten_until"):
            getattr(self, name).flags.writeable = False

    @property
    def entries(self) -> int:
        """N, the length of the sequence."""
        return len(self.step)

    @property
    def columns(self) -> int:
        """N + U, what an entry may see: the entries, then the unwritten slots."""
        return len(self.step) + len(self.unwritten)


def training_plan(plan: Plan) -> TrainingPlan:
    """The training plan of a valid decoding plan.

    Raises:
        SpecError: the plan lists mask rows that its policies do not give; the compiler never makes such plans.

    >>> from diagplan.planner.compiler import compile_plan
    >>> from diagplan.planner.layout import Layout
    >>> from diagplan.planner.schedule import Diagonal
    >>> sequence = training_plan(compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1)))
    >>> sequence.source.tolist(), sequence.position.tolist()  # the proxy 1 of position 3, which step 3 writes again
    ([0, 1, 1, 2, 4, 3, 5], [0, 1, 3, 2, 4, 3, 5])
    >>> sequence.until.tolist(), visible(sequence)[4].astype(int).tolist()  # 4 sees no proxy, nothing to come
    ([4, 4, 3, 4, 4, 4, 4], [1, 1, 0, 1, 1, 0, 0])
    """
    if len(plan.listed):
        raise SpecError(
            f"expected a plan whose mask rows follow from its policies, got {len(plan.listed)} listed row(s). "
            "Compile the plan anew: diagplan compile."
        )
    real = np.flatnonzero(plan.source >= 0)
    step, position, slot = plan.feed_steps()[real], plan.position[real], plan.slot[real]
    proxy = plan.source[real] != position
    unwritten = np.zeros(0, dtype=np.int32)
    if plan.policies.visibility == "causal":
        unwritten = np.arange(min(plan.positions, plan.cache_slots), dtype=np.int32)
    first = np.minimum(
        _first(position, step, plan.positions, plan.steps)[unwritten],
        _first(slot, step, plan.cache_slots, plan.steps)[unwritten],
    )
    seen = first > 0  # what step 0 writes nobody sees empty
    return TrainingPlan(
        positions=plan.positions,
        steps=plan.steps,
        step=step,
        source=plan.source[real],
        position=position,
        slot=slot,
        target=plan.target[real],
        until=np.minimum(_next(position, step, plan.steps), _next(slot, step, plan.steps)),
        hidden=proxy & (plan.policies.proxy_kv == "hidden"),
        unwritten=unwritten[seen],
        unwritten_until=first[seen],
    )


def _next(place: Int32, step: Int32, never: int) -> Int32:
    """For each write the step of the next write of the same place; writes are in step order."""
    order = np.argsort(place, kind="stable")
    following = np.full(len(place), never, dtype=np.int32)
    again = np.flatnonzero(place[order[1:]] == place[order[:-1]])
    following[order[again]] = step[order[again + 1]]
    return following


def _first(place: Int32, step: Int32, places: int, never: int) -> Int32:
    """The step of the first write of every place, int32 [places]."""
    first = np.full(places, never, dtype=np.int32)
    np.minimum.at(first, place, step)
    return first


def visible(plan: TrainingPlan, first: int = 0, last: int | None = None) -> NDArray[np.bool_]:
    """What entries ``first : last`` (all by default) see, bool [n, N + U]."""
    last = plan.entries if last is None else last
    step, position = plan.step[first:last, None], plan.position[first:last, None]
    seen = np.zeros((len(step), plan.columns), dtype=np.bool_)
    entries, empty = seen[:, : plan.entries], seen[:, plan.entries :]
    np.less_equal(plan.step, step, out=entries)
    entries &= (step < plan.until) & (plan.position <= position) & ~plan.hidden
    entries[np.arange(len(step)), np.arange(first, last)] = True
    np.less(step, plan.unwritten_until, out=empty)
    empty &= plan.unwritten <= position
    return seen


def iter_visible(plan: TrainingPlan, rows: int | None = None) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    """All rows in parts of ``rows`` entries, as (number of the first entry, bool [n, N + U]); by default few bits."""
    rows = max(1, _CHUNK // max(1, plan.columns)) if rows is None else rows
    for first in range(0, plan.entries, rows):
        yield first, visible(plan, first, min(first + rows, plan.entries))
