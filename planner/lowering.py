"""Passes that fit a plan to a runtime: a width cap, cache slots in step order, padding to fixed widths.

Each is ``Plan -> Plan``, requires a valid plan and gives a valid one.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.columns import prefill_feeds
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import require_int
from diagplan.planner.plan import Plan
from diagplan.planner.shown import shown

__all__ = ["cap_width", "pad_steps", "prefill_feeds", "step_order_slots"]


_MOST_FEEDS = 1 << 26


def cap_width(plan: Plan, max_width: int) -> Plan:
    """Delay feeds so that no step is wider than ``max_width``, the prompt's prefill not counted.

    A step that is too wide is cut in the order of positions; the free places of its last part go to the first
    feeds of the next step, as far as they lie before that part: those depend on nothing in it, for a source and
    whatever a query sees lie at or before its position. So every query sees at least what it saw.

    Raises:
        SpecError: ``max_width`` is not an integer of at least 1.
    """
    max_width = require_int("max_width", max_width, 1)
    assert plan.trash_slot is None
    offsets = plan.step_offsets.tolist()
    prefill = prefill_feeds(plan)
    cuts = [0]
    done, step = prefill, 0
    while done < plan.feeds:
        while offsets[step + 1] <= done:
            step += 1
        last = min(done + max_width, offsets[step + 1])
        room = done + max_width - last
        if done > max(offsets[step], prefill) and room and step + 2 < len(offsets):
            following = plan.position[last : min(last + room, offsets[step + 2])]
            last += int(np.searchsorted(following, plan.position[done]))
        cuts.append(last)
        done = last
    order = np.lexsort((plan.position, np.repeat(np.arange(len(cuts) - 1), np.diff(cuts))))
    return replace(
        plan,
        step_offsets=np.array(cuts),
        max_width=max_width,
        source=plan.source[order],
        position=plan.position[order],
        slot=plan.slot[order],
        target=plan.target[order],
    )


def step_order_slots(plan: Plan) -> Plan:
    """Number the cache slots in the order of the feeds: step s writes slots ``step_offsets[s] : step_offsets[s + 1]``.

    A refreshed position gets a second slot; mask rows then leave out the first one.

    Raises:
        SpecError: the plan's visibility is ``causal``: unwritten slots that take part in the softmax have a place
            in the order of positions only.
    """
    if plan.policies.visibility == "causal":
        raise SpecError(
            "expected visibility='written' for cache slots in step order, got 'causal'. A causal row sees slots that "
            "are never written. Compile with visibility='written' or slots='position'."
        )
    assert plan.trash_slot is None
    assert not len(plan.listed)
    return replace(plan, slot=np.arange(plan.feeds, dtype=np.int32), cache_slots=plan.feeds)


def pad_steps(plan: Plan, widths: Sequence[int]) -> Plan:
    """Fill every step up to the next of ``widths`` with padding feeds; steps wider than all of them stay as they are.

    Padding feeds source -1, position 0, no target, and writes to the trash slot, one slot behind the plan's own; under
    ``visibility="causal"`` also behind every position, for there rows show slots by the numbers of positions.

    Raises:
        SpecError: no width is given, or one is not an integer of at least 1, or the plan would become too large.
    """
    try:
        widths = list(widths)
    except TypeError:
        raise SpecError(
            f"expected the widths to pad to as a list, got pad={shown(widths)}. Give e.g. [1, 2, 4]."
        ) from None
    if not widths:
        raise SpecError("expected at least one width to pad to, got none. Give the widths your runtime has.")
    assert plan.trash_slot is None
    assert not len(plan.listed)
    choices = np.unique(np.asarray([require_int("pad", choice, 1) for choice in widths], dtype=np.int64))
    real = np.diff(plan.step_offsets)
    wider = np.minimum(np.searchsorted(choices, real), len(choices) - 1)
    width = np.maximum(real, choices[wider])
    offsets = np.concatenate([[0], np.cumsum(width)])
    if offsets[-1] > _MOST_FEEDS:
        raise SpecError(f"expected at most {_MOST_FEEDS} feeds with padding, got {offsets[-1]}. Pad to smaller widths.")
    trash = plan.cache_slots if plan.policies.visibility != "causal" else max(plan.cache_slots, plan.positions)
    at = np.arange(plan.feeds) + np.repeat(offsets[:-1] - plan.step_offsets[:-1], real)

    def spread(column: NDArray[np.int32], filling: int) -> NDArray[np.int32]:
        padded = np.full(offsets[-1], filling, dtype=np.int32)
        padded[at] = column
        return padded

    return replace(
        plan,
        step_offsets=offsets,
        source=spread(plan.source, -1),
        position=spread(plan.position, 0),
        slot=spread(plan.slot, trash),
        target=spread(plan.target, -1),
        cache_slots=trash + 1,
        trash_slot=trash,
    )
