"""Chains: plans of one sequence replayed one after the other, each on the cache that those before it left.

Noise is keyed by (seed, sample, slot), and slots count through the whole sequence: a chain needs no keys of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Array, Cache, Model, allowed_ids, coordinates_of
from diagplan.backends import replay as executor
from diagplan.backends.arguments import require_callbacks, require_replayable
from diagplan.backends.errors import MismatchError
from diagplan.backends.given import known_ids, require_choices
from diagplan.backends.guidance import Guidance
from diagplan.backends.runtime import STATIC_STEP, runtime_of
from diagplan.backends.sampling import Sampler
from diagplan.planner.chain import Chain
from diagplan.planner.checker.chains import verify_chain
from diagplan.planner.errors import InvalidPlanError
from diagplan.planner.rounding import rounded_up

__all__ = ["Chained", "OnFrame", "replay_chain"]

Ids = NDArray[np.int64]
#: Called with the number of a plan, that of its frame, and the frame's tokens, int64 [B, h, w].
OnFrame = Callable[[int, int, Ids], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chained:
    """The outcome of a chain.

    Args:
        tokens: of each plan, int64 [B, T, h, w]; -1 where a chain was cancelled before.
        plans: plans done.
        complete: whether that is all of them.
        seconds: of all plans' passes, ``on_frame`` included.
        prefill_seconds: of each plan's first step, which feeds what is known (on a GPU the time to launch it).
    """

    tokens: tuple[Ids, ...]
    plans: int
    complete: bool
    seconds: float
    prefill_seconds: float


def replay_chain(
    chain: Chain,
    model: Model,
    given: Array,
    *,
    sampler: Sampler | None = None,
    seed: int = 0,
    batch: int = 1,
    samples: Sequence[int] | None = None,
    guidance: Guidance | None = None,
    guided_steps: tuple[int, int | None] | None = None,
    pad: Sequence[int] | None = None,
    lead: Array | None = None,
    on_frame: OnFrame | None = None,
    on_pass: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    chunk: int = 512,
    static: bool | None = None,
    unverified: bool = False,
) -> Chained:
    """Replay every plan of a chain; as ``diagplan.backends.replay``, it asks for no grid and no self-test.

    Args:
        chain: from ``compile_chain``.
        model: the model; its positions hold the whole sequence.
        given: ids of ``chain.given_slots()`` in slot order, int [rows, G] (under guidance the conditional samples
            first, then each other branch's).
        sampler: as for ``diagplan.backends.replay.prepare``, and so are the next five.
        seed: of the noise.
        batch: B, samples.
        samples: the number of each sample, B.
        guidance: a scale, or the weight of each branch.
        guided_steps: steps with guidance, first and end, counted in each plan.
        pad: positions at the beginning of the sequence that are padding, of each of B samples, or of each row.
        lead: embeddings, float [rows, P, width]: a given id of -1 - i stands for embedding i of its row.
        on_frame: called with the number of the plan, of its frame, and the tokens, int64 [B, h, w], of each frame as
            soon as it is complete.
        on_pass: called with the number of steps that are done, of ``chain.cost().passes``.
        cancelled: asked after each step; if true the chain ends there.
        chunk: as for ``diagplan.backends.replay.prepare``, and so is the next one.
        static: pad passes to few shapes.
        unverified: take the chain as it is, without checking it.

    Raises:
        InvalidPlanError: the chain does not verify.
        MismatchError: chain, model and ids do not fit together.
        NumericError: logits that are not finite.
        CapacityError: too little memory.
    """
    require_replayable(chain, model, sampler, kind=Chain)
    require_callbacks(on_frame=on_frame, on_pass=on_pass, cancelled=cancelled)
    if not unverified:
        _require_valid(chain)
    chain = _apart(chain)
    run = _Run(chain, model, given, lead, {
        "sampler": sampler, "seed": seed, "batch": batch, "samples": samples, "guidance": guidance,
        "guided_steps": guided_steps, "pad": pad, "chunk": chunk, "static": static, "unverified": True,
    })  # fmt: skip
    ended = False

    def asked() -> bool:
        nonlocal ended
        ended = cancelled is not None and cancelled()
        return ended

    tokens = [np.full((batch, *_grid(plan.layout)), -1, dtype=np.int64) for plan in chain.plans]
    seconds, prefill, done, passes = 0.0, 0.0, 0, 0
    for number in range(len(chain.plans)):
        prepared, state = run.begin(number)

        def handed(frame: int, ids: Ids, number: int = number) -> None:
            if on_frame is not None:
                on_frame(number, frame, ids)

        def counted(step: int, _: executor.State, before: int = passes) -> None:
            if on_pass is not None:
                on_pass(before + step + 1)

        replayed = executor.replay(prepared, state, on_frame=handed, on_step=counted, cancelled=asked)
        tokens[number] = replayed.tokens
        seconds += replayed.seconds
        prefill += sum(s for p, s in zip(prepared.passes, replayed.pass_seconds, strict=False) if p.step == 0)
        passes += prepared.plan.steps
        done += replayed.complete
        if ended:
            break
    return Chained(
        tokens=tuple(tokens), plans=done, complete=done == len(chain.plans), seconds=seconds, prefill_seconds=prefill
    )


class _Run:
    """What goes on from plan to plan: one cache, and the ids that are known."""

    def __init__(self, chain: Chain, model: Model, given: Array, lead: Array | None, options: dict[str, Any]) -> None:
        self.chain, self.model, self.lead, self.options = chain, model, lead, options
        ids = known_ids(given, model, 0 if lead is None else lead.shape[1])
        slots = chain.given_slots()
        if ids.ndim != 2 or ids.shape[1] != len(slots):
            raise MismatchError(
                f"expected given ids of shape [rows, {len(slots)}], those of every slot that no plan of the chain "
                f"generates, got {list(ids.shape)}."
            )
        for plan in chain.plans:  # before any of them is run
            require_choices(allowed_ids(model.vocabulary, plan.layout), plan)
        _require_places_kept(chain, model)
        last = chain.plans[-1]
        if last.positions > model.positions:
            raise MismatchError(
                f"expected a chain of at most {model.positions} positions for this {model.family} model, got "
                f"positions={last.positions}. Take fewer or smaller grids, or a model with a longer context."
            )
        runtime = runtime_of(model)
        static = runtime.on_gpu if options["static"] is None else options["static"]
        step = STATIC_STEP if static else runtime.length_step
        most = 1 + max(max(plan.cache_slots, plan.positions) for plan in chain.plans)  # padding has one of its own
        self.slots = rounded_up(most, step)
        self.known = np.full((len(ids), last.positions), -1, dtype=np.int64)
        self.known[:, slots] = ids
        self.cache: Cache | None = None
        self.now: tuple[executor.Prepared, executor.State] | None = None

    def begin(self, number: int) -> tuple[executor.Prepared, executor.State]:
        """A plan laid out, and the state in which it begins."""
        if self.now is not None:
            prepared, state = self.now
            self.known[:, : prepared.plan.positions] = prepared.runtime.numpy(state.tokens)[:, :-1]
            self.now = None
        part = self.chain.continued(number)
        prepared = executor.prepare(part.plan, self.model, part=part, **self.options)
        given = self.known[:, prepared.given_slots]
        state = executor.new_state(prepared, given, self.lead, cache=self.cache, slots=self.slots)
        self.cache, self.now = state.cache, (prepared, state)
        return self.now


def _grid(layout: Any) -> tuple[int, int, int]:
    return layout.frames, layout.rows, layout.cols


def _require_valid(chain: Chain) -> None:
    report = verify_chain(chain, cap=1)
    if not report.ok:
        first = next(one for one in report.diagnostics if one.severity == "error")
        where = "" if first.plan is None else f" in plan {first.plan}"
        raise InvalidPlanError(
            f"expected a valid chain, got {report.errors} error(s), the first {first.code}{where}: {first.message} "
            "`diagplan verify` lists them."
        )


def _require_places_kept(chain: Chain, model: Model) -> None:
    """Keys in the cache are turned by the coordinates that their tokens were fed with."""
    layouts = [plan.layout for plan in chain.plans]
    for number in range(1, len(layouts)):
        kept = chain.continued(number).held.position
        before, now = coordinates_of(model, *layouts[:number]), coordinates_of(model, *layouts[: number + 1])
        if before is None or now is None:
            return
        moved = kept[(before[kept] != now[kept]).any(axis=1)]
        if len(moved):
            raise MismatchError(
                f"expected kept positions to lie where they lay, got others for plan {number}, the first of position "
                f"{moved[0]}: this {model.family} model moves them as the sequence grows. Compile with refeed=True."
            )


def _apart(chain: Chain) -> Chain:
    """The same chain with room for padding behind every slot where a later plan takes what it has not written as zeros.

    Passes of fixed shapes are padded, and padding writes a slot: the one behind those that a plan is said to use.
    """
    if all(plan.cache_initial != "zeros" for plan in chain.plans[1:]):
        return chain
    whole = max(max(plan.cache_slots, plan.positions) for plan in chain.plans)
    padded = (plan if plan.trash_slot is not None else replace(plan, cache_slots=whole) for plan in chain.plans)
    return replace(chain, plans=tuple(padded))
