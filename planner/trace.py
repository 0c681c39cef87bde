"""The trace of a speculative replay: what each of its passes fed, guessed, chose and accepted, as read-only columns.

A plan's real feeds, in the order of (step, position), are its *entries* 0 to N - 1. A pass feeds a run of them. Where
the token of an entry's source is not known yet, a guess goes in; the longest prefix that was fed right tokens is
accepted (docs/exact.md). A trace does nothing; ``diagplan.planner.trace_checker`` judges it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.values import ByValue, as_column

__all__ = ["Advance", "SampleTrace", "Trace", "TracedPass", "sample_trace"]

Advance = Literal["own", "slowest"]
Int64 = NDArray[np.int64]


class TracedPass(NamedTuple):
    """One pass of one sample.

    Attributes:
        first, end: the entries that were fed, ``first`` to ``end - 1``.
        guesses: slot -> the id fed for it, of all sources among them that were not known.
        chosen: slot -> the id chosen, of all their targets.
        accepted: entries that are accepted after the pass, counted from entry 0.
    """

    first: int
    end: int
    guesses: Mapping[int, int]
    chosen: Mapping[int, int]
    accepted: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SampleTrace(ByValue):
    """The P passes of one sample; those of one ``Trace`` may differ in number.

    Args:
        number: of the sample; with the seed and the slot it keys the noise.
        first, end, accepted: of each pass, as in ``TracedPass``, int64 [P].
        guess_offsets: the guesses of pass p are ``guess_offsets[p] : guess_offsets[p + 1]``, int64 [P + 1].
        guess_slot, guess_id: int64 [G].
        chosen_offsets, chosen_slot, chosen_id: the same for what was chosen, int64 [P + 1] and [C].
        tokens: the id of every slot at the end, -1 where none was chosen, int64 [positions].
    """

    number: int
    first: Int64
    end: Int64
    accepted: Int64
    guess_offsets: Int64
    guess_slot: Int64
    guess_id: Int64
    chosen_offsets: Int64
    chosen_slot: Int64
    chosen_id: Int64
    tokens: Int64

    def __post_init__(self) -> None:
        for name in self.__slots__[1:]:
            object.__setattr__(self, name, as_column(getattr(self, name), np.int64))

    @property
    def passes(self) -> int:
        """P."""
        return len(self.first)

    def traced(self, number: int) -> TracedPass:
        """Pass ``number`` by itself."""
        guesses = slice(*self.guess_offsets[number : number + 2].tolist())
        chosen = slice(*self.chosen_offsets[number : number + 2].tolist())
        return TracedPass(
            first=int(self.first[number]),
            end=int(self.end[number]),
            guesses=dict(zip(self.guess_slot[guesses].tolist(), self.guess_id[guesses].tolist(), strict=True)),
            chosen=dict(zip(self.chosen_slot[chosen].tolist(), self.chosen_id[chosen].tolist(), strict=True)),
            accepted=int(self.accepted[number]),
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trace(ByValue):
    """A speculative replay of a batch.

    Args:
        plan: the digest of the plan.
        model: the fingerprint of the model.
        dtype: of its weights and logits.
        sampler: ``{"name": "greedy"}``, or ``"sample"`` with ``temperature``, ``top_k``, ``top_p``, ``crossing`` and
            ``min_p``.
        seed: keys the noise, with a sample's number and the slot.
        guidance: the scale of classifier-free guidance, the weights of its branches, or ``None``.
        guided_steps: the plan's steps that are guided, first and end; ``None``: all.
        width: the most entries of a pass, the prompt's not counted.
        narrowest: where windows change in width, the least of them; ``None``: they are all of ``width``.
        draft: the name of the policy that gives first guesses.
        draft_passes: of the plan that gave first guesses; ``passes`` has those that came after.
        advance: ``"own"``: each sample accepts what is right of its own; ``"slowest"``: all as much as the
            one with least.
        samples: in the order of the batch.
    """

    plan: str
    model: str
    dtype: str
    sampler: Mapping[str, Any]
    seed: int
    guidance: float | tuple[float, ...] | None
    width: int
    draft: str
    advance: Advance
    samples: tuple[SampleTrace, ...]
    narrowest: int | None = None
    guided_steps: tuple[int, int | None] | None = None
    draft_passes: int = 0

    def __hash__(self) -> int:
        return hash((Trace, self.plan, self.model, self.seed, self.width, self.samples))

    @property
    def passes(self) -> int:
        """The passes of the batch: those of its longest sample."""
        return max((sample.passes for sample in self.samples), default=0)


def sample_trace(number: int, passes: Iterable[TracedPass], tokens: Sequence[int] | NDArray[Any]) -> SampleTrace:
    """One sample's columns from its passes; guesses and what was chosen may be pairs too.

    >>> one = sample_trace(0, [TracedPass(0, 2, {3: 7}, {3: 9, 4: 1}, 1)], [5, 5, 5, 9, -1])
    >>> one.guess_slot.tolist(), one.chosen_id.tolist(), one.traced(0).accepted
    ([3], [9, 1], 1)
    """
    listed = list(passes)

    def ids(name: str) -> dict[str, Int64]:
        parts: list[dict[int, int]] = [dict(getattr(one, name)) for one in listed]
        return {
            "offsets": np.cumsum([0, *map(len, parts)], dtype=np.int64),
            "slot": np.array(list(chain.from_iterable(parts)), dtype=np.int64),
            "id": np.array(list(chain.from_iterable(part.values() for part in parts)), dtype=np.int64),
        }

    guessed, chosen = ids("guesses"), ids("chosen")
    return SampleTrace(
        number=number,
        first=np.array([one.first for one in listed], dtype=np.int64),
        end=np.array([one.end for one in listed], dtype=np.int64),
        accepted=np.array([one.accepted for one in listed], dtype=np.int64),
        **{f"guess_{name}": column for name, column in guessed.items()},
        **{f"chosen_{name}": column for name, column in chosen.items()},
        tokens=np.asarray(tokens, dtype=np.int64),
    )
