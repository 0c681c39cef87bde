"""What the checker of traces derives from a plan and a trace. Shares no code with what replays, on purpose.

A set of slots is never expanded pass by pass: a window as wide as the plan would make that quadratic. Two numbers of
every slot say it all: the entry that chooses its token, and the first one that feeds it.
"""

from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.plan import Plan
from diagplan.planner.trace import Trace

__all__ = ["Entries", "TraceFacts"]

Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]


class Entries:
    """A valid plan's real feeds in the order of (step, position), and what follows for its slots.

    Attributes:
        count: N.
        step, target: of every entry, int64 [N].
        step_end: the entries up to the end of each one's step, int64 [N].
        decider: the entry that chooses each slot's token, -1 for given slots, int64 [positions].
        first_use: the first entry that feeds each slot's token, N for none, int64 [positions].
        prompt: entries before the first that chooses a token.
        targets_before: entries with a target among the first i, int64 [N + 1].
    """

    def __init__(self, plan: Plan) -> None:
        step = np.repeat(np.arange(plan.steps), np.diff(plan.step_offsets))
        order = np.lexsort((plan.position, step))
        order = order[plan.source[order] >= 0]
        self.count = len(order)
        self.step: Int64 = step[order]
        self.target: Int64 = plan.target[order].astype(np.int64)
        self.step_end: Int64 = np.searchsorted(self.step, self.step, side="right")
        chooses = np.flatnonzero(self.target >= 0)
        self.decider: Int64 = np.full(plan.positions, -1, dtype=np.int64)
        self.decider[self.target[chooses]] = chooses
        self.first_use: Int64 = np.full(plan.positions, self.count, dtype=np.int64)
        np.minimum.at(self.first_use, plan.source[order], np.arange(self.count))
        self.prompt = int(chooses[0])  # a valid plan chooses something, in step 0 already
        self.targets_before: Int64 = np.concatenate([[0], np.cumsum(self.target >= 0)])

    def most_passes(self, width: int) -> int:
        """The sum over all steps of their entries over ``width``, rounded up; the prompt's do not count."""
        widths = np.bincount(self.step)
        widths[0] -= self.prompt
        return int((-(-widths // width)).sum())


class TraceFacts:
    """Derived columns of one trace, each computed once when first asked for. DT100 must hold before most are.

    All samples' passes stand one behind the other, P in all, and so do their guesses and what they chose.
    """

    def __init__(self, plan: Plan, trace: Trace) -> None:
        self.plan, self.trace = plan, trace

    @cached_property
    def entries(self) -> Entries:
        """The plan's."""
        return Entries(self.plan)

    def _joined(self, name: str) -> Int64:
        return np.concatenate([getattr(sample, name) for sample in self.trace.samples])

    @cached_property
    def sample(self) -> Int64:
        """The sample of every pass, [P]."""
        return np.repeat(np.arange(len(self.trace.samples)), [one.passes for one in self.trace.samples])

    @cached_property
    def number(self) -> Int64:
        """The number of every pass within its sample, [P]."""
        return np.concatenate([np.arange(one.passes) for one in self.trace.samples])

    @cached_property
    def first(self) -> Int64:
        """[P]."""
        return self._joined("first")

    @cached_property
    def end(self) -> Int64:
        """[P]."""
        return self._joined("end")

    @cached_property
    def accepted(self) -> Int64:
        """[P]."""
        return self._joined("accepted")

    @cached_property
    def before(self) -> Int64:
        """What was accepted before every pass, [P]."""
        shifted = np.concatenate([[0], self.accepted[:-1]])[: len(self.accepted)]
        shifted[self.number == 0] = 0
        return shifted

    def _pass_of(self, name: str) -> Int64:
        counts = [np.diff(getattr(one, f"{name}_offsets")) for one in self.trace.samples]
        return np.repeat(np.arange(len(self.first)), np.concatenate(counts))

    @cached_property
    def guess_pass(self) -> Int64:
        """The pass of every guess, [G]."""
        return self._pass_of("guess")

    @cached_property
    def guess_slot(self) -> Int64:
        """[G]."""
        return self._joined("guess_slot")

    @cached_property
    def chosen_pass(self) -> Int64:
        """The pass of everything that was chosen, [C]."""
        return self._pass_of("chosen")

    @cached_property
    def chosen_slot(self) -> Int64:
        """[C]."""
        return self._joined("chosen_slot")

    @cached_property
    def chosen_id(self) -> Int64:
        """[C]."""
        return self._joined("chosen_id")

    def key(self, at: Int64, slot: Int64) -> Int64:
        """One number for a pass and a slot."""
        return at * self.plan.positions + slot

    @cached_property
    def right(self) -> Int64:
        """How far each sample's entries are right after every pass: up to the first that was fed a wrong id, [P]."""
        keys = self.key(self.chosen_pass, self.chosen_slot)
        order = np.argsort(keys)
        place = order[np.searchsorted(keys, self.key(self.guess_pass, self.guess_slot), sorter=order)]
        wrong = np.flatnonzero(self._joined("guess_id") != self.chosen_id[place])
        right = self.end.copy()
        np.minimum.at(right, self.guess_pass[wrong], self.entries.first_use[self.guess_slot[wrong]])
        return right

    @cached_property
    def due(self) -> Int64:
        """What must be accepted after every pass, [P]: ``right``, or the least of the batch."""
        if self.trace.advance == "own":
            return self.right
        return np.tile(self.right.reshape(len(self.trace.samples), -1).min(axis=0), len(self.trace.samples))
