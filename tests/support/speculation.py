"""A slow, obvious speculative replay that keeps a trace, on a model in whole numbers; and the same step by step.

What an entry answers is a hash of its token, its position and the rows that it sees, so that any wrong id, any stale
row and any other order gives other tokens with near certainty. How often a guess comes true is a matter of how many of
the answers follow from the slot alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.plan import Plan
from diagplan.planner.trace import Advance, Trace, TracedPass, sample_trace
from diagplan.planner.training_plan import TrainingPlan, training_plan, visible
from diagplan.schemas.convert import plan_digest

__all__ = ["VOCABULARY", "Run", "Sample", "given_tokens", "one_by_one", "oracle", "speculate"]

VOCABULARY = 13
_BITS = (1 << 61) - 1

Draft = Callable[[int], int]


def _mix(*numbers: int) -> int:
    state = 0x9E3779B9
    for number in numbers:
        state = (state ^ (number + 0x7F4A7C15)) * 0x3F58476D1CE4E5B9 & _BITS
        state ^= state >> 29
    return state


class Entries:
    """A plan's entries in the order of (step, position), and who sees whom."""

    def __init__(self, plan: Plan) -> None:
        columns: TrainingPlan = training_plan(plan)
        order = np.lexsort((columns.position, columns.step))
        self.step, self.source, self.position, self.target = (
            getattr(columns, name)[order].tolist() for name in ("step", "source", "position", "target")
        )
        self.sees = visible(columns)[:, : columns.entries][np.ix_(order, order)]
        self.count = columns.entries
        self.widest = int(np.bincount(columns.step).max())


def given_tokens(plan: Plan, sample: int = 0) -> NDArray[np.int64]:
    """Ids of the given slots, -1 elsewhere, int64 [positions]."""
    tokens = np.full(plan.positions, -1, dtype=np.int64)
    for start, end in plan.given.tolist():
        tokens[start:end] = [_mix(sample, slot) % VOCABULARY for slot in range(start, end)]
    return tokens


@dataclass(slots=True, kw_only=True)
class Sample:
    """A sample between two passes: what is accepted, known, guessed and cached.

    Args:
        dirty: whether each row was computed from a wrong id, directly or through other rows.
    """

    number: int
    tokens: NDArray[np.int64]
    rows: dict[int, int]
    dirty: dict[int, bool]
    guess: dict[int, int]
    accepted: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The outcome: the trace, and of every accepted entry whether a row it saw was computed from a wrong id."""

    trace: Trace
    unclean: tuple[bool, ...]


def one_by_one(plan: Plan, number: int = 0, easy: int = 60) -> NDArray[np.int64]:
    """The tokens of step-by-step replay, int64 [positions]."""
    entries, tokens, rows = Entries(plan), given_tokens(plan, number), dict[int, int]()
    for entry in range(entries.count):  # who is seen comes earlier
        row = _row(entries, entry, int(tokens[entries.source[entry]]), rows)
        rows[entry] = row
        if entries.target[entry] >= 0:
            tokens[entries.target[entry]] = _chosen(row, entries.target[entry], number, easy)
    return tokens


def _row(entries: Entries, entry: int, token: int, rows: dict[int, int]) -> int:
    seen = sum(_mix(rows[other]) for other in np.flatnonzero(entries.sees[entry]).tolist() if other != entry)
    return _mix(token, entries.position[entry], seen & _BITS)


def _chosen(row: int, target: int, number: int, easy: int) -> int:
    """``easy`` of a hundred answers follow from the slot alone."""
    noise = _mix(row, target, number)
    return (target * 5 if noise // VOCABULARY % 100 < easy else noise) % VOCABULARY


def speculate(
    plan: Plan,
    *,
    width: int,
    numbers: Sequence[int] = (0,),
    advance: Advance = "own",
    draft: Draft = lambda slot: slot * 5 % VOCABULARY,
    easy: int = 60,
) -> Run:
    """Replay a plan in passes of ``width`` entries.

    Args:
        plan: a valid plan.
        width: of a window.
        numbers: of the samples.
        advance: of a batch.
        draft: the first guess of a slot.
        easy: of a hundred tokens, how many that draft gets right.
    """
    entries = Entries(plan)
    prompt = entries.target.index(next(target for target in entries.target if target >= 0))
    truth = [one_by_one(plan, number, easy) for number in numbers]
    samples = [
        Sample(number=number, tokens=given_tokens(plan, number), rows={}, dirty={}, guess={}) for number in numbers
    ]
    passes: list[list[TracedPass]] = [[] for _ in numbers]
    unclean: list[bool] = []
    while any(sample.accepted < entries.count for sample in samples):
        fed = [_fed(entries, sample, max(sample.accepted, prompt) + width, draft, easy) for sample in samples]
        least = min(one.accepted for one in fed)
        for sample, one, right, kept in zip(samples, fed, truth, passes, strict=True):
            if one.first == entries.count:
                continue
            accepted = one.accepted if advance == "own" else least
            _judge(entries, sample, one, right, accepted, unclean)
            kept.append(one._replace(accepted=accepted))
            sample.accepted = accepted
    return Run(
        trace=Trace(
            plan=plan_digest(plan),
            model="hash",
            dtype="int64",
            sampler={"name": "greedy"},
            seed=0,
            guidance=None,
            width=width,
            draft="slot",
            advance=advance,
            samples=tuple(
                sample_trace(sample.number, one, sample.tokens) for sample, one in zip(samples, passes, strict=True)
            ),
        ),
        unclean=tuple(unclean),
    )


def _fed(entries: Entries, sample: Sample, end: int, draft: Draft, easy: int) -> TracedPass:
    """One pass of one sample; its ``accepted`` is what is right of its own."""
    end = min(end, entries.count)
    guesses, chosen = dict[int, int](), dict[int, int]()
    for entry in range(sample.accepted, end):
        source, target = entries.source[entry], entries.target[entry]
        token = int(sample.tokens[source])
        if token < 0:
            token = guesses[source] = sample.guess.get(source, draft(source))
        row = sample.rows[entry] = _row(entries, entry, token, sample.rows)
        if target >= 0:
            chosen[target] = _chosen(row, target, sample.number, easy)
    right = sample.accepted
    while right < end:
        source = entries.source[right]
        if source in guesses and guesses[source] != chosen[source]:
            break
        right += 1
    return TracedPass(sample.accepted, end, guesses, chosen, right)


def _judge(
    entries: Entries, sample: Sample, one: TracedPass, right: NDArray[np.int64], accepted: int, unclean: list[bool]
) -> None:
    """Take what is accepted as known and the rest as guesses; follow what wrong ids have touched."""
    for entry in range(one.first, one.end):
        source, target = entries.source[entry], entries.target[entry]
        touched = any(sample.dirty[other] for other in np.flatnonzero(entries.sees[entry]).tolist() if other != entry)
        if entry < accepted:
            unclean.append(touched)
        sample.dirty[entry] = touched or one.guesses.get(source, right[source]) != right[source]
        if target >= 0 and entry < accepted:
            sample.tokens[target] = one.chosen[target]
        elif target >= 0:
            sample.guess[target] = one.chosen[target]


def oracle(plan: Plan, tokens: NDArray[np.int64], width: int, **fields: Any) -> Trace:
    """The trace of a replay whose guesses were all right, from its tokens, int64 [B, positions]."""
    entries = Entries(plan)
    prompt = entries.target.index(next(target for target in entries.target if target >= 0))
    starts = [0, *range(prompt + width, entries.count, width)]
    samples = []
    for number, own in enumerate(tokens.tolist()):
        known = set(np.flatnonzero(given_tokens(plan) >= 0).tolist())
        passes = []
        for first, end in zip(starts, [*starts[1:], entries.count], strict=True):
            fed, targets = entries.source[first:end], [slot for slot in entries.target[first:end] if slot >= 0]
            guesses = {slot: own[slot] for slot in fed if slot not in known}
            passes.append(TracedPass(first, end, guesses, {slot: own[slot] for slot in targets}, end))
            known.update(targets)
        samples.append(sample_trace(number, passes, own))
    base: dict[str, Any] = {
        "plan": plan_digest(plan), "model": "hash", "dtype": "float32", "sampler": {"name": "greedy"}, "seed": 0,
        "guidance": None, "width": width, "draft": "oracle", "advance": "own",
    }  # fmt: skip
    return Trace(samples=tuple(samples), **(base | fields))
