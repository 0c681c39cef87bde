"""Speculative replay: the tokens of a plan, replayed in passes that feed many of its steps at once with guesses.

Noise is keyed by (seed, sample, slot), so a slot's token is a function of its logits: a guess is the token, or it is
not. A pass feeds a run of entries (``diagplan.planner.speculation``), the longest prefix that was fed right tokens is
accepted, what the pass chose behind it are the next guesses. The mirror of ``diagplan.backends.replay``: ``prepare``,
``new_state``, ``replay``.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import ranks_of
from diagplan.backends.agreement import require_agreement
from diagplan.backends.arguments import require_callbacks
from diagplan.backends.prepared import too_large
from diagplan.backends.speculative_draft import guess_by_plan
from diagplan.backends.speculative_passes import Passes
from diagplan.backends.speculative_prepared import (
    PreparedSpeculation,
    SpeculativeState,
    new_state,
    prepare,
    restarted,
    shifted,
)
from diagplan.planner.errors import SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.speculation import Speculation
from diagplan.planner.trace import Trace, TracedPass, sample_trace
from diagplan.schemas.convert import plan_digest

__all__ = [
    "PreparedSpeculation",
    "Progress",
    "Speculated",
    "SpeculativeState",
    "draft_name",
    "new_state",
    "prepare",
    "progress_of",
    "replay",
    "restarted",
    "shifted",
    "trace_of",
]

Ids = NDArray[np.int64]


class Progress(NamedTuple):
    """How far a replay is; of samples that advance on their own, the last of them.

    Attributes:
        passes: done.
        steps: of the plan, wholly accepted.
        tokens: accepted, of one sample.
        accepted: entries accepted, of each sample or of all, int64 [G].
    """

    passes: int
    steps: int
    tokens: int
    accepted: Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Speculated:
    """The outcome of a speculative replay.

    Args:
        tokens: int64 [B, T, h, w]; -1 where a replay was cancelled before.
        passes: of this call, those of a draft's plan among them; the prompt's chunks belong to the first.
        accepted: the tokens that each pass accepted, the mean of the samples, float64 [passes].
        feeds: of each pass, padding and the prompt included, int64 [passes].
        retaken: passes taken again with one step, because guesses had led to logits that are not finite.
        complete: whether every entry is accepted.
        seconds: of this call's passes.
        pass_seconds: of each pass.
        traces: of each sample what every pass did, a draft's plan apart; ``None`` unless asked for.
        drafted: the passes of a draft's plan, which are the first; they accept nothing.
    """

    tokens: Ids
    passes: int
    accepted: NDArray[np.float64]
    feeds: Ids
    retaken: int
    complete: bool
    seconds: float
    pass_seconds: tuple[float, ...]
    traces: tuple[tuple[TracedPass, ...], ...] | None
    drafted: int = 0


def replay(
    prepared: PreparedSpeculation,
    state: SpeculativeState,
    *,
    on_pass: Callable[[Progress], None] | None = None,
    on_frame: Callable[[int, Ids], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    trace: bool = False,
) -> Speculated:
    """Replay from a state to the end.

    Args:
        prepared: from ``prepare``.
        state: from ``new_state``; it is advanced in place.
        on_pass: called after each pass.
        on_frame: called with the number and the tokens, int64 [B, h, w], of each frame as soon as they are final.
        cancelled: asked after each pass; if true the replay ends there.
        trace: whether to put down what every pass did.

    Raises:
        NumericError: logits that are not finite; names the step.
        CapacityError: too little memory.
        RanksError: a model that is spread over ranks, of which one has other tokens; names the frame.
    """
    require_callbacks(on_frame=on_frame, on_pass=on_pass, cancelled=cancelled)
    entries, cells = prepared.entries, prepared.cell_slots
    tokens_before = np.concatenate([[0], np.cumsum(entries.target >= 0)])  # accepted entries -> accepted tokens
    passes = Passes(prepared, state, trace=trace)
    due = [frame for frame in prepared.finals if frame[0] > int(state.accepted.min())]
    times: list[float] = []
    accepted: list[float] = []
    begin = time.perf_counter()

    def told() -> None:
        if on_pass is not None:
            on_pass(progress_of(prepared, state))

    spread = ranks_of(prepared.model) is not None
    if spread:
        require_agreement(prepared.model, "given ids", prepared.runtime.numpy(state.tokens))
    drafted = guess_by_plan(prepared, state, on_pass=told, cancelled=cancelled)
    if drafted is not None:
        assert prepared.drafter is not None
        times += drafted.pass_seconds
        accepted += [0.0] * len(times)
        passes.feeds += [int(p.source.shape[0]) for p in prepared.drafter.passes[: len(times)]]
    least, known = int(state.accepted.min()), int(tokens_before[state.accepted].sum())
    with prepared.runtime.inference():
        while (drafted is None or drafted.complete) and least < entries.entries:
            before = time.perf_counter()
            try:
                passes.advance()
            except (RuntimeError, MemoryError) as error:
                model, rows = prepared.model, prepared.rows
                raise too_large(error, prepared.plan, model, rows, prepared.chunk, prepared.speculation) from None
            times.append(time.perf_counter() - before)
            least, had, known = int(state.accepted.min()), known, int(tokens_before[state.accepted].sum())
            accepted.append((known - had) / len(state.accepted))
            if spread:  # what is accepted decides what the next pass feeds
                what = f"entries accepted in pass {state.passes}, of frame {due[0][1]}"
                require_agreement(prepared.model, what, state.accepted)
            while (spread or on_frame is not None) and due and due[0][0] <= least:
                frame = due.pop(0)[1]
                tokens = prepared.runtime.numpy(state.tokens)[: prepared.batch, cells[frame]]
                require_agreement(prepared.model, f"tokens of frame {frame}", tokens)
                if on_frame is not None:
                    on_frame(frame, tokens)
            told()
            if cancelled is not None and cancelled():
                break
    tokens = prepared.runtime.numpy(state.tokens)[: prepared.batch, cells]
    final = prepared.order[cells] < state.accepted[:, None, None, None]
    return Speculated(
        tokens=np.where(final, tokens, -1),
        passes=len(times),
        accepted=np.array(accepted, dtype=np.float64),
        feeds=np.array(passes.feeds, dtype=np.int64),
        retaken=passes.retaken,
        complete=bool((state.accepted == entries.entries).all()),
        seconds=time.perf_counter() - begin,
        pass_seconds=tuple(times),
        traces=None if passes.traces is None else tuple(map(tuple, passes.traces)),
        drafted=0 if drafted is None else len(drafted.pass_seconds),
    )


def progress_of(prepared: PreparedSpeculation, state: SpeculativeState) -> Progress:
    """How far a state is."""
    entries, least = prepared.entries, int(state.accepted.min())
    steps = entries.steps if least == entries.entries else int(entries.step[least])
    tokens = int(np.count_nonzero(entries.target[:least] >= 0))
    return Progress(state.passes, steps, tokens, state.accepted.copy())


def draft_name(speculation: Speculation) -> str:
    """What a draft is called: its name, or ``plan`` and the digest's beginning of a plan that was given as it is."""
    draft = speculation.draft
    return f"plan {plan_digest(draft)[:19]}" if isinstance(draft, Plan) else draft


def trace_of(prepared: PreparedSpeculation, state: SpeculativeState, done: Speculated) -> Trace:
    """The trace of a whole replay, for ``diagplan.write_trace`` and the checker.

    Args:
        prepared: what was replayed.
        state: at the end.
        done: its outcome, with ``trace=True``.

    Raises:
        SpecError: an outcome without traces; a replay with padding, embeddings, several seeds or the noise of a later
            window, which traces do not hold.
    """
    if done.traces is None:
        raise SpecError("expected an outcome with traces, got traces=None. Replay with trace=True.")
    if prepared.pad is not None or state.lead is not None:
        raise SpecError("expected a replay of ids alone for a trace, got padding or embeddings. Leave the trace out.")
    if isinstance(prepared.seed, tuple):
        raise SpecError("expected one seed for a trace, got a seed for each sample. Leave the trace out, or give one.")
    if prepared.shift:
        raise SpecError(
            f"expected the replay of a whole plan for a trace, got a window that begins {prepared.shift} slots into "
            "its video. A trace does not say where its window begins, so nobody could check it. Leave the trace out."
        )
    sampler, mix, model = prepared.sampler, prepared.mix, prepared.model
    tokens = prepared.runtime.numpy(state.tokens)[: prepared.batch, : prepared.plan.positions]
    return Trace(
        plan=plan_digest(prepared.plan),
        model=model.fingerprint(),
        dtype=str(model.dtype).removeprefix("torch."),
        sampler={"name": type(sampler).__name__.lower(), **asdict(sampler)},
        seed=prepared.seed,
        guidance=mix.guidance,
        guided_steps=None if mix.steps == (0, None) else mix.steps,
        width=prepared.widths[-1],
        narrowest=prepared.widths[0] if len(prepared.widths) > 1 else None,
        draft=draft_name(prepared.speculation),
        draft_passes=done.drafted,
        advance="own" if prepared.own or prepared.batch == 1 else "slowest",
        samples=tuple(
            sample_trace(int(number), passes, ids)
            for number, passes, ids in zip(prepared.samples, done.traces, tokens, strict=True)
        ),
    )
