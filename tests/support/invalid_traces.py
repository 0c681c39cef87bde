"""Invalid traces, one or more beside every rule of the checker, each with the exact diagnostic that it must cause.

All are one change to a replay of next-token prediction on a 2 x 3 grid behind one leading token, in windows of 3. Entry
e feeds slot e and chooses slot e + 1; the token of slot t is t, the given one 9:

    pass 0: entries 0 to 2, guesses 1 (right) and 7 for 2: entries 0 and 1 are accepted
    pass 1: entries 2 to 4, guesses 8 for 3 and 4: entry 2 is accepted
    pass 2: entries 3 to 5, guesses 4 and 5, right: all are accepted
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import NextToken
from diagplan.planner.trace import Trace, TracedPass, sample_trace
from diagplan.schemas.convert import plan_digest

__all__ = ["BASE", "PASSES", "PLAN", "TOKENS", "TraceCase", "columns", "trace_cases", "with_pass"]

PLAN = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), NextToken())
PASSES = (
    TracedPass(0, 3, {1: 1, 2: 7}, {1: 1, 2: 2, 3: 8}, 2),
    TracedPass(2, 5, {3: 8, 4: 4}, {3: 3, 4: 4, 5: 5}, 3),
    TracedPass(3, 6, {4: 4, 5: 5}, {4: 4, 5: 5, 6: 6}, 6),
)
TOKENS = [9, 1, 2, 3, 4, 5, 6]
BASE = Trace(
    plan=plan_digest(PLAN),
    model="by hand",
    dtype="float32",
    sampler={"name": "greedy"},
    seed=0,
    guidance=None,
    width=3,
    draft="constant",
    advance="own",
    samples=(sample_trace(0, PASSES, TOKENS),),
)


class TraceCase(NamedTuple):
    """An invalid trace and what the checker must say of it, first of all by that rule."""

    code: str
    trace: Trace
    message: str
    sample: int | None = 0
    number: int | None = None
    slot: int | None = None


def with_pass(number: int, passes: tuple[TracedPass, ...] = PASSES, **changes: Any) -> Trace:
    """The trace with some parts of one pass changed."""
    listed = list(passes)
    listed[number] = listed[number]._replace(**changes)
    return replace(BASE, samples=(sample_trace(0, listed, TOKENS),))


def columns(trace: Trace = BASE, sample: int = 0, **changed: Any) -> Trace:
    """The trace with some columns of one sample changed."""
    samples = list(trace.samples)
    samples[sample] = replace(samples[sample], **changed)
    return replace(trace, samples=tuple(samples))


def _batch(*samples: tuple[TracedPass, ...], advance: Any = "slowest") -> Trace:
    listed = tuple(sample_trace(number, passes, TOKENS) for number, passes in enumerate(samples))
    return replace(BASE, advance=advance, samples=listed)


def trace_cases() -> Iterator[TraceCase]:
    """All of them, in the order of the rules."""
    one = BASE.samples[0]
    yield TraceCase(
        "DT100", replace(BASE, width=0), "expected 1 <= narrowest <= width, got width=0 and narrowest=None.", None
    )
    yield TraceCase(
        "DT100", replace(BASE, narrowest=4), "expected 1 <= narrowest <= width, got width=3 and narrowest=4.", None
    )
    yield TraceCase("DT100", replace(BASE, samples=()), "expected at least one sample, got samples=0.", None)
    yield TraceCase("DT100", columns(end=[0.5, 1, 2]), "expected end as whole numbers in one axis, got another kind.")
    yield TraceCase("DT100", columns(end=one.end[:2]), "expected 3 numbers in end as in first, got 2.")
    yield TraceCase(
        "DT100",
        columns(guess_offsets=[0, 3, 2, 6]),
        "expected guess_offsets that rise from 0 to 6 over 3 passes, got others.",
    )
    yield TraceCase(
        "DT100", columns(chosen_id=one.chosen_id[:5]), "expected 9 numbers in chosen_id as in chosen_slot, got 5."
    )
    yield TraceCase("DT100", columns(tokens=TOKENS[:-1]), "expected tokens of 7 slots, got tokens=6.")
    yield TraceCase("DT100", with_pass(1, end=7), "expected end from 0 to 6, got end=7.", number=1)
    yield TraceCase(
        "DT100", columns(tokens=[-1, *TOKENS[1:]]), "expected an id of a given slot, got tokens[0]=-1.", slot=0
    )
    yield TraceCase(
        "DT100", with_pass(0, guesses={1: 1, 7: 7}), "expected guess slot from 0 to 6, got slot=7.", number=0
    )
    yield TraceCase("DT100", with_pass(2, chosen={4: 4, 5: -5, 6: 6}), "expected chosen id >= 0, got id=-5.", number=2)
    yield TraceCase(
        "DT100",
        columns(guess_slot=np.where(one.guess_slot == 2, 1, one.guess_slot)),
        "expected a slot once among a pass' guess ids, got slot=1 again.",
        number=0,
        slot=1,
    )
    yield TraceCase(
        "DT100",
        _batch(PASSES, PASSES[:2]),
        "expected 3 passes as of sample 0 with advance=slowest, got passes=2.",
        sample=1,
    )
    yield TraceCase(
        "DT101", with_pass(0, first=1), "expected first=0, what was accepted before, got first=1.", number=0
    )
    yield TraceCase(
        "DT101", with_pass(2, first=4), "expected first=3, what was accepted before, got first=4.", number=2
    )
    yield TraceCase("DT102", with_pass(1, end=2), "expected end > first=2, got end=2.", number=1)
    yield TraceCase(
        "DT102",
        with_pass(1, end=6),
        "expected at most width=3 entries, the prompt's apart, got end - first=4.",
        number=1,
    )
    yield TraceCase(
        "DT103",
        with_pass(1, guesses={3: 8}),
        "expected a guess for slot=4, which is fed and not known, got none.",
        number=1,
        slot=4,
    )
    yield TraceCase(
        "DT103",
        with_pass(1, guesses={2: 2, 3: 8, 4: 4}),
        "expected guesses for sources that are fed and not known, got slot=2.",
        number=1,
        slot=2,
    )
    yield TraceCase(
        "DT104",
        with_pass(1, chosen={3: 3, 4: 4, 5: 5, 6: 6}),
        "expected targets of entries 2 to 4 in chosen, got slot=6.",
        number=1,
        slot=6,
    )
    yield TraceCase(
        "DT104", with_pass(1, chosen={3: 3, 4: 4}), "expected the ids of 3 targets in chosen, got 2.", number=1
    )
    early = (*PASSES[:2], TracedPass(3, 6, {4: 4, 5: 9}, {4: 4, 5: 5, 6: 6}, 6))
    yield TraceCase(
        "DT105",
        with_pass(2, early),
        "expected accepted=5 by guesses and chosen, got accepted=6.",
        number=2,
    )
    late = (*PASSES[:2], TracedPass(3, 6, {4: 4, 5: 5}, {4: 4, 5: 5, 6: 6}, 5), TracedPass(5, 6, {}, {6: 6}, 6))
    yield TraceCase("DT105", with_pass(2, late), "expected accepted=6 by guesses and chosen, got accepted=5.", number=2)
    other = (PASSES[0]._replace(guesses={1: 5, 2: 7}, accepted=2), *PASSES[1:])  # the batch's least is 1
    yield TraceCase(
        "DT105",
        _batch(PASSES, other),
        "expected accepted=1 by guesses and chosen, got accepted=2.",
        number=0,
    )
    stuck = (PASSES[0], PASSES[1]._replace(accepted=2), PASSES[1], PASSES[2])
    yield TraceCase("DT106", with_pass(0, stuck), "expected accepted >= 3, got accepted=2.", number=1)
    yield TraceCase(
        "DT107",
        replace(BASE, samples=(sample_trace(0, PASSES[:2], TOKENS),)),
        "expected accepted=6 at the end, got accepted=3.",
    )
    slow = tuple(TracedPass(number, number + 1, {}, {number + 1: number + 1}, number + 1) for number in range(6))
    yield TraceCase(
        "DT107",
        with_pass(0, (slow[0], *slow), accepted=0),
        "expected at most 6 passes, got passes=7.",
    )
    yield TraceCase(
        "DT108",
        columns(tokens=[9, 1, 2, 8, 4, 5, 6]),
        "expected token 3 of slot=3, got token=8.",
        number=1,
        slot=3,
    )
