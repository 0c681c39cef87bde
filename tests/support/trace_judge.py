"""What is right of a trace, pass by pass in plain sets: slow, obvious, and without a look at the checker."""

from collections.abc import Iterator
from itertools import groupby
from math import ceil
from typing import NamedTuple

import numpy as np

from diagplan.planner.plan import Plan
from diagplan.planner.trace import SampleTrace, Trace, TracedPass

__all__ = ["Entry", "entries_of", "is_right", "prompt_of"]


class Entry(NamedTuple):
    """A real feed; sorted they are the entries."""

    step: int
    position: int
    source: int
    target: int


def entries_of(plan: Plan) -> list[Entry]:
    """A plan's entries."""
    feeds = [
        Entry(step, int(plan.position[feed]), int(plan.source[feed]), int(plan.target[feed]))
        for step in range(plan.steps)
        for feed in range(plan.step_offsets[step], plan.step_offsets[step + 1])
    ]
    return sorted(entry for entry in feeds if entry.source >= 0)


def prompt_of(entries: list[Entry]) -> int:
    """Entries before the first that chooses anything."""
    return next(number for number, entry in enumerate(entries) if entry.target >= 0)


def is_right(plan: Plan, trace: Trace) -> bool:
    """Whether all rules hold."""
    return not next(_wrong(plan, trace), "")


def _wrong(plan: Plan, trace: Trace) -> Iterator[str]:
    entries = entries_of(plan)
    given = {slot for start, end in plan.given.tolist() for slot in range(start, end)}
    narrowest = trace.width if trace.narrowest is None else trace.narrowest
    if not 1 <= narrowest <= trace.width or not trace.samples:
        yield "sizes"
    if trace.advance == "slowest" and len({one.passes for one in trace.samples}) > 1:
        yield "a batch"
    listed = [[one.traced(number) for number in range(one.passes)] for one in trace.samples]
    for one, passes in zip(trace.samples, listed, strict=True):
        yield from _wrong_numbers(plan, entries, given, one, passes)
    known = [set(given) for _ in trace.samples]
    tokens = [dict[int, int]() for _ in trace.samples]
    accepted = [0] * len(trace.samples)
    for number in range(trace.passes):
        right = [
            _right(entries, passes[number], own)
            for passes, own in zip(listed, known, strict=True)
            if len(passes) > number
        ]
        for sample, passes in enumerate(listed):
            if number >= len(passes):
                continue
            taken = passes[number]
            own = _right(entries, taken, known[sample])
            if taken.accepted != (own if trace.advance == "own" else min(right)):
                yield "S5"
            yield from _wrong_pass(entries, taken, known[sample], accepted[sample], trace.width, narrowest)
            for entry in entries[taken.first : taken.accepted]:
                if entry.target in taken.chosen:
                    known[sample].add(entry.target)
                    tokens[sample][entry.target] = taken.chosen[entry.target]
            accepted[sample] = taken.accepted
    steps = [list(group) for _, group in groupby(entries, key=lambda entry: entry.step)]
    prompt = prompt_of(entries)
    most = sum(ceil((len(step) - (prompt if step[0].step == 0 else 0)) / narrowest) for step in steps)
    for sample, passes in enumerate(listed):
        if accepted[sample] != len(entries) or sum(one.end > prompt for one in passes) > most:
            yield "S7"
        final = trace.samples[sample].tokens
        if any(final[slot] != token for slot, token in tokens[sample].items()):
            yield "S8"


def _wrong_numbers(
    plan: Plan, entries: list[Entry], given: set[int], one: SampleTrace, passes: list[TracedPass]
) -> Iterator[str]:
    for slots in (one.guess_slot, one.chosen_slot):
        if any(not 0 <= slot < plan.positions for slot in slots.tolist()):
            yield "slots"
    if sum(len(p.guesses) for p in passes) < len(one.guess_slot) or sum(len(p.chosen) for p in passes) < len(
        one.chosen_slot
    ):
        yield "a slot twice"
    if any(number < 0 for number in (*one.guess_id.tolist(), *one.chosen_id.tolist())):
        yield "ids"
    if any(not 0 <= number <= len(entries) for p in passes for number in (p.first, p.end, p.accepted)):
        yield "entries"
    if len(one.tokens) != plan.positions or any(one.tokens[slot] < 0 for slot in given):
        yield "tokens"


def _right(entries: list[Entry], one: TracedPass, known: set[int]) -> int:
    right = one.first
    while right < one.end:
        source = entries[right].source
        if source not in known and (source not in one.guesses or one.guesses[source] != one.chosen.get(source)):
            break
        right += 1
    return right


def _wrong_pass(
    entries: list[Entry], one: TracedPass, known: set[int], before: int, width: int, narrowest: int
) -> Iterator[str]:
    prompt = prompt_of(entries)
    fed = entries[one.first : one.end]
    if one.first != before:
        yield "S1"
    if not fed or sum(number >= prompt for number in range(one.first, one.end)) > width:
        yield "S2"
        return
    if set(one.guesses) != {entry.source for entry in fed} - known:
        yield "S3"
    if set(one.chosen) != {entry.target for entry in fed} - {-1}:
        yield "S4"
    first_step = sum(entry.step <= fed[0].step for entry in entries)
    if one.end <= prompt:
        if one.accepted < one.end:
            yield "S6"
    elif one.accepted < min(first_step, max(one.first, prompt) + narrowest):
        yield "S6"
    assert np.all(np.diff([entry.step for entry in entries]) >= 0)
