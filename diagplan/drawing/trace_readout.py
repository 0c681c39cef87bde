"""What a trace says, read for people: which tokens each pass fed, accepted and guessed wrong, each cell's pass.

It is read from plan and trace alone, and the trace need not be valid: what is wrong with it is said.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.checker import verify_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.trace import Trace
from diagplan.planner.trace_checker import check_trace

__all__ = ["Fate", "TraceReadout", "read_trace_out"]

#: Passes times tokens that are looked at.
_MOST = 1 << 26


class Fate(IntEnum):
    """What a pass made of a token."""

    NOT_FED = 0  # no entry that chooses it was fed
    FIRST = 1  # it was chosen, and no guess of it was fed in this pass
    WRONG = 2  # its guess was not what was chosen
    BEHIND = 3  # its guess was right, but stood behind a wrong one
    ACCEPTED = 4
    CORRECTED = 5  # accepted though its guess was wrong: the last one of a pass


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceReadout:
    """One sample of a trace, by generated tokens in the order in which the plan chooses them.

    Args:
        plan, trace: what was read.
        sample: its place in the batch.
        fates: a ``Fate`` for every pass and token, uint8 [P, M].
        cell: of every token the raster index of its cell, int64 [M].
        passes: the pass that accepted each cell, int32 [T, h, w]; -1: none.
        problems: what is wrong with the trace, one sentence each.
    """

    plan: Plan
    trace: Trace
    sample: int
    fates: NDArray[np.uint8]
    cell: NDArray[np.int64]
    passes: NDArray[np.int32]
    problems: tuple[str, ...]

    @property
    def count(self) -> int:
        """P."""
        return len(self.fates)

    @property
    def tokens_a_pass(self) -> float:
        """The mean of the tokens that a pass accepted."""
        return len(self.cell) / max(1, self.count)

    def by_cell(self, number: int) -> NDArray[np.uint8]:
        """The fates of pass ``number``, [T, h, w]."""
        fates = np.zeros(self.passes.size, dtype=np.uint8)
        fates[self.cell] = self.fates[number]
        return fates.reshape(self.passes.shape)


def read_trace_out(plan: Plan, trace: Trace, sample: int = 0) -> TraceReadout:
    """Read one sample of a trace.

    Args:
        plan: the plan, valid.
        trace: of a speculative replay of it.
        sample: its place in the batch.

    Raises:
        SpecError: a plan that is not valid, a trace whose numbers are not of this plan, one with no such sample, or one
            that is too large to be drawn.
    """
    if not 0 <= sample < len(trace.samples):
        raise SpecError(f"expected a sample from 0 to {len(trace.samples) - 1}, got sample={sample}.")
    if not verify_plan(plan, cap=1).ok:
        raise SpecError("expected a valid plan for a trace, got one with errors. `diagplan verify` lists them.")
    report = check_trace(plan, trace, cap=1)
    malformed = [one.message for one in report.diagnostics if one.code == "DT100"]
    if malformed:
        raise SpecError(f"expected a trace of this plan: {malformed[0]} `diagplan verify-trace` lists all.")
    step = np.repeat(np.arange(plan.steps), np.diff(plan.step_offsets))
    order = np.lexsort((plan.position, step))
    target = plan.target[order[plan.source[order] >= 0]]
    chosen_before = np.concatenate([[0], np.cumsum(target >= 0)])  # of entries the tokens chosen before
    target = target[target >= 0]
    rank = np.full(plan.positions, -1, dtype=np.int64)
    rank[target] = np.arange(len(target))
    one = trace.samples[sample]
    if one.passes * len(target) > _MOST:
        raise SpecError(f"expected passes x tokens <= {_MOST} in a picture, got {one.passes} x {len(target)}.")
    fates = np.zeros((one.passes, len(target)), dtype=np.uint8)
    for number in range(one.passes):
        first, end, accepted = (int(chosen_before[at[number]]) for at in (one.first, one.end, one.accepted))
        row = fates[number]
        row[first:end] = Fate.FIRST
        row[first:accepted] = Fate.ACCEPTED
        guess, chosen = (_pairs(one, name, number, rank) for name in ("guess", "chosen"))
        wrong = np.full(len(target), -1, dtype=np.int64)
        wrong[chosen[0]] = chosen[1]
        for at, token in zip(*guess, strict=True):
            right = wrong[at] == token
            if row[at] == Fate.ACCEPTED:
                row[at] = Fate.ACCEPTED if right else Fate.CORRECTED
            else:
                row[at] = Fate.BEHIND if right else Fate.WRONG
    cell_of = np.full(plan.positions, -1, dtype=np.int64)
    cell_of[plan.layout.cell_slots().ravel()] = np.arange(plan.layout.tokens)
    passes = np.full(plan.layout.tokens, -1, dtype=np.int32)
    by, token = np.nonzero(fates >= Fate.ACCEPTED)
    passes[cell_of[target[token]]] = by
    problems = tuple(f"{code}, {count} time(s)" for code, count in sorted(report.counts.items()))
    return TraceReadout(
        plan=plan,
        trace=trace,
        sample=sample,
        fates=fates,
        cell=cell_of[target],
        passes=passes.reshape(plan.layout.frames, plan.layout.rows, plan.layout.cols),
        problems=problems,
    )


def _pairs(one: object, name: str, number: int, rank: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ranks and ids of a pass' guesses, or of what it chose; ids of given slots are left out."""
    part = slice(*getattr(one, f"{name}_offsets")[number : number + 2].tolist())
    at = rank[getattr(one, f"{name}_slot")[part]]
    return at[at >= 0], getattr(one, f"{name}_id")[part][at >= 0]
