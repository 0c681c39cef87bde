"""Replay on eager PyTorch: everything a pass needs lies on the device before step 0; the loop keeps no books."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagplan.adapters.contract import Cache, Model
from diagplan.backends.errors import CapacityError, MismatchError, NumericError
from diagplan.backends.memory import estimate_memory
from diagplan.backends.program import PassColumns, program
from diagplan.backends.sampling import Greedy, Sampler, keys_for, torch_choose
from diagplan.backends.torch_graphs import LENGTH_STEP, WIDTHS, StaticPasses
from diagplan.planner.checker import verify_plan
from diagplan.planner.errors import InvalidPlanError, SpecError
from diagplan.planner.lowering import pad_steps
from diagplan.planner.plan import Plan

__all__ = ["Pass", "Prepared", "Replayed", "State", "new_state", "prepare", "replay"]

_ALIGNED = 64  # attention kernels like aligned lengths

# Shapes: B samples, n feeds, m of them with a target, L cache slots in use, G given slots, V vocabulary.


class Pass(NamedTuple):
    """One forward pass's inputs on the device; ``frames`` are complete after it."""

    step: int
    last: bool
    source: Tensor
    position: Tensor
    slot: Tensor
    mask: Tensor
    rows: Tensor
    target: Tensor
    keys: Tensor
    allowed: tuple[int, int] | Tensor
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A plan laid out for one model, batch and seed; it can be replayed any number of times.

    Args:
        guidance: scale of classifier-free guidance, or ``None``; with it the batch holds the conditional samples and
            then the unconditional ones.
        passes: the plan's passes, in order.
        given_slots, cell_slots: int64 [G] and [T, h, w].
        static: whether passes have few shapes and run as CUDA graphs (see torch_graphs.py).
    """

    plan: Plan
    model: Model
    sampler: Sampler
    seed: int
    batch: int
    guidance: float | None
    passes: tuple[Pass, ...]
    given_slots: Tensor
    cell_slots: Tensor
    static: bool

    @property
    def cache_slots(self) -> int:
        """Slots of the cache: enough for the longest pass."""
        return max(p.mask.shape[1] for p in self.passes)

    @property
    def rows(self) -> int:
        """Rows of the model's batch: twice the samples under guidance."""
        return self.batch * (1 if self.guidance is None else 2)

    def guided(self, logits: Tensor) -> Tensor:
        """The logits of the samples, [B, n, V], from those of all rows."""
        if self.guidance is None:
            return logits
        conditional, unconditional = logits.float().chunk(2)
        return unconditional + self.guidance * (conditional - unconditional)

    def doubled(self, chosen: Tensor) -> Tensor:
        """The chosen ids for all rows."""
        return chosen if self.guidance is None else chosen.repeat(2, 1)


@dataclass(slots=True, kw_only=True)
class State:
    """A replay between two passes: what is known and what is cached.

    Args:
        tokens: ids of all slots, int64 [rows, positions + 1]; -1 where unknown; the last column is of no use.
        cache: the model's cache.
        done: passes done.
    """

    tokens: Tensor
    cache: Cache
    done: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The outcome of a replay.

    Args:
        tokens: int64 [B, T, h, w]; -1 where a replay was cancelled before.
        steps: plan steps done in all.
        complete: whether that is all of them.
        seconds: of this call's passes.
        pass_seconds: of each pass (on a GPU the time to launch it).
    """

    tokens: Tensor
    steps: int
    complete: bool
    seconds: float
    pass_seconds: tuple[float, ...]


def prepare(
    plan: Plan,
    model: Model,
    *,
    sampler: Sampler | None = None,
    seed: int = 0,
    batch: int = 1,
    guidance: float | None = None,
    chunk: int = 512,
    unverified: bool = False,
    static: bool | None = None,
) -> Prepared:
    """Lay a plan out on the model's device.

    Args:
        plan: the plan.
        model: the model.
        sampler: how tokens are chosen; greedy by default.
        seed: sample i of the batch is keyed by (seed, i).
        batch: B, samples.
        guidance: scale of classifier-free guidance: logits = unconditional + scale x (conditional - unconditional).
        chunk: feeds of the widest pass; wider steps (a long prompt) are cut.
        unverified: take the plan as it is, without checking it.
        static: pad steps and cache lengths to few shapes and, on CUDA, replay graphs; ``None``: on CUDA.

    Raises:
        InvalidPlanError: the plan does not verify.
        MismatchError: the plan is longer than the model's position embeddings.
        CapacityError: too little memory.
    """
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
    if not 0 <= seed < 1 << 63:
        raise SpecError(f"expected 0 <= seed < 2**63, got seed={seed}. Give another seed.")
    static = model.device.type == "cuda" if static is None else static
    if static and plan.trash_slot is None and not len(plan.listed):
        plan = pad_steps(plan, WIDTHS)
    length_step = LENGTH_STEP if static else _ALIGNED
    samples, seeds = np.arange(batch), np.full(batch, seed, dtype=np.int64)
    try:
        laid_out = list(program(plan, chunk=chunk, length_step=length_step))
        ready_after = _last_passes(plan, laid_out)
        passes = tuple(
            _on_device(columns, model, plan, seeds, samples, tuple(np.flatnonzero(ready_after == i).tolist()))
            for i, columns in enumerate(laid_out)
        )
    except (RuntimeError, MemoryError) as error:
        raise _too_large(error, plan, model, batch) from None
    given = np.concatenate([np.arange(start, end) for start, end in plan.given.tolist()])
    return Prepared(
        plan=plan,
        model=model,
        sampler=sampler or Greedy(),
        seed=seed,
        batch=batch,
        guidance=guidance,
        passes=passes,
        given_slots=_put(given, model),
        cell_slots=_put(plan.layout.cell_slots().astype(np.int64), model),
        static=static,
    )


def _put(array: NDArray[np.integer] | NDArray[np.bool_], model: Model) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(model.device)


def _last_passes(plan: Plan, passes: list[PassColumns]) -> NDArray[np.int64]:
    """The pass after which each generated frame is complete, int64 [T]."""
    chosen_in = np.zeros(plan.positions, dtype=np.int64)
    for i, columns in enumerate(passes):
        chosen_in[columns.target] = i
    return np.asarray(chosen_in[plan.layout.cell_slots()].max(axis=(1, 2)))


def _on_device(
    columns: PassColumns,
    model: Model,
    plan: Plan,
    seeds: NDArray[np.int64],
    samples: NDArray[np.int64],
    frames: tuple[int, ...],
) -> Pass:
    ranges = model.allowed_ids(plan.layout, columns.target)
    allowed: tuple[int, int] | Tensor = (0, model.vocab_size)
    if len(ranges):
        same = (ranges == ranges[0]).all()
        allowed = (int(ranges[0, 0]), int(ranges[0, 1])) if same else _put(ranges, model)
    return Pass(
        columns.step,
        columns.last,
        _put(columns.source, model),
        _put(columns.position, model),
        _put(columns.slot, model),
        _put(columns.mask, model),
        _put(columns.rows, model),
        _put(columns.target, model),
        _put(keys_for(seeds, samples, columns.target), model),
        allowed,
        frames,
    )


def _too_large(error: Exception, plan: Plan, model: Model, batch: int) -> Exception:
    text = str(error).lower()
    if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "memory" not in text:
        return error
    return CapacityError(
        f"expected room on {model.device} for at least {estimate_memory(model, plan, batch)}, for {batch} row(s) of "
        "batch, got an out-of-memory error. Take a smaller batch, fewer frames, or dtype bfloat16."
    )


def new_state(prepared: Prepared, given: NDArray[np.integer] | Tensor) -> State:
    """The state before step 0.

    Args:
        prepared: from ``prepare``.
        given: ids of the given slots in slot order, int [rows, G] (conditional samples first under guidance).

    Raises:
        MismatchError: another shape, or ids outside the vocabulary.
        CapacityError: too little memory for the cache.
    """
    plan, model = prepared.plan, prepared.model
    ids = torch.as_tensor(given).to(torch.int64)
    expected = (prepared.rows, len(prepared.given_slots))
    if tuple(ids.shape) != expected:
        raise MismatchError(f"expected given ids of shape {list(expected)}, got {list(ids.shape)}.")
    if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < model.vocab_size:
        raise MismatchError(
            f"expected given ids from 0 to {model.vocab_size - 1}, got {int(ids.min())} to {int(ids.max())}. "
            "Image and action ids must be those of this model's vocabulary."
        )
    try:
        tokens = torch.full((prepared.rows, plan.positions + 1), -1, dtype=torch.int64, device=model.device)
        tokens.index_copy_(1, prepared.given_slots, ids.to(model.device))
        return State(tokens=tokens, cache=model.new_cache(prepared.rows, prepared.cache_slots))
    except (RuntimeError, MemoryError) as error:
        raise _too_large(error, plan, model, prepared.rows) from None


@torch.inference_mode()
def replay(
    prepared: Prepared,
    state: State,
    *,
    on_step: Callable[[int, State], None] | None = None,
    on_frame: Callable[[int, Tensor], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Replayed:
    """Replay from a state to the end.

    Args:
        prepared: from ``prepare``.
        state: from ``new_state`` or a checkpoint; it is advanced in place.
        on_step: called after each step with its number and the state (checkpoints are taken here).
        on_frame: called with the number and the tokens, int64 [B, h, w], of each frame as soon as it is complete.
        cancelled: asked after each step; if true the replay ends there.

    Raises:
        NumericError: logits that are not finite; names the step.
        CapacityError: too little memory.
    """
    times: list[float] = []
    begin = time.perf_counter()
    plan = prepared.plan
    step = prepared.passes[state.done - 1].step if state.done else -1
    on_cuda = prepared.model.device.type == "cuda"
    static = StaticPasses(prepared, state, capture=on_cuda) if prepared.static else None
    for p in prepared.passes[state.done :]:
        before = time.perf_counter()
        try:
            if static is None:
                _advance(prepared, state, p)
            else:
                static.advance(state.done)
        except (RuntimeError, MemoryError) as error:
            raise _too_large(error, plan, prepared.model, prepared.rows) from None
        if static is not None and (p.frames or p is prepared.passes[-1]):
            _require_finite(static)
        state.done += 1
        step = p.step
        times.append(time.perf_counter() - before)
        if on_frame is not None:
            for frame in p.frames:
                on_frame(frame, state.tokens[: prepared.batch, prepared.cell_slots[frame]])
        if p.last:
            if on_step is not None:
                on_step(step, state)
            if cancelled is not None and cancelled():
                break
    tokens = state.tokens[: prepared.batch, prepared.cell_slots]
    return Replayed(
        tokens=tokens,
        steps=step + 1,
        complete=state.done == len(prepared.passes),
        seconds=time.perf_counter() - begin,
        pass_seconds=tuple(times),
    )


def _advance(prepared: Prepared, state: State, p: Pass) -> None:
    """One pass."""
    ids = state.tokens.index_select(1, p.source)
    logits = prepared.model.forward(ids, p.position, p.slot, p.mask, state.cache, p.rows)
    if not len(p.rows):
        return
    logits = prepared.guided(logits)
    if not torch.isfinite(logits).all():
        raise _not_finite(p.step)
    chosen = torch_choose(logits, prepared.sampler, p.keys, p.allowed)
    state.tokens.index_copy_(1, p.target, prepared.doubled(chosen))


def _require_finite(static: StaticPasses) -> None:
    step = static.failed_step()
    if step is not None:
        raise _not_finite(step)


def _not_finite(step: int) -> NumericError:
    return NumericError(
        f"expected finite logits, got NaN or infinity at step {step}. Check the weights, or load them as float32."
    )
