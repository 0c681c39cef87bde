"""The predicates of the rules of a trace: rules S1 to S8 of its specification, over all passes at once."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.trace import SampleTrace
from diagplan.planner.trace_checker.diagnostics import TraceHits
from diagplan.planner.trace_checker.facts import TraceFacts

__all__ = [
    "accepted_wrong",
    "chosen_wrong",
    "columns_malformed",
    "first_wrong",
    "guessed_wrong",
    "no_progress",
    "not_done",
    "tokens_differ",
    "width_wrong",
]

Int64 = NDArray[np.int64]
_BY_PASS = ("first", "end", "accepted")


def _at(hit: NDArray[np.bool_]) -> NDArray[np.intp]:
    return np.flatnonzero(hit)


def columns_malformed(facts: TraceFacts) -> Iterator[TraceHits]:
    """DT100: columns of one kind and length, numbers in range, samples that belong to one batch."""
    trace = facts.trace
    if trace.width < 1 or not 1 <= (trace.width if trace.narrowest is None else trace.narrowest) <= trace.width:
        yield TraceHits(
            text=f"expected 1 <= narrowest <= width, got width={trace.width} and narrowest={trace.narrowest}"
        )
    if not trace.samples:
        yield TraceHits(text="expected at least one sample, got samples=0")
    for sample, one in enumerate(trace.samples):
        for text in _malformed(one):
            yield TraceHits(text=text, sample=np.array([sample]))
            return
        yield from _out_of_range(facts, sample, one)
    if trace.advance == "slowest" and len({one.passes for one in trace.samples}) > 1:
        passes = np.array([one.passes for one in trace.samples])
        others = _at(passes != passes[0])
        yield TraceHits(
            text=f"expected {passes[0]} passes as of sample 0 with advance=slowest, got passes={{passes}}",
            sample=others,
            values={"passes": passes[others]},
        )


def _malformed(one: SampleTrace) -> Iterator[str]:
    """What of a sample's columns is of the wrong kind or length."""
    for name in one.__slots__[1:]:
        column = getattr(one, name)
        if not (isinstance(column, np.ndarray) and column.dtype == np.int64 and column.ndim == 1):
            yield f"expected {name} as whole numbers in one axis, got another kind"
            return
    passes = len(one.first)
    for name in _BY_PASS:
        if len(getattr(one, name)) != passes:
            yield f"expected {passes} numbers in {name} as in first, got {len(getattr(one, name))}"
    for name in ("guess", "chosen"):
        offsets, slot, ids = (getattr(one, f"{name}_{part}") for part in ("offsets", "slot", "id"))
        rises = (
            len(offsets) == passes + 1
            and offsets[0] == 0
            and offsets[-1] == len(slot)
            and (np.diff(offsets) >= 0).all()
        )
        if not rises:
            yield f"expected {name}_offsets that rise from 0 to {len(slot)} over {passes} passes, got others"
        if len(ids) != len(slot):
            yield f"expected {len(slot)} numbers in {name}_id as in {name}_slot, got {len(ids)}"


def _out_of_range(facts: TraceFacts, sample: int, one: SampleTrace) -> Iterator[TraceHits]:
    positions = facts.plan.positions
    if len(one.tokens) != positions:
        yield TraceHits(
            text=f"expected tokens of {positions} slots, got tokens={len(one.tokens)}", sample=np.array([sample])
        )
        return
    for name in _BY_PASS:
        column = getattr(one, name)
        number = _at((column < 0) | (column > facts.entries.count))
        yield TraceHits(
            text=f"expected {name} from 0 to {facts.entries.count}, got {name}={{value}}",
            sample=np.full(len(number), sample),
            number=number,
            values={"value": column[number]},
        )
    missing = _at((one.tokens < 0) & (facts.entries.decider < 0))
    yield TraceHits(
        text="expected an id of a given slot, got tokens[{slot}]={value}",
        sample=np.full(len(missing), sample),
        slot=missing,
        values={"value": one.tokens[missing]},
    )
    for name in ("guess", "chosen"):
        offsets, slot, ids = (getattr(one, f"{name}_{part}") for part in ("offsets", "slot", "id"))
        number = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        for part, column, most in (("slot", slot, positions - 1), ("id", ids, np.iinfo(np.int64).max)):
            at = _at((column < 0) | (column > most))
            words = f"from 0 to {most}" if part == "slot" else ">= 0"
            yield TraceHits(
                text=f"expected {name} {part} {words}, got {part}={{value}}",
                sample=np.full(len(at), sample),
                number=number[at],
                values={"value": column[at]},
            )
        keys = number * positions + slot
        order = np.argsort(keys, kind="stable")
        again = order[1:][keys[order[1:]] == keys[order[:-1]]] if len(keys) else order
        yield TraceHits(
            text=f"expected a slot once among a pass' {name} ids, got slot={{slot}} again",
            sample=np.full(len(again), sample),
            number=number[again],
            slot=slot[again],
        )


def _of(facts: TraceFacts, at: NDArray[np.intp], text: str, slot: Int64 | None = None, **values: Int64) -> TraceHits:
    """Breaches of passes ``at``."""
    return TraceHits(text=text, sample=facts.sample[at], number=facts.number[at], slot=slot, values=values)


def first_wrong(facts: TraceFacts) -> Iterator[TraceHits]:
    """DT101: rule S1. With it no entry that is pending, and no row that was rejected, is ever left out (R2)."""
    at = _at(facts.first != facts.before)
    text = "expected first={due}, what was accepted before, got first={first}"
    yield _of(facts, at, text, due=facts.before[at], first=facts.first[at])


def width_wrong(facts: TraceFacts) -> Iterator[TraceHits]:
    """DT102: rule S2."""
    at = _at(facts.end <= facts.first)
    yield _of(facts, at, "expected end > first={first}, got end={end}", first=facts.first[at], end=facts.end[at])
    fed = facts.end - np.maximum(facts.first, facts.entries.prompt)
    at = _at(fed > facts.trace.width)
    text = f"expected at most width={facts.trace.width} entries, the prompt's apart, got end - first={{fed}}"
    yield _of(facts, at, text, fed=fed[at])


def chosen_wrong(facts: TraceFacts) -> Iterator[TraceHits]:
    """DT104: rule S4."""
    first, end = facts.first, facts.end
    at, slot = facts.chosen_pass, facts.chosen_slot
    decider = facts.entries.decider[slot]
    inside = (decider >= first[at]) & (decider < end[at])
    extra = _at(~inside)
    text = "expected targets of entries {first} to {last} in chosen, got slot={slot}"
    yield _of(facts, at[extra], text, slot[extra], first=first[at[extra]], last=end[at[extra]] - 1)
    before = facts.entries.targets_before
    due = before[end] - before[first]
    listed = np.bincount(at[inside], minlength=len(first))
    few = _at(listed < due)
    yield _of(facts, few, "expected the ids of {due} targets in chosen, got {listed}", due=due[few], listed=listed[few])


def guessed_wrong(facts: TraceFacts) -> Iterator[TraceHits]:
    """DT103: rule S3. A source that is not known is among the targets of the same pass (DT104)."""
    fed = facts.entries.first_use[facts.chosen_slot] < facts.end[facts.chosen_pass]
    at, slot = facts.chosen_pass[fed], facts.chosen_slot[fed]
    due, listed = facts.key(at, slot), facts.key(facts.guess_pass, facts.guess_slot)
    none = _at(~np.isin(due, listed))
    text = "expected a guess for slot={slot}, which is fed and not known, got none"
    yield _of(facts, at[none], text, slot[none])
    extra = _at(~np.isin(listed, due))
    text = "expected guesses for sources that are fed and not known, got slot={slot}"
    yield _of(facts, facts.guess_pass[extra], text, facts.guess_slot[extra])


def accepted_wrong(facts: TraceFacts) -> Iterator[TraceHits]:
    """DT105: rule S5."""
    at = _at(facts.accepted != facts.due)
    text = "expected accepted={due} by guesses and chosen, got accepted={accepted}"
    yield _of(facts, at, text, due=facts.due[at], accepted=facts.accepted[at])


def no_progress(facts: TraceFacts) -> Iterator[TraceHits]:
    """DT106: rule S6, theorem (ii). Of passes that feed the prompt alone all is accepted."""
    entries, width = facts.entries, _narrowest(facts)
    least = np.minimum(entries.step_end[facts.first], np.maximum(facts.first, entries.prompt) + width)
    least = np.where(facts.end <= entries.prompt, facts.end, least)
    at = _at(facts.accepted < least)
    text = "expected accepted >= {least}, got accepted={accepted}"
    yield _of(facts, at, text, least=least[at], accepted=facts.accepted[at])


def not_done(facts: TraceFacts) -> Iterator[TraceHits]:
    """DT107: rule S7. Passes that feed the prompt alone are not counted."""
    entries, samples = facts.entries, len(facts.trace.samples)
    done = np.zeros(samples, dtype=np.int64)
    np.maximum.at(done, facts.sample, facts.accepted)
    sample = _at(done < entries.count)
    text = f"expected accepted={entries.count} at the end, got accepted={{done}}"
    yield TraceHits(text=text, sample=sample, values={"done": done[sample]})
    passes = np.bincount(facts.sample[facts.end > entries.prompt], minlength=samples)
    most = entries.most_passes(_narrowest(facts))
    sample = _at(passes > most)
    yield TraceHits(
        text=f"expected at most {most} passes, got passes={{passes}}", sample=sample, values={"passes": passes[sample]}
    )


def _narrowest(facts: TraceFacts) -> int:
    return facts.trace.width if facts.trace.narrowest is None else facts.trace.narrowest


def tokens_differ(facts: TraceFacts) -> Iterator[TraceHits]:
    """DT108: rule S8."""
    at, slot = facts.chosen_pass, facts.chosen_slot
    kept = _at(facts.entries.decider[slot] < facts.accepted[at])
    at, slot, due = at[kept], slot[kept], facts.chosen_id[kept]
    token = np.stack([one.tokens for one in facts.trace.samples])[facts.sample[at], slot]
    other = _at(token != due)
    yield _of(
        facts, at[other], "expected token {due} of slot={slot}, got token={token}", slot[other],
        due=due[other], token=token[other],
    )  # fmt: skip
