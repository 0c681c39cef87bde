"""A plan laid out for one model, batch and seed: everything a pass needs lies on the device before step 0.

``forward``, ``choose`` and ``know`` are what a pass is made of, on every runtime.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Array, Cache, Model, Runtime, allowed_ids
from diagplan.backends.arguments import Guidance, branches_of, require_guidance, require_replayable, require_seed
from diagplan.backends.errors import CapacityError, MismatchError, NumericError
from diagplan.backends.given import known_ids, require_choices
from diagplan.backends.memory import estimate_memory
from diagplan.backends.program import PassColumns, program
from diagplan.backends.runtime import STATIC_STEP, runtime_of
from diagplan.backends.sampling import Greedy, Sampler, keys_for
from diagplan.planner.arguments import require_kind
from diagplan.planner.checker import verify_plan
from diagplan.planner.errors import InvalidPlanError
from diagplan.planner.layout import require_int
from diagplan.planner.lowering import pad_steps
from diagplan.planner.masks import Held
from diagplan.planner.plan import Plan

__all__ = [
    "Pass",
    "Prepared",
    "State",
    "choose",
    "forward",
    "know",
    "new_state",
    "not_finite",
    "prepare",
    "require_grid",
    "too_large",
]

#: Passes of few shapes: steps are padded to these widths.
_WIDTHS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)

# Shapes: B samples, n feeds, m of them with a target, L cache slots in use, G given slots, V vocabulary.


class Pass(NamedTuple):
    """One forward pass's inputs, on the device; ``frames`` are complete after it."""

    step: int
    last: bool
    source: Array
    position: Array
    slot: Array
    mask: Array
    rows: Array
    target: Array
    keys: Array
    allowed: tuple[int, int] | Array
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A plan laid out for one model, batch and seed; it can be replayed any number of times.

    Args:
        guidance: scale of classifier-free guidance, or the weight of each branch, or ``None``; with it the batch holds
            the conditional samples, then those of every other branch.
        passes: the plan's passes, in order.
        samples: the number of each sample, int64 [B]; with the seed and the slot it keys the noise.
        given_slots, cell_slots: int64 [G] and [T, h, w].
        static: whether passes have few shapes, as CUDA graphs need.
        chunk: feeds of the widest pass.
    """

    plan: Plan
    model: Model
    runtime: Runtime
    sampler: Sampler
    seed: int
    batch: int
    samples: NDArray[np.int64]
    guidance: float | tuple[float, ...] | None
    passes: tuple[Pass, ...]
    given_slots: NDArray[np.int64]
    cell_slots: NDArray[np.int64]
    static: bool
    chunk: int

    @property
    def cache_slots(self) -> int:
        """Slots of the cache: enough for the longest pass."""
        return max(int(p.mask.shape[1]) for p in self.passes)

    @property
    def rows(self) -> int:
        """Rows of the model's batch: the samples, once for each branch of guidance."""
        return self.batch * branches_of(self.guidance)

    def guided(self, logits: Array) -> Array:
        """The logits of the samples, [B, n, V], from those of all rows."""
        if self.guidance is None:
            return logits
        wide = self.runtime.float32(logits)
        conditional, *others = (wide[first : first + self.batch] for first in range(0, self.rows, self.batch))
        if not isinstance(self.guidance, tuple):
            return others[0] + self.guidance * (conditional - others[0])
        mixed = self.guidance[0] * conditional
        for weight, part in zip(self.guidance[1:], others, strict=True):
            mixed = mixed + weight * part
        return mixed


@dataclass(slots=True, kw_only=True)
class State:
    """A replay between two passes: what is known and what is cached.

    Args:
        tokens: ids of all slots, int64 [rows, positions + 1]; -1 where unknown; the last column is of no use.
        cache: the model's cache.
        done: passes done.
    """

    tokens: Array
    cache: Cache
    done: int = 0


def prepare(
    plan: Plan,
    model: Model,
    *,
    sampler: Sampler | None = None,
    seed: int = 0,
    batch: int = 1,
    samples: Sequence[int] | None = None,
    guidance: Guidance | None = None,
    chunk: int = 512,
    unverified: bool = False,
    static: bool | None = None,
    held: Held | None = None,
) -> Prepared:
    """Lay a plan out on the model's device.

    Args:
        plan: the plan.
        model: the model.
        sampler: how tokens are chosen; greedy by default.
        seed: each sample is keyed by (seed, its number).
        batch: B, samples.
        samples: the number of each sample, B; ``None``: 0 to B - 1. With its number a sample keeps its tokens at any
            place of any batch.
        guidance: scale of classifier-free guidance: logits = unconditional + scale x (conditional - unconditional); or
            the weights of two branches and more: logits = the sum of weight x logits over them (Anole has three).
        chunk: feeds of the widest pass; wider steps (a long prompt) are cut.
        unverified: take the plan as it is, without checking it.
        static: pad steps and cache lengths to few shapes, of which a GPU replays graphs; ``None``: on a GPU.
        held: what the cache holds before step 0, of a plan of a chain (diagplan/backends/chained.py).

    Raises:
        InvalidPlanError: the plan does not verify.
        SpecError: an argument of another kind, a seed out of range, or a scale of guidance that is not finite.
        MismatchError: the plan is longer than the model's position embeddings, or has cells that no id may take.
        CapacityError: too little memory.
    """
    require_replayable(plan, model, sampler)
    chunk, batch = require_int("chunk", chunk, 1), require_int("batch", batch, 1)
    seed = require_seed(seed)
    if static is not None:
        require_kind("static", static, bool, "None: as the device asks.", what="True, False or None")
    if not unverified:
        report = verify_plan(plan, cap=1)
        if not report.ok:
            first = next(d for d in report.diagnostics if d.severity == "error")
            raise InvalidPlanError(
                f"expected a valid plan, got {report.errors} error(s), the first {first.code}: {first.message} "
                "`diagplan verify` lists them."
            )
    if plan.positions > model.positions:
        raise MismatchError(
            f"expected a plan of at most {model.positions} positions for this {model.family} model, got "
            f"positions={plan.positions}. Compile fewer frames, or load a model with a longer context."
        )
    if guidance is not None:
        guidance = require_guidance(guidance)
    numbers = _sample_numbers(samples, batch)
    runtime, rows = runtime_of(model), batch * branches_of(guidance)
    static = runtime.on_gpu if static is None else static
    if static and plan.trash_slot is None and not len(plan.listed):
        plan = pad_steps(plan, _WIDTHS)
    length_step = STATIC_STEP if static else runtime.length_step
    try:
        laid_out = list(program(plan, chunk=chunk, length_step=length_step, held=held))
        frames = _complete_after(plan, laid_out)
        keys = keys_for(np.full(batch, seed, dtype=np.int64), numbers, np.arange(plan.positions))
        ranges = allowed_ids(model.vocabulary, plan.layout)
        require_choices(ranges, plan)
        passes = tuple(
            _laid_out(columns, runtime, keys, ranges, tuple(frames.get(i, ()))) for i, columns in enumerate(laid_out)
        )
    except (RuntimeError, MemoryError) as error:
        raise too_large(error, plan, model, rows, chunk) from None
    return Prepared(
        plan=plan,
        model=model,
        runtime=runtime,
        sampler=sampler or Greedy(),
        seed=seed,
        batch=batch,
        samples=numbers,
        guidance=guidance,
        passes=passes,
        given_slots=np.concatenate([np.arange(start, end, dtype=np.int64) for start, end in plan.given.tolist()]),
        cell_slots=plan.layout.cell_slots().astype(np.int64),
        static=static,
        chunk=chunk,
    )


def _sample_numbers(samples: Sequence[int] | None, batch: int) -> NDArray[np.int64]:
    if samples is None:
        return np.arange(batch)
    require_kind("samples", samples, Sequence | np.ndarray, "Give the number of each sample, such as [0, 1].")
    if len(samples) != batch:
        raise MismatchError(f"expected the numbers of {batch} sample(s), got {len(samples)}. Give each its own.")
    return np.array([require_int("samples", number, 0) for number in samples], dtype=np.int64)


def require_grid(plan: Plan, model: Model) -> None:
    """Raise ``MismatchError`` where a model's position embeddings are made for another grid than a plan's.

    ``prepare`` does not ask: any model can be taken through any plan, its tokens then mean nothing.
    """
    layout, grid = plan.layout, model.grid
    if grid is not None and tuple(grid) != (layout.rows, layout.cols, layout.between_frames):
        raise MismatchError(
            f"expected a plan of {grid.rows} x {grid.cols} tokens a frame and {grid.between_frames} between frames, "
            f"for which this {model.family} model's positions are made, got {layout.rows} x {layout.cols} and "
            f"{layout.between_frames}. Compile a plan for the model's layout."
        )


def _complete_after(plan: Plan, passes: list[PassColumns]) -> dict[int, list[int]]:
    """The generated frames that are complete after each pass."""
    chosen_in = np.zeros(plan.positions, dtype=np.int64)
    for i, columns in enumerate(passes):
        chosen_in[columns.target] = i
    frames: dict[int, list[int]] = {}
    for frame, last in enumerate(chosen_in[plan.layout.cell_slots()].max(axis=(1, 2)).tolist()):
        frames.setdefault(last, []).append(frame)
    return frames


def _laid_out(
    columns: PassColumns,
    runtime: Runtime,
    keys: NDArray[np.int64],
    ranges: NDArray[np.int64],
    frames: tuple[int, ...],
) -> Pass:
    own = ranges[columns.target]
    one_range = len(own) and (own == own[0]).all()
    return Pass(
        columns.step,
        columns.last,
        runtime.put(columns.source),
        runtime.put(columns.position),
        runtime.put(columns.slot),
        runtime.put(columns.mask),
        runtime.put(columns.rows),
        runtime.put(columns.target),
        runtime.put(keys[:, columns.target]),
        (int(own[0, 0]), int(own[0, 1])) if one_range else runtime.put(own),
        frames,
    )


def too_large(error: Exception, plan: Plan, model: Model, rows: int, chunk: int) -> Exception:
    """A ``CapacityError`` with the estimate where an error says that there is too little memory, else the error."""
    text = str(error).lower()
    if not isinstance(error, MemoryError) and not any(word in text for word in ("memory", "failed to allocate")):
        return error
    return CapacityError(
        f"expected room on {model.device} for at least {estimate_memory(model, plan, rows, chunk=chunk)}, for {rows} "
        "row(s) of batch, got an out-of-memory error. Take a smaller batch or chunk, fewer frames, or dtype bfloat16."
    )


def new_state(prepared: Prepared, given: Array, *, cache: Cache | None = None, slots: int = 0) -> State:
    """The state before step 0.

    Args:
        prepared: from ``prepare``.
        given: ids of the given slots in slot order, int [rows, G] (under guidance the conditional samples first, then
            each other branch's).
        cache: with room for ``prepared.cache_slots``, to go on with; ``None``: a new one.
        slots: of a new cache, at least; others may go on with it that need more.

    Raises:
        MismatchError: another shape, or ids outside the vocabulary.
        CapacityError: too little memory for the cache.
    """
    plan, model, runtime = prepared.plan, prepared.model, prepared.runtime
    ids = known_ids(given, model)
    expected = (prepared.rows, len(prepared.given_slots))
    if ids.shape != expected:
        raise MismatchError(f"expected given ids of shape {list(expected)}, got {list(ids.shape)}.")
    try:
        tokens = np.full((prepared.rows, plan.positions + 1), -1, dtype=np.int64)
        tokens[:, prepared.given_slots] = ids
        if cache is None:
            cache = model.new_cache(prepared.rows, max(slots, prepared.cache_slots))
        return State(tokens=runtime.put(tokens), cache=cache)
    except (RuntimeError, MemoryError) as error:
        raise too_large(error, plan, model, prepared.rows, prepared.chunk) from None


def forward(prepared: Prepared, state: State, p: Pass) -> Array | None:
    """One pass: the logits of its targets, guidance applied, [B, m, V]; ``None`` where it has none.

    Raises:
        NumericError: logits that are not finite.
    """
    ids = state.tokens[:, p.source]
    logits = prepared.model.forward(ids, p.position, p.slot, p.mask, state.cache, p.rows)
    if not len(p.rows):
        return None
    logits = prepared.guided(logits)
    if not prepared.runtime.all_finite(logits):
        raise not_finite(p.step)
    return logits


def choose(prepared: Prepared, p: Pass, logits: Array) -> Array:
    """The ids that a pass chooses, int64 [B, m]."""
    return prepared.runtime.choose(logits, prepared.sampler, p.keys, p.allowed)


def know(prepared: Prepared, state: State, p: Pass, chosen: Array) -> None:
    """Put down what a pass chose; under guidance all branches go on with the same ids."""
    for first in range(0, prepared.rows, prepared.batch):
        state.tokens[first : first + prepared.batch, p.target] = chosen


def not_finite(step: int) -> NumericError:
    """The error of a pass whose logits are not finite."""
    return NumericError(
        f"expected finite logits, got NaN or infinity at step {step}. Check the weights, or load them as float32."
    )
