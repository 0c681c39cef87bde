"""Invalid plans, one or more beside every rule of the checker, each with the exact diagnostic that it must cause.

Most are one change to the plan of a 2 x 3 grid behind one leading token, k = 1, our own policies. Its feeds as
(source, position, target), step by step; slots are positions; token 1 stands in for token 3 until step 3:

    step 0: feed 0 (0, 0, 1)
    step 1: feed 1 (1, 1, 2), feed 2 (1, 3, 4)
    step 2: feed 3 (2, 2, 3), feed 4 (4, 4, 5)
    step 3: feed 5 (3, 3, -), feed 6 (5, 5, 6)
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from diagplan.planner.checker.diagnostics import Severity
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.plan import MaskRows, Plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal, Imported, NextToken, ZipAR

__all__ = ["BASE", "Case", "cases"]

GRID = Layout(frames=1, rows=2, cols=3, lead=1)
BASE = compile_plan(GRID, Diagonal(k=1))
PADDED = compile_plan(GRID, Diagonal(k=1), pad=(2,))  # feed 1 is padding, the slots behind it are 7, trash
IN_ORDER = compile_plan(GRID, Diagonal(k=1), Policies(proxy_kv="visible"), slots="step-order")
CAUSAL = Policies(proxy_kv="visible", visibility="causal")


class Case(NamedTuple):
    """An invalid plan and what the checker must say of it, first of all by that rule."""

    code: str
    plan: Plan
    message: str
    step: int | None = None
    feed: int | None = None
    slot: int | None = None
    severity: Severity = "error"


def changed(feed: int, plan: Plan = BASE, **numbers: int) -> Plan:
    """A plan with some numbers of one feed changed."""
    columns = {name: getattr(plan, name).copy() for name in numbers}
    for name, number in numbers.items():
        columns[name][feed] = number
    return replace(plan, **columns)


def without(feed: int, plan: Plan = BASE) -> Plan:
    """A plan without one feed."""
    columns: dict[str, Any] = {
        name: np.delete(getattr(plan, name), feed) for name in ("source", "position", "slot", "target")
    }
    return replace(plan, step_offsets=plan.step_offsets - (plan.step_offsets > feed), **columns)


def offsets(*numbers: int, plan: Plan = BASE) -> Plan:
    """A plan with other step boundaries."""
    return replace(plan, step_offsets=np.array(numbers))


def listing(rows: dict[int, list[int]], plan: Plan = BASE, **policies: Any) -> Plan:
    """A plan with explicit mask rows for some feeds: start, end, start, end, ..."""
    return replace(
        plan,
        policies=replace(plan.policies, **policies),
        listed=MaskRows(
            feed=np.array(list(rows)),
            offsets=np.cumsum([0, *(len(row) // 2 for row in rows.values())]),
            runs=np.array([number for row in rows.values() for number in row]),
        ),
    )


def named(plan: Plan = BASE, **record: Any) -> Plan:
    """A plan whose schedule's record says something else."""
    return replace(plan, schedule=replace(plan.schedule, **record))


def promising(plan: Plan = BASE, **policies: Any) -> Plan:
    """A plan that names other policies."""
    return replace(plan, policies=replace(plan.policies, **policies))


def cases() -> Iterator[Case]:
    """Every case, in the order of the rules."""
    yield from _numbers()
    yield from _tokens()
    yield from _cache()
    yield from _rows()
    yield from _names()


def _numbers() -> Iterator[Case]:
    yield Case(
        "DP100",
        replace(BASE, max_width=0),
        "expected max_width to be a whole number from 1 to 2147483647 or None, got max_width=0.",
    )
    yield Case("DP100", offsets(0, 3, 1, 7), "expected step_offsets to rise from 0 to 7, got [0, 3, 1, 7] to 7.")
    yield Case("DP101", changed(3, source=7), "expected source from -1 to 6, got source=7.", 2, 3, 7)
    yield Case("DP101", changed(3, position=-1), "expected position from 0 to 6, got position=-1.", 2, 3, -1)
    yield Case("DP101", changed(3, slot=9), "expected slot from 0 to 6, got slot=9.", 2, 3, 9)
    yield Case("DP101", changed(3, target=-2), "expected target from -1 to 6, got target=-2.", 2, 3, -2)
    yield Case(
        "DP101",
        replace(BASE, cache_slots=16),
        "expected at most positions + feeds + 1 = 15 cache slots, got cache_slots=16.",
    )
    yield Case("DP101", replace(BASE, trash_slot=7), "expected a trash slot below 7, got trash=7.")
    yield Case("DP101", listing({7: [0, 1]}), "expected listed rows of feeds below 7, got feed=7.")
    yield Case("DP102", replace(BASE, positions=8), "expected positions=7 from the layout, got positions=8.")
    yield Case(
        "DP102",
        replace(BASE, given=np.array([[0, 1], [3, 4]])),
        "expected given slots [[0, 1]] (1 runs) from the layout, got [[0, 1], [3, 4]] (2 runs).",
    )
    yield Case("DP103", offsets(0, 1, 3, 3, 5, 7), "expected feeds in every step, got none in step 2.", 2)
    yield Case("DP104", changed(1, PADDED, slot=6), "expected padding to write the trash slot, got slot=6.", 0, 1, 6)
    yield Case("DP104", changed(1, PADDED, target=3), "expected padding to have no target, got target=3.", 0, 1, 7)
    yield Case(
        "DP104", changed(3, PADDED, slot=7), "expected only padding to write the trash slot, got slot=7.", 1, 3, 7
    )
    yield Case(
        "DP104",
        replace(compile_plan(GRID, Diagonal(k=1), CAUSAL), trash_slot=6),
        "expected a trash slot from 7 on under visibility=causal, got trash=6.",
    )
    malformed = "expected runs in rising order and apart, from 0 to 7, got {} to {} after a run that ends at {}."
    yield Case("DP105", listing({3: [0, 8]}), malformed.format(0, 8, 0), 2, 3, 0)
    yield Case("DP105", listing({3: [2, 2]}), malformed.format(2, 2, 0), 2, 3, 2)
    yield Case("DP105", listing({3: [0, 1, 1, 3]}), malformed.format(1, 3, 1), 2, 3, 1)
    yield Case("DP105", listing({3: [2, 3, 0, 1]}), malformed.format(0, 1, 3), 2, 3, 0)
    yield Case(
        "DP105",
        listing({4: [0, 5], 3: [0, 3]}),
        "expected listed rows in rising order of feeds, got feed 3 again or late.",
        2,
        3,
    )


def _tokens() -> Iterator[Case]:
    yield Case("DP201", without(6), "expected a feed with target=6, got none.", slot=6)
    yield Case(
        "DP202", changed(5, target=4), "expected one feed with target=4, got a second one after feed 2.", 3, 5, 4
    )
    yield Case(
        "DP203", changed(5, target=0), "expected a generated slot as target, got the given slot target=0.", 3, 5, 0
    )
    yield Case(
        "DP204",
        changed(2, source=3),
        "expected a source known before the step, got source=3, which step 2 chooses.",
        1,
        2,
        3,
    )
    yield Case(
        "DP205",
        changed(4, position=2),
        "expected position=4, the predecessor of target=5, got position=2.",
        2,
        4,
        2,
    )
    yield Case(
        "DP206",
        changed(5, source=1),
        "expected source=3, the position's own token, in a feed without target, got source=1.",
        3,
        5,
        3,
    )


def _cache() -> Iterator[Case]:
    yield Case(
        "DP301",
        changed(4, slot=2),
        "expected one write of a cache slot in a step, got a second one of cache slot 2 after feed 3.",
        2,
        4,
        2,
    )
    yield Case(
        "DP301",
        changed(6, IN_ORDER, position=3),
        "expected one write of a position in a step, got a second one of position 3 after feed 5.",
        3,
        6,
        3,
    )
    yield Case(
        "DP302",
        changed(4, slot=1),
        "expected cache slot 1 to stay with position 1, got a write of position 4.",
        2,
        4,
        1,
    )
    yield Case(
        "DP302",
        changed(4, compile_plan(GRID, Diagonal(k=1), CAUSAL), slot=6),
        "expected cache slot 4, the position's own, under visibility=causal, got slot=6.",
        2,
        4,
        6,
    )
    unwritten = "expected reads of written slots only, got one of slot {} (the cache starts as {})."
    causal = compile_plan(GRID, Diagonal(k=1), CAUSAL)
    yield Case("DP303", causal, unwritten.format(2, "zeros"), 1, 2, 2, "warning")
    yield Case("DP303", replace(causal, cache_initial="undefined"), unwritten.format(2, "undefined"), 1, 2, 2)
    yield Case("DP303", listing({2: [0, 4]}), unwritten.format(2, "undefined"), 1, 2, 2)
    yield Case(
        "DP304",
        compile_plan(GRID, Diagonal(k=1), Policies(row_end="keep")),
        "expected the keys and values of token 3 in the end, got those of its proxy, token 1 (row_end=keep).",
        1,
        2,
        3,
        "warning",
    )
    ended = Layout(frames=2, rows=2, cols=2, lead=1, between_frames=1)
    yield Case(
        "DP305",
        compile_plan(ended, Diagonal(k=1, d=1), Policies(row_end="keep")),
        "expected token 4, known from step 2 on, to enter the cache, got no feed of it.",
        slot=4,
        severity="warning",
    )


def _rows() -> Iterator[Case]:
    yield Case(
        "DP401", listing({4: [0, 3]}), "expected the query to see its own cache slot 4, got a row without it.", 2, 4, 4
    )
    yield Case(
        "DP402",
        listing({3: [0, 3, 4, 5]}),
        "expected cache slots up to position 2, got a row that sees slot 4 ahead of it.",
        2,
        3,
        4,
    )
    yield Case(
        "DP403",
        listing({4: [0, 5]}),
        "expected proxies to be hidden, got a row that sees the proxy in cache slot 3.",
        2,
        4,
        3,
    )
    yield Case(
        "DP404",
        listing({6: [0, 7]}, IN_ORDER),
        "expected the newest write of a position, got a row that sees an older one in cache slot 2.",
        3,
        6,
        2,
    )
    trash = "expected the trash slot for padding only, and only it, got a row that sees slot {}."
    yield Case("DP405", listing({1: [0, 1, 7, 8]}, PADDED), trash.format(0), 0, 1, 0)
    yield Case("DP405", listing({2: [0, 2, 7, 8]}, PADDED), trash.format(7), 1, 2, 7)
    yield Case(
        "DP406",
        listing({4: [0, 1, 2, 3, 4, 5]}),
        "expected the row of the named policies, got one that differs from cache slot 1 on.",
        2,
        4,
        1,
    )
    yield Case(
        "DP407",
        listing({0: [0, 1]}, visibility="listed"),
        "expected a mask row under visibility=listed, got none.",
        1,
        1,
    )


def _names() -> Iterator[Case]:
    in_force = "expected the delays (k, d) = {} in force on this grid, got {}."
    yield Case("DP501", named(k_in_force=2), in_force.format((1, 4), (2, 4)))
    yield Case("DP501", named(d_in_force=5), in_force.format((1, 4), (1, 5)))
    next_token = compile_plan(GRID, NextToken())
    lacking = (
        in_force.format((3, 6), (3, None))[:-1] + ": the schedule next-token needs both k_in_force and d_in_force."
    )
    yield Case("DP501", named(next_token, d_in_force=None), lacking)
    released = compile_plan(GRID, ZipAR(window=1, variant="llamagen"))
    yield Case("DP501", named(released, d_in_force=4), in_force.format((1, 6), (1, 4)))
    yield Case("DP501", named(k=None), "expected a row delay k for the schedule diagonal, got none.")
    yield Case("DP501", named(next_token, k=3), "expected no k beside the schedule next-token, got k=3.")
    yield Case("DP501", named(released, d=3), "expected no d beside the schedule zipar-llamagen, got d=3.")
    yield Case("DP501", named(order=(0,)), "expected no order beside the schedule diagonal, got 1 steps.")
    imported = compile_plan(GRID, Imported(steps=[[0, 1, 2], [1, 2, 3]]))
    yield Case("DP501", named(imported, order=None), "expected the step of each of 6 cells in the order, got none.")
    yield Case("DP501", named(imported, order=(0, 1)), "expected the step of each of 6 cells in the order, got 2.")
    yield Case(
        "DP501",
        named(imported, order=(0, 1, 2, 1, 2, 2**31 - 1)),
        "expected every step of the order to have a cell, got none in step 3.",
    )
    yield Case("DP502", named(steps=5), "expected steps=4 by the closed form of diagonal, got steps=5 named.")
    yield Case("DP502", offsets(0, 1, 3, 5, 6, 7), "expected 4 steps by the closed form of diagonal, got 5.")
    capped = compile_plan(GRID, Diagonal(k=1), max_width=1)
    yield Case(
        "DP502",
        replace(capped, max_width=2),
        "expected 4 steps by the closed form of diagonal under max_width=2, got 7.",
    )
    yield Case("DP503", offsets(0, 1, 2, 5, 7), "expected token 4 in step 1 by diagonal, got step 2.", 2, 2, 4)
    yield Case(
        "DP504",
        changed(2, source=0),
        "expected source=1 for token 4 (proxy=previous-frame), got source=0.",
        1,
        2,
        0,
    )
    yield Case("DP505", without(5), "expected a feed of token 3 in step 3 (row_end=refresh), got none.", 3, slot=3)
    yield Case(
        "DP505",
        promising(row_end="keep"),
        "expected no feed of token 3 alone in step 3 (row_end=keep), got one.",
        3,
        5,
        3,
    )
    yield Case("DP506", replace(BASE, max_width=1), "expected at most max_width=1 feeds, got 2 in step 1.", 1)
