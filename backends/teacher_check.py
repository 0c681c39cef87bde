"""Are these tokens the model's? One teacher-forced pass over the training plan derives every token anew.

It keeps one row of keys and values an entry, feeds the true ids, and shares nothing with what replays: no passes, no
acceptance, no cache slots of the plan. What a replay chose, step by step or by speculation, must be what the sampler
chooses from these logits with the same noise, but for near-ties: the same row of logits differs in its last bits in
passes of other widths. So each token's shortfall is reported (``diagplan.backends.shortfall``).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Array, allowed_ids, coordinates_of
from diagplan.backends.errors import MismatchError
from diagplan.backends.given import on_host
from diagplan.backends.pads import keys_of
from diagplan.backends.prepared import Prepared, embeddings_of, new_state, not_finite, too_large
from diagplan.backends.shortfall import shortfalls
from diagplan.planner.arguments import require_number
from diagplan.planner.errors import SpecError
from diagplan.planner.rounding import rounded_up
from diagplan.planner.shown import shown
from diagplan.planner.training_plan import TrainingPlan, training_plan, visible

__all__ = ["Shortfall", "TeacherCheck", "joined", "near_tie", "teacher_check"]

Ints = NDArray[np.int64]

# Shapes: B samples, R rows (B for each branch of guidance), n entries of a pass, m of them with a target, N in all.


class Shortfall(NamedTuple):
    """A token that is not the first choice.

    Attributes:
        sample: its place in the batch. slot: of the sequence.
        token: what was chosen. best: what the sampler chooses from these logits.
        shortfall: of the token against ``best``, in units of the logits.
    """

    sample: int
    slot: int
    token: int
    best: int
    shortfall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherCheck:
    """What a teacher-forced pass says of some tokens.

    Args:
        eps: what counts as a near-tie.
        tokens: generated tokens that were derived anew.
        first: how many of them are exactly what the sampler chooses.
        largest: the largest shortfall; ``None``: there is none.
        above: all above ``eps``, the largest first.
    """

    eps: float
    tokens: int
    first: int
    largest: Shortfall | None
    above: tuple[Shortfall, ...]

    @property
    def ok(self) -> bool:
        """Whether every token is the model's, near-ties allowed."""
        return not self.above

    def __str__(self) -> str:
        most = 0.0 if self.largest is None else self.largest.shortfall
        if self.ok:
            return (
                f"checked: {self.first} of {self.tokens} tokens are the first choice of a teacher-forced pass, the "
                f"largest shortfall is {most:.1e} (near-ties: up to {self.eps:g})"
            )
        return (
            f"not the model's tokens: {len(self.above)} of {self.tokens} fall short of the first choice of a "
            f"teacher-forced pass by more than {self.eps:g}, the most by {most:.1e}, of sample {self.above[0].sample}, "
            f"slot {self.above[0].slot}"
        )


def joined(checks: Sequence[TeacherCheck]) -> TeacherCheck:
    """What several checks say together, of different tokens."""
    worst = [one.largest for one in checks if one.largest is not None]
    above = [short for one in checks for short in one.above]
    return TeacherCheck(
        eps=checks[0].eps,
        tokens=sum(one.tokens for one in checks),
        first=sum(one.first for one in checks),
        largest=max(worst, key=lambda one: one.shortfall, default=None),
        above=tuple(sorted(above, key=lambda one: -one.shortfall)),
    )


def near_tie(dtype: Any) -> float:
    """The largest shortfall that passes of other widths explain: 1e-3 where logits have float32's bits, else 0.5.

    >>> near_tie("torch.float32"), near_tie("torch.bfloat16")
    (0.001, 0.5)
    """
    return 1e-3 if str(dtype).endswith(("float32", "float64")) else 0.5


def teacher_check(
    prepared: Prepared,
    given: Array,
    tokens: Array,
    *,
    lead: Array | None = None,
    eps: float | None = None,
    by: int = 0,
) -> TeacherCheck:
    """Derive the tokens of a replay anew, and say by how much any of them is not the first choice.

    Args:
        prepared: what was replayed: the plan, the model, the sampler, seed and numbers of the samples, guidance, pads.
        given: ids of the given slots, as for ``new_state``.
        tokens: of the generated frames, int [B, T, h, w], as ``replay`` returns them, whatever executor chose them.
        lead: embeddings, as for ``new_state``.
        eps: what counts as a near-tie; by default ``near_tie`` of the model's dtype.
        by: slots of a video before the plan's, whose noise they have; slots are told with them.

    Raises:
        MismatchError: arrays of other shapes, or ids that the model does not have.
        SpecError: the plan lists mask rows.
        NumericError: logits that are not finite; names the step.
        CapacityError: too little memory.
    """
    eps = near_tie(prepared.model.dtype) if eps is None else require_number("eps", eps, "Give one, such as 0.001.")
    if not eps >= 0:
        raise SpecError(f"expected eps >= 0, got eps={shown(eps)}. 0 asks for the first choice.")
    ids = _ids(prepared, given, tokens, lead)
    plan = _in_order(training_plan(prepared.plan))
    try:
        with prepared.runtime.inference():
            parts = list(_judged(prepared, plan, ids, lead, by))
    except (RuntimeError, MemoryError) as error:
        rows, chunk = prepared.rows, prepared.chunk
        raise too_large(error, prepared.plan, prepared.model, rows, chunk) from None
    slots, short, best = (np.concatenate(column, axis=-1) for column in zip(*parts, strict=True))
    return _report(eps, ids[: prepared.batch], slots, short, best, by)


def _ids(prepared: Prepared, given: Array, tokens: Array, lead: Array | None) -> Ints:
    """The ids of all slots of all rows, int64 [R, positions]."""
    plan, model, cells = prepared.plan, prepared.model, on_host(tokens)
    shape = (prepared.batch, *prepared.cell_slots.shape)
    if cells.dtype.kind not in "iu" or cells.shape != shape:
        raise MismatchError(
            f"expected tokens as integers of shape {list(shape)}, got {cells.dtype} of {list(cells.shape)}."
        )
    if not 0 <= cells.min() <= cells.max() < model.vocab_size:
        raise MismatchError(
            f"expected tokens from 0 to {model.vocab_size - 1}, got {cells.min()} to {cells.max()}. "
            "Check a replay that is complete, on the model that was replayed."
        )
    ids = np.array(prepared.runtime.numpy(new_state(prepared, given, lead).tokens), dtype=np.int64)[:, : plan.positions]
    for first in range(0, prepared.rows, prepared.batch):
        ids[first : first + prepared.batch, prepared.cell_slots] = cells
    return ids


def _in_order(plan: TrainingPlan) -> TrainingPlan:
    """The entries in the order of (step, position), so that whoever is seen comes earlier."""
    order = np.lexsort((plan.position, plan.step))
    names = ("step", "source", "position", "slot", "target", "until", "hidden")
    return replace(plan, **{name: getattr(plan, name)[order] for name in names})


def _judged(
    prepared: Prepared, plan: TrainingPlan, ids: Ints, lead: Array | None, by: int
) -> Iterator[tuple[Any, Any, Any]]:
    """In parts the slots [m], and of every sample their shortfalls and first choices, [B, m]."""
    model, runtime, batch = prepared.model, prepared.runtime, prepared.batch
    empty, step = len(plan.unwritten), runtime.length_step
    slots = rounded_up(plan.columns, step)
    cache = model.new_cache(prepared.rows, slots)
    table = coordinates_of(model, prepared.plan.layout)
    ranges = allowed_ids(model.vocabulary, prepared.plan.layout)
    keys = keys_of(prepared.seed, prepared.samples, plan.positions, prepared.pad, by)
    more = () if lead is None else (embeddings_of(prepared, lead),)
    for first in range(0, plan.entries, prepared.chunk):
        last = min(first + prepared.chunk, plan.entries)
        length = min(slots, rounded_up(empty + last, step))
        position = plan.position[first:last].astype(np.int64)
        rows = np.flatnonzero(plan.target[first:last] >= 0)
        logits = model.forward(
            runtime.put(ids[:, plan.source[first:last]]),
            runtime.put(_placed(prepared, position, table)),
            runtime.put(np.arange(empty + first, empty + last)),
            runtime.put(_seen(prepared, plan, first, last, length)),
            cache,
            runtime.put(rows),
            *more,
        )
        if not len(rows):
            continue
        steps = plan.step[first:last][rows].astype(np.int64)
        logits = prepared.mix.logits(logits, runtime.put(steps), runtime)
        if not runtime.all_finite(logits):
            raise not_finite(int(steps[0]))
        if not str(model.dtype).endswith("float64"):
            logits = runtime.float32(logits)
        target = plan.target[first:last][rows]
        flat = np.asarray(runtime.numpy(logits)).reshape(batch * len(rows), -1)
        short, best = shortfalls(
            flat,
            ids[:batch, target].ravel(),
            prepared.sampler,
            keys[:, target].ravel(),
            np.tile(ranges[target], (batch, 1)),
        )
        yield target, short.reshape(batch, -1), best.reshape(batch, -1)


def _placed(prepared: Prepared, position: Ints, table: NDArray[np.int64] | None) -> Ints:
    """Positions as the model takes them."""
    if table is not None:
        return np.asarray(table[position])
    return position if prepared.pad is None else np.maximum(position - prepared.pad[:, None], 0)


def _seen(prepared: Prepared, plan: TrainingPlan, first: int, last: int, length: int) -> NDArray[np.bool_]:
    """The mask of some entries over the empty slots and then the entries, bool [n, L]; with pads [R, n, L]."""
    empty, seen = len(plan.unwritten), visible(plan, first, last)
    mask = np.zeros((last - first, length), dtype=np.bool_)
    mask[:, :empty] = seen[:, plan.entries :]
    mask[:, empty : empty + last] = seen[:, :last]
    if prepared.pad is None:
        return mask
    held = np.zeros(length, dtype=np.int64)
    held[: empty + last] = np.concatenate([plan.unwritten, plan.position[:last]])
    padded = mask & (held >= prepared.pad[:, None])[:, None]
    own = np.arange(last - first)
    padded[:, own, empty + first + own] = True
    return padded


def _report(eps: float, ids: Ints, slots: Ints, short: NDArray[np.float64], best: Ints, by: int) -> TeacherCheck:
    def named(sample: int, at: int) -> Shortfall:
        slot = int(slots[at])
        return Shortfall(sample, slot + by, int(ids[sample, slot]), int(best[sample, at]), float(short[sample, at]))

    worst = np.unravel_index(int(short.argmax()), short.shape)
    above = [named(*place) for place in np.argwhere(~(short <= eps)).tolist()]
    return TeacherCheck(
        eps=eps,
        tokens=short.size,
        first=int(np.count_nonzero(best == ids[:, slots])),
        largest=named(int(worst[0]), int(worst[1])) if short[worst] > 0 else None,
        above=tuple(sorted(above, key=lambda one: -one.shortfall)),
    )
