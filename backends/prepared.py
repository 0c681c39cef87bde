"""A plan laid out for one model, batch and seed: everything a pass needs lies on the device before step 0.

``forward``, ``choose`` and ``know`` are what a pass is made of, on every runtime.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import (
    Array,
    Cache,
    Model,
    Runtime,
    allowed_ids,
    coordinates_of,
    lead_width_of,
)
from diagplan.backends.arguments import require_replayable, require_seeds, require_valid
from diagplan.backends.errors import CapacityError, MismatchError, NumericError
from diagplan.backends.given import known_ids, on_host, plan_given_slots, require_choices
from diagplan.backends.guidance import Guidance, Guided
from diagplan.backends.memory import estimate_memory
from diagplan.backends.pads import keys_of, pads_of
from diagplan.backends.passes import Layer, Pass, complete_after
from diagplan.backends.program import program
from diagplan.backends.runtime import STATIC_STEP, runtime_of
from diagplan.backends.sampling import Greedy, Sampler
from diagplan.planner.arguments import require_kind
from diagplan.planner.chain import Continued
from diagplan.planner.layout import require_int
from diagplan.planner.lowering import pad_steps
from diagplan.planner.plan import Plan
from diagplan.planner.shown import shown
from diagplan.planner.speculation import Speculation

__all__ = [
    "STATIC_WIDTHS",
    "Batched",
    "Pass",
    "Prepared",
    "State",
    "checked_ids",
    "choose",
    "embeddings_of",
    "forward",
    "know",
    "new_state",
    "not_finite",
    "prepare",
    "require_fits",
    "require_grid",
    "sample_numbers",
    "too_large",
]

#: Passes of few shapes: steps are padded to these widths.
STATIC_WIDTHS = (1, 2, 4, 8, 12, 16, 24, 32, 48, 64, 96, 128)

# Shapes: B samples, n feeds, m of them with a target, L cache slots in use, G given slots, V vocabulary.


class Batched(Protocol):
    """What a plan laid out for a model says of its batch, however it is executed."""

    @property
    def model(self) -> Model: ...  # noqa: D102
    @property
    def runtime(self) -> Runtime: ...  # noqa: D102
    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def given_slots(self) -> NDArray[np.int64]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A plan laid out for one model, batch and seed; it can be replayed any number of times.

    Args:
        mix: how the rows of the batch become its samples; under guidance rows are the conditional samples, then those
            of every other branch.
        pad: padding of each row, int64 [rows]; ``None``: there is none.
        passes: the plan's passes, in order.
        seed: of all samples, or of each.
        samples: the number of each sample, int64 [B]; with the seed and the slot it keys the noise.
        given_slots, cell_slots: int64 [G] and [T, h, w].
        static: whether passes have few shapes, as CUDA graphs need.
        chunk: feeds of the widest pass.
    """

    plan: Plan
    model: Model
    runtime: Runtime
    sampler: Sampler
    seed: int | tuple[int, ...]
    batch: int
    samples: NDArray[np.int64]
    mix: Guided
    pad: NDArray[np.int64] | None
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
        return self.mix.rows


@dataclass(slots=True, kw_only=True)
class State:
    """A replay between two passes: what is known and what is cached.

    Args:
        tokens: ids of all slots, int64 [rows, positions + 1]; -1 where unknown; the last column is of no use.
        cache: the model's cache.
        lead: embeddings that are fed in the place of ids, [rows, P, width]; ``None``: there are none.
        done: passes done.
        static: what runs passes of fixed shapes for this state, once one did.
    """

    tokens: Array
    cache: Cache
    lead: Array | None = None
    done: int = 0
    static: Any = None


def prepare(
    plan: Plan,
    model: Model,
    *,
    sampler: Sampler | None = None,
    seed: int | Sequence[int] = 0,
    batch: int = 1,
    samples: Sequence[int] | None = None,
    guidance: Guidance | None = None,
    guided_steps: tuple[int, int | None] | None = None,
    pad: Sequence[int] | None = None,
    chunk: int = 512,
    unverified: bool = False,
    static: bool | None = None,
    part: Continued | None = None,
) -> Prepared:
    """Lay a plan out on the model's device.

    Args:
        plan: the plan.
        model: the model.
        sampler: how tokens are chosen; greedy by default.
        seed: each sample is keyed by (seed, its number); one for all, or B of them.
        batch: B, samples.
        samples: the number of each sample, B; ``None``: 0 to B - 1. With its number a sample keeps its tokens at any
            place of any batch.
        guidance: scale of classifier-free guidance: logits = unconditional + scale x (conditional - unconditional); or
            the weights of two branches and more: logits = the sum of weight x logits over them (Anole has three).
        guided_steps: the plan's steps with guidance, first and end (``None``: the last); all of them by default. In all
            others conditional logits stand alone.
        pad: positions at the beginning that are padding, of each of B samples, or of each row where branches of
            guidance have prompts of other lengths. A padded sample gets the tokens it would get alone.
        chunk: feeds of the widest pass; wider steps (a long prompt) are cut.
        unverified: take the plan as it is, without checking it.
        static: pad steps and cache lengths to few shapes, of which a GPU replays graphs; ``None``: on a GPU.
        part: what the cache holds before step 0, and the layouts before, where the plan is one of a chain.

    Raises:
        InvalidPlanError: the plan does not verify.
        SpecError: an argument of another kind, a seed out of range, or a scale of guidance that is not finite.
        MismatchError: seeds for another number of samples; the plan is longer than the model's position embeddings, or
            has cells that no id may take; or padding that leaves nothing of a prompt, or that the model cannot hide.
        CapacityError: too little memory.
    """
    require_replayable(plan, model, sampler)
    chunk, batch = require_int("chunk", chunk, 1), require_int("batch", batch, 1)
    seeds = require_seeds(seed, batch)
    if static is not None:
        require_kind("static", static, bool, "None: as the device asks.", what="True, False or None")
    require_fits(plan, model, unverified=unverified)
    mix = Guided.of(batch, guidance, guided_steps)
    numbers = sample_numbers(samples, batch)
    runtime, rows = runtime_of(model), mix.rows
    pads = pads_of(plan, model, pad, batch, rows)
    static = runtime.on_gpu if static is None else static
    if static and plan.trash_slot is None and not len(plan.listed):
        plan = pad_steps(plan, STATIC_WIDTHS)
    length_step = STATIC_STEP if static else runtime.length_step
    try:
        held, before = (None, ()) if part is None else (part.held, part.before)
        laid_out = list(program(plan, chunk=chunk, length_step=length_step, held=held))
        frames = complete_after(plan, laid_out)
        keys = keys_of(seeds, numbers, plan.positions, pads)
        ranges = allowed_ids(model.vocabulary, plan.layout)
        require_choices(ranges, plan)
        layer = Layer(runtime, keys, ranges, coordinates_of(model, *before, plan.layout), pads, held)
        passes = tuple(layer.laid_out(laid_out, frames))
    except (RuntimeError, MemoryError) as error:
        raise too_large(error, plan, model, rows, chunk) from None
    return Prepared(
        plan=plan,
        model=model,
        runtime=runtime,
        sampler=sampler or Greedy(),
        seed=seeds,
        batch=batch,
        samples=numbers,
        mix=mix,
        pad=pads,
        passes=passes,
        given_slots=plan_given_slots(plan),
        cell_slots=plan.layout.cell_slots().astype(np.int64),
        static=static,
        chunk=chunk,
    )


def require_fits(plan: Plan, model: Model, *, unverified: bool) -> None:
    """Raise ``InvalidPlanError`` unless a plan verifies, ``MismatchError`` where it is too long for a model.

    Args:
        plan: the plan.
        model: the model.
        unverified: take the plan as it is.
    """
    if not unverified:
        require_valid(plan)
    if plan.positions > model.positions:
        raise MismatchError(
            f"expected a plan of at most {model.positions} positions for this {model.family} model, got "
            f"positions={plan.positions}. Compile fewer frames, or load a model with a longer context."
        )


def sample_numbers(samples: Sequence[int] | None, batch: int) -> NDArray[np.int64]:
    """The number of each sample, int64 [B].

    Raises:
        SpecError, MismatchError: no whole numbers, or another count.
    """
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


def too_large(
    error: Exception, plan: Plan, model: Model, rows: int, chunk: int, speculation: Speculation | None = None
) -> Exception:
    """A ``CapacityError`` with the estimate where an error says that there is too little memory, else the error."""
    text = str(error).lower()
    if not isinstance(error, MemoryError) and not any(word in text for word in ("memory", "failed to allocate")):
        return error
    needed = estimate_memory(model, plan, rows, chunk=chunk, speculation=speculation)
    window = "" if speculation is None else "a narrower window, "
    return CapacityError(
        f"expected room on {model.device} for at least {needed}, for {rows} row(s) of batch, got an out-of-memory "
        f"error. Take a smaller batch or chunk, {window}fewer frames, or dtype bfloat16."
    )


def new_state(
    prepared: Prepared, given: Array, lead: Array | None = None, *, cache: Cache | None = None, slots: int = 0
) -> State:
    """The state before step 0.

    Args:
        prepared: from ``prepare``.
        given: ids of the given slots in slot order, int [rows, G] (under guidance the conditional samples first, then
            each other branch's).
        lead: embeddings, float [rows, P, width]: a given id of -1 - i stands for embedding i of its row.
        cache: with room for ``prepared.cache_slots``, to go on with; ``None``: a new one.
        slots: of a new cache, at least; others may go on with it that need more.

    Raises:
        MismatchError: another shape, ids outside the vocabulary, or embeddings that the model does not take.
        CapacityError: too little memory for the cache.
    """
    ids, embedded = checked_ids(prepared, given, lead)
    plan, model, runtime = prepared.plan, prepared.model, prepared.runtime
    try:
        tokens = np.full((prepared.rows, plan.positions + 1), -1, dtype=np.int64)
        tokens[:, prepared.given_slots] = ids
        if cache is None:
            cache = model.new_cache(prepared.rows, max(slots, prepared.cache_slots))
        return State(tokens=runtime.put(tokens), cache=cache, lead=embedded)
    except (RuntimeError, MemoryError) as error:
        raise too_large(error, plan, model, prepared.rows, prepared.chunk) from None


def checked_ids(prepared: Batched, given: Array, lead: Array | None) -> tuple[NDArray[np.int64], Array | None]:
    """Given ids, int64 [rows, G], and embeddings as the model takes them; arguments and errors as for ``new_state``."""
    embedded = None if lead is None else embeddings_of(prepared, lead)
    ids = known_ids(given, prepared.model, 0 if embedded is None else embedded.shape[1])
    expected = (prepared.rows, len(prepared.given_slots))
    if ids.shape != expected:
        raise MismatchError(f"expected given ids of shape {list(expected)}, got {list(ids.shape)}.")
    return ids, embedded


def embeddings_of(prepared: Batched, lead: Array) -> Array:
    """Embeddings as the model takes them, [rows, P, width].

    Raises:
        MismatchError: embeddings of another shape, not finite, or of a model that takes ids alone.
    """
    model, width = prepared.model, lead_width_of(prepared.model)
    if width is None:
        raise MismatchError(f"expected ids alone for a {model.family} model, got embeddings. Leave lead out.")
    shape = tuple(lead.shape)
    if len(shape) != 3 or shape[::2] != (prepared.rows, width):
        raise MismatchError(f"expected embeddings of shape [{prepared.rows}, P, {width}], got {shown(list(shape))}.")
    if isinstance(model.dtype, np.dtype):
        held: Array = prepared.runtime.put(on_host(lead).astype(model.dtype))
    else:
        import torch

        held = torch.as_tensor(lead).to(model.device, model.dtype)
    if not prepared.runtime.all_finite(held):
        raise MismatchError("expected finite embeddings, got NaN or infinity. Compute them again in float32.")
    return held


def forward(prepared: Prepared, state: State, p: Pass) -> Array | None:
    """One pass: the logits of its targets, guidance applied, [B, m, V]; ``None`` where it has none.

    Raises:
        NumericError: logits that are not finite.
    """
    ids = state.tokens[:, p.source]
    lead = () if state.lead is None else (state.lead,)
    logits = prepared.model.forward(ids, p.position, p.slot, p.seen, state.cache, p.rows, *lead)
    if not len(p.rows):
        return None
    logits = prepared.mix.logits(logits, p.step, prepared.runtime)
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
