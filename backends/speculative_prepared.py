"""A plan laid out for speculative replay with one model, batch and seed; the state of such a replay."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Array, Cache, Model, Runtime, allowed_ids, coordinates_of, is_ragged
from diagplan.backends.arguments import require_replayable, require_seeds
from diagplan.backends.given import batched, plan_given_slots, require_choices
from diagplan.backends.guidance import Guidance, Guided
from diagplan.backends.pads import keys_of, pads_of
from diagplan.backends.prepared import Prepared, checked_ids, require_fits, sample_numbers, too_large
from diagplan.backends.prepared import prepare as prepare_plan
from diagplan.backends.runtime import runtime_of
from diagplan.backends.sampling import Greedy, Sampler
from diagplan.backends.shifted_noise import moved, targets_of
from diagplan.backends.speculative_columns import Columns, columns_of, few_lengths, spare_rows
from diagplan.backends.window import Window, feeds_of, widths_of_window
from diagplan.planner.arguments import require_kind
from diagplan.planner.drafts import draft_plan, draft_sources
from diagplan.planner.layout import Int32, require_int
from diagplan.planner.plan import Plan
from diagplan.planner.speculation import (
    Speculation,
    deciders,
    frame_borders,
    plan_entries,
    prompt_entries,
    widest_step,
)
from diagplan.planner.training_plan import TrainingPlan

__all__ = [
    "PreparedSpeculation",
    "SpeculativeState",
    "new_state",
    "prepare",
    "restarted",
    "shifted",
]

Ids = NDArray[np.int64]

# Shapes: B samples, G of them that advance on their own (B, or 1), N entries, S steps of the plan, V vocabulary.


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedSpeculation:
    """A plan laid out for speculative replay with one model, batch and seed; it can be replayed any number of times.

    Args:
        plan, model, runtime, sampler, seed, batch, samples, mix, pad, given_slots, cell_slots, chunk: as of
            ``diagplan.backends.prepared.Prepared``.
        speculation: how it is replayed.
        entries: the plan's entries.
        columns: the same on the device.
        order: per slot the entry that chooses it, -1 for a given one, int32 [positions].
        drafts: per slot the slot of its first guess, int32 [positions].
        drafter: the plan that is replayed first, for first guesses; ``None``: there is none.
        borders: entries behind which a window does not reach over; the last is N.
        finals: per generated frame, in the order in which they are complete, the entries it takes and its number.
        prompt: entries before the first that chooses.
        widths: of passes, in entries, rising.
        own: whether samples advance on their own.
        length_step: cache lengths are multiples of so many rows.
        keys: of the noise, int64 [B, positions + 2].
        allowed: ids that may be chosen, or those of each slot, int64 [positions + 2, 2].
        branch: the sample of each row of the batch, int64 [rows].
        shift: slots by which its noise is moved on, in a window of a longer video; 0: it is a video's beginning.
    """

    plan: Plan
    model: Model
    runtime: Runtime
    sampler: Sampler
    seed: int | tuple[int, ...]
    batch: int
    samples: Ids
    mix: Guided
    pad: Ids | None
    given_slots: Ids
    cell_slots: Ids
    chunk: int
    speculation: Speculation
    entries: TrainingPlan
    columns: Columns
    order: Int32
    drafts: Int32
    drafter: Prepared | None
    borders: NDArray[np.intp]
    finals: tuple[tuple[int, int], ...]
    prompt: int
    widths: tuple[int, ...]
    own: bool
    length_step: int
    keys: Array
    allowed: tuple[int, int] | Array
    branch: Array
    shift: int = 0

    @property
    def rows(self) -> int:
        """Rows of the model's batch: the samples, once for each branch of guidance."""
        return self.mix.rows

    @property
    def cache_slots(self) -> int:
        """Rows of the cache."""
        return len(self.columns.rows)


@dataclass(slots=True, kw_only=True)
class SpeculativeState:
    """A speculative replay between two passes.

    Args:
        tokens: ids of all slots, int64 [rows, positions + 2]: given, accepted, or guessed. The last column but one is
            of no use, the last is 0.
        cache: the model's cache; rows of entries that are not accepted hold anything.
        lead: as of ``diagplan.backends.prepared.State``.
        accepted: entries that are accepted, int64 [G].
        fed: entries up to which targets have guesses, int64 [G].
        window: the width of the next pass.
        passes: done.
        careful: up to this entry passes feed one step each.
        graphed: what runs the model's passes as CUDA graphs for this state, once one did.
    """

    tokens: Array
    cache: Cache
    lead: Array | None
    accepted: Ids
    fed: Ids
    window: Window
    passes: int = 0
    careful: int = 0
    graphed: Any = None


def prepare(
    plan: Plan,
    model: Model,
    speculation: Speculation,
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
    own: bool | None = None,
) -> PreparedSpeculation:
    """Lay a plan out on the model's device.

    Args:
        plan: the plan.
        model: the model.
        speculation: how it is replayed.
        sampler: as for ``diagplan.backends.prepared.prepare``, and so on to ``unverified``.
        seed: likewise.
        batch: likewise.
        samples: likewise.
        guidance: likewise.
        guided_steps: likewise.
        pad: likewise.
        chunk: feeds of the widest pass over a long prompt; windows may be wider.
        unverified: likewise.
        own: whether samples advance on their own; ``None``: where the model is ragged. Else all wait for the slowest.

    Raises:
        SpecError: an argument of another kind; a plan that lists mask rows.
        InvalidPlanError, MismatchError, CapacityError: as ``diagplan.backends.prepared.prepare``.
    """
    require_replayable(plan, model, sampler)
    require_kind("speculation", speculation, Speculation, "Give Speculation(window=...).")
    chunk, batch = require_int("chunk", chunk, 1), require_int("batch", batch, 1)
    seeds = require_seeds(seed, batch)
    require_fits(plan, model, unverified=unverified)
    entries = plan_entries(plan)
    first = draft_plan(plan, speculation)
    mix, numbers, runtime = Guided.of(batch, guidance, guided_steps), sample_numbers(samples, batch), runtime_of(model)
    pads = pads_of(plan, model, pad, batch, mix.rows)
    window = min(speculation.window, entries.entries)
    order, step = deciders(entries), few_lengths(runtime)
    cells = plan.layout.cell_slots().astype(np.int64)
    finals = sorted((int(last) + 1, frame) for frame, last in enumerate(order[cells].max(axis=(1, 2))))
    borders = np.zeros(0, dtype=np.intp) if speculation.across_frames else frame_borders(plan, entries)
    ranges = allowed_ids(model.vocabulary, plan.layout)
    require_choices(ranges, plan)
    own_ranges = ranges[cells.ravel()]
    one_range = bool((own_ranges == own_ranges[0]).all())
    try:
        return PreparedSpeculation(
            plan=plan,
            model=model,
            runtime=runtime,
            sampler=sampler or Greedy(),
            seed=seeds,
            batch=batch,
            samples=numbers,
            mix=mix,
            pad=pads,
            given_slots=plan_given_slots(plan),
            cell_slots=cells,
            chunk=chunk,
            speculation=speculation,
            entries=entries,
            columns=columns_of(
                entries,
                runtime,
                coordinates_of(model, plan.layout),
                spare=spare_rows(feeds_of(window)),
                length_step=step,
            ),
            order=order,
            drafts=draft_sources(plan, entries, speculation),
            drafter=None if first is None else prepare_plan(
                first, model, sampler=sampler, seed=seed, batch=batch, samples=samples, guidance=guidance, pad=pad,
                chunk=chunk,
            ),
            borders=np.append(borders, entries.entries),
            finals=tuple(finals),
            prompt=prompt_entries(entries),
            widths=widths_of_window(window, widest_step(entries), adaptive=speculation.adaptive),
            own=batch > 1 and (is_ragged(model) if own is None else own),
            length_step=step,
            keys=_keys(runtime, seeds, numbers, plan.positions, pads, 0),
            allowed=(int(ranges[cells[0, 0, 0], 0]), int(ranges[cells[0, 0, 0], 1]))
            if one_range
            else runtime.put(np.concatenate([ranges, np.tile([[0, model.vocab_size]], (2, 1))])),
            branch=runtime.put(np.arange(mix.rows) % batch),
        )  # fmt: skip
    except (RuntimeError, MemoryError) as error:
        raise too_large(error, plan, model, mix.rows, chunk, speculation) from None


def _keys(
    runtime: Runtime, seed: int | tuple[int, ...], samples: Ids, positions: int, pads: Ids | None, by: int
) -> Array:
    """The keys of slots ``by`` further on, counted from the first that is no padding, int64 [B, positions + 2]."""
    keys = keys_of(seed, samples, positions, pads, by)
    return runtime.put(np.pad(keys, ((0, 0), (0, 2))))


def shifted(prepared: PreparedSpeculation, by: int) -> PreparedSpeculation:
    """The same with the noise of slots ``by`` further on, as windows of one video need it."""
    first = prepared.drafter
    return replace(
        prepared,
        drafter=None if first is None else moved(first, targets_of(first), by),
        keys=_keys(prepared.runtime, prepared.seed, prepared.samples, prepared.plan.positions, prepared.pad, by),
        shift=by,
    )


def new_state(
    prepared: PreparedSpeculation,
    given: Array,
    lead: Array | None = None,
    *,
    guesses: NDArray[np.integer[Any]] | None = None,
) -> SpeculativeState:
    """The state before the first pass.

    Args:
        prepared: from ``prepare``.
        given: as for ``diagplan.backends.prepared.new_state``.
        lead: likewise.
        guesses: first guesses of all tokens, int [T, h, w] or [B, T, h, w], instead of drafts: what another, quicker
            plan gave, say.

    Raises:
        MismatchError: another shape, ids outside the vocabulary, or embeddings that the model does not take.
        CapacityError: too little memory for the cache.
    """
    plan, runtime = prepared.plan, prepared.runtime
    ids, embedded = checked_ids(prepared, given, lead)
    tokens = np.zeros((prepared.rows, plan.positions + 2), dtype=np.int64)
    tokens[:, prepared.given_slots] = ids
    groups = prepared.batch if prepared.own else 1
    mean_step = (prepared.entries.entries - prepared.prompt) / prepared.entries.steps
    fed = np.zeros(groups, dtype=np.int64)
    if guesses is not None:
        layout = plan.layout
        first = batched("guesses", guesses, (layout.frames, layout.rows, layout.cols))
        first = first.clip(0, prepared.model.vocab_size - 1)
        for at in range(0, prepared.rows, prepared.batch):
            tokens[at : at + prepared.batch, prepared.cell_slots] = first
        fed[:] = prepared.entries.entries
    try:
        return SpeculativeState(
            tokens=runtime.put(tokens),
            cache=prepared.model.new_cache(prepared.rows, prepared.cache_slots),
            lead=embedded,
            accepted=np.zeros(groups, dtype=np.int64),
            fed=fed,
            window=Window(prepared.widths, mean_step),
        )
    except (RuntimeError, MemoryError) as error:
        raise too_large(error, plan, prepared.model, prepared.rows, prepared.chunk, prepared.speculation) from None


def restarted(prepared: PreparedSpeculation, state: SpeculativeState, given: Array) -> SpeculativeState:
    """The state before the first pass, in the cache of a state of the same plan that is done with, whose graphs stay.

    Args:
        prepared: of the same plan, model and batch; its noise may have moved.
        state: whose cache is overwritten.
        given: as for ``new_state``.

    Raises:
        MismatchError, CapacityError: as ``new_state``.
    """
    fresh = new_state(prepared, given)
    if state.graphed is not None:
        # Rows that nobody writes are zero in both caches; all others are written before they are seen.
        fresh.cache, fresh.graphed = state.cache, state.graphed
    return fresh
