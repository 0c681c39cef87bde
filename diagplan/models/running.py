"""A whole run in one call: estimate, load, replay, with checkpoints; and two runtimes side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.options import LoadOptions
from diagplan.adapters.parallel_cuts import require_whole
from diagplan.adapters.samplers import Greedy, Sampler
from diagplan.backends import checkpoint as checkpoints
from diagplan.backends import replay as executor
from diagplan.backends import speculative, speculative_checkpoint
from diagplan.backends.compare import Comparison, compare
from diagplan.backends.guidance import Guidance
from diagplan.backends.measured import SpeculationChoice, settled_speculation
from diagplan.backends.memory import Memory, estimate_memory
from diagplan.backends.promise import Promise, probed_promise
from diagplan.backends.speculative import Progress, Speculated
from diagplan.backends.teacher_check import TeacherCheck, teacher_check
from diagplan.backends.threads import threads_in_use
from diagplan.models.estimates import require_memory_before_loading
from diagplan.models.loading import guided_ids, load_model_as
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.speculation import Speculation
from diagplan.planner.trace import Trace

__all__ = ["Compared", "Ran", "RanSpeculatively", "compare_runtimes", "run_plan"]

Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """The outcome of a run.

    Attributes:
        tokens: int64 [B, T, h, w].
        passes: of this call: fewer than the plan's where it was resumed, or with speculation.
        chosen: tokens that this call has chosen, of all samples.
        seconds: of these passes.
        memory: what the estimate said.
        threads: of the CPU, of a pass.
        speculated: of a speculative replay, how it went; ``None``: step by step.
        checked: what a teacher-forced pass says of the tokens, where it was asked for.
    """

    tokens: NDArray[np.int64]
    passes: int
    chosen: int
    seconds: float
    memory: Memory
    threads: int
    speculated: "RanSpeculatively | None" = None
    checked: TeacherCheck | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RanSpeculatively:
    """What a speculative run has to say of itself.

    Attributes:
        speculation: as asked for, or as measured.
        promise: what holds of the tokens, by a probe of the passes in use.
        outcome: passes, and what each accepted.
        trace: what every pass did, where it was asked for.
    """

    speculation: Speculation
    promise: Promise
    outcome: Speculated
    trace: Trace | None


def run_plan(
    plan: Plan,
    adapter: str,
    weights: str | Path,
    given: Integers,
    options: LoadOptions | None = None,
    *,
    sampler: Sampler | None = None,
    seed: int | Sequence[int] = 0,
    samples: Sequence[int] | None = None,
    guidance: Guidance | None = None,
    unconditional: Integers | Sequence[Integers] | None = None,
    guided_steps: tuple[int, int | None] | None = None,
    pad: Sequence[int] | None = None,
    lead: Any = None,
    chunk: int = 512,
    unverified: bool = False,
    checkpoint: Path | None = None,
    checkpoint_every: int | None = None,
    resume: Path | None = None,
    speculation: SpeculationChoice | None = None,
    trace: bool = False,
    check: bool = False,
    on_memory: Callable[[Memory], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
    on_pass: Callable[[Progress], None] | None = None,
) -> Ran:
    """Load a model and replay a plan on it; memory is estimated, and checked, before any weight is read.

    Args:
        plan: a plan that verifies, unless ``unverified``.
        adapter: as for ``load_model``.
        weights: as for ``load_model``.
        given: every given slot's id in slot order, int [B, G] (``given_ids`` makes them of a prompt and actions).
        options: as for ``load_model``; defaults where left out.
        sampler: as for ``replay``.
        seed: as for ``replay``.
        samples: as for ``replay``.
        guidance: as for ``replay``.
        unconditional: as for ``replay``.
        guided_steps: as for ``replay``.
        pad: as for ``replay``.
        lead: as for ``replay``.
        chunk: as for ``replay``.
        unverified: replay a plan that does not verify.
        checkpoint: the state is written here after every ``checkpoint_every`` steps.
        checkpoint_every: steps between two checkpoints.
        resume: go on from this checkpoint.
        speculation: as for ``replay``; a run may be resumed with another, but not without.
        trace: with speculation, whether to say what every pass did.
        check: whether to derive all tokens anew in a teacher-forced pass, when they are there.
        on_memory: called with the estimate before anything is loaded, where headers tell it, else before the replay.
        on_step: called after each step with the steps that are done, and the tokens that this call has chosen; with
            speculation after each pass.
        on_pass: with speculation, called after each pass.

    Raises:
        DiagplanError: as ``load_model`` and ``replay``; a checkpoint that cannot be read or belongs to another run.
    """
    if (checkpoint is None) != (checkpoint_every is None):
        raise SpecError("expected checkpoint and checkpoint_every together, got one of them. Give the other.")
    if trace and resume is not None:
        raise SpecError("expected a trace of a whole replay, got trace and resume. Leave one of them out.")
    if options is not None and (checkpoint is not None or resume is not None):
        require_whole(options.ranks, "a checkpoint, which holds all of its cache")
    asked, sampled = options or LoadOptions(), not isinstance(sampler or Greedy(), Greedy)
    rows = guided_ids(np.asarray(given), guidance, unconditional)
    memory = require_memory_before_loading(
        adapter,
        weights,
        plan,
        asked,
        batch=len(rows),
        chunk=chunk,
        sampled=sampled,
        speculation=speculation,
        report=on_memory,
    )
    model = load_model_as(adapter, weights, asked)
    if memory is None:
        memory = estimate_memory(model, plan, len(rows), chunk=chunk, sampled=sampled, speculation=speculation)
        if on_memory is not None:
            on_memory(memory)
    executor.require_grid(plan, model)
    keyed: dict[str, Any] = {
        "sampler": sampler, "seed": seed, "batch": len(given), "samples": samples, "guidance": guidance,
        "guided_steps": guided_steps, "pad": pad, "chunk": chunk, "unverified": unverified,
    }  # fmt: skip

    def checked(tokens: NDArray[np.int64]) -> TeacherCheck | None:
        return teacher_check(executor.prepare(plan, model, **keyed), rows, tokens, lead=lead) if check else None

    if speculation is not None:
        settled = settled_speculation(speculation, plan, model, sampler=sampler, rows=len(rows))
        ready = speculative.prepare(plan, model, settled, **keyed)

        now = (
            speculative.new_state(ready, rows, lead)
            if resume is None
            else speculative_checkpoint.load_speculation(ready, resume, rows, lead)
        )
        before, saved = speculative.progress_of(ready, now), 0

        def passed(progress: Progress) -> None:
            nonlocal saved
            if on_step is not None:
                on_step(progress.steps, (progress.tokens - before.tokens) * len(given))
            if on_pass is not None:
                on_pass(progress)
            if checkpoint is not None and checkpoint_every is not None and progress.steps // checkpoint_every > saved:
                saved = progress.steps // checkpoint_every
                speculative_checkpoint.save_speculation(ready, now, checkpoint)

        outcome = speculative.replay(ready, now, on_pass=passed, trace=trace)
        promise = probed_promise(ready, set(outcome.feeds[outcome.drafted :].tolist()))
        return Ran(
            tokens=outcome.tokens, passes=outcome.passes,
            chosen=(plan.layout.tokens - before.tokens) * len(given),
            seconds=outcome.seconds, memory=memory, threads=threads_in_use(model), checked=checked(outcome.tokens),
            speculated=RanSpeculatively(
                speculation=settled, promise=promise, outcome=outcome,
                trace=speculative.trace_of(ready, now, outcome) if trace else None,
            ),
        )  # fmt: skip
    prepared = executor.prepare(plan, model, **keyed)
    state = (
        executor.new_state(prepared, rows, lead)
        if resume is None
        else checkpoints.load_checkpoint(prepared, resume, rows, lead)
    )
    begun = prepared.passes[state.done - 1].step + 1 if state.done else 0
    per_step = np.bincount(plan.feed_steps()[plan.target >= 0], minlength=plan.steps) * len(given)

    def stepped(step: int, now: executor.State) -> None:
        if on_step is not None:
            on_step(step + 1, int(per_step[begun : step + 1].sum()))
        if checkpoint is not None and checkpoint_every is not None and (step + 1) % checkpoint_every == 0:
            checkpoints.save_checkpoint(prepared, now, checkpoint)

    done = executor.replay(prepared, state, on_step=stepped)
    return Ran(
        tokens=done.tokens, passes=plan.steps - begun, chosen=int(per_step[begun:].sum()), seconds=done.seconds,
        memory=memory, threads=threads_in_use(model), checked=checked(done.tokens),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two runtimes side by side.

    Attributes:
        found: what differs.
        seconds: of a whole replay on each, after a first pass that warms up.
    """

    found: Comparison
    seconds: tuple[float, float]


def compare_runtimes(
    plan: Plan,
    first: Any,
    second: Any,
    given: Integers | None = None,
    *,
    sampler: Sampler | None = None,
    seed: int = 0,
    on_step: Callable[[], None] | None = None,
) -> Compared:
    """Replay a plan on two models that should be one: tokens, logits, time.

    Args:
        plan: a plan that verifies.
        first: a loaded model.
        second: what was exported of it, loaded.
        given: every given slot's id, int [B, G]; ``None``: random ids that the first model may choose.
        sampler: as for ``replay``.
        seed: of the sampling, and of random ids.
        on_step: called after each of 3 x ``plan.steps`` steps.

    Raises:
        DocumentError: models of other sizes, or an export of other weights.
        DiagplanError: as ``replay``.
    """
    if (first.vocab_size, first.cache_shapes) != (second.vocab_size, second.cache_shapes):
        raise DocumentError("expected the export of the same model, got models of other sizes. Export it anew.")
    document = getattr(second, "document", None)
    if (
        document is not None
        and document.dtype == str(first.dtype).removeprefix("torch.")
        and document.source != first.fingerprint()
    ):
        raise DocumentError("expected the export of the same model, got one of other weights. Export it anew.")
    ids = _random_ids(plan, first, seed) if given is None else np.asarray(given)
    executor.require_grid(plan, first)
    ready = [
        executor.prepare(plan, model, sampler=sampler, seed=seed, batch=len(ids), static=False)
        for model in (first, second)
    ]

    def stepped(*_: object) -> None:
        if on_step is not None:
            on_step()

    differing, seconds = compare(ready[0], ready[1], ids, on_step=stepped), []
    for prepared in ready:
        executor.replay(prepared, executor.new_state(prepared, ids), cancelled=lambda: True)  # the first pass warms up
        seconds.append(executor.replay(prepared, executor.new_state(prepared, ids), on_step=stepped).seconds)
    return Compared(found=differing, seconds=(seconds[0], seconds[1]))


def _random_ids(plan: Plan, model: Any, seed: int) -> NDArray[np.int64]:
    """Random given ids, int64 [1, G]."""
    count = int(np.diff(plan.given, axis=1).sum())
    return np.random.default_rng(seed).integers(model.vocabulary[0].low, model.vocabulary[0].high, (1, count))
