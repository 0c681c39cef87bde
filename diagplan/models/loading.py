"""From a checkpoint to tokens in two calls. torch or ONNX Runtime is loaded when one of them is made."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.devices import DTypeName, Quantize
from diagplan.adapters.options import LoadOptions
from diagplan.adapters.samplers import Sampler
from diagplan.backends import replay as executor
from diagplan.backends import speculative
from diagplan.backends.arguments import require_callbacks, require_replayable
from diagplan.backends.errors import MismatchError
from diagplan.backends.given import batched, given_from_prompt, given_slots
from diagplan.backends.guidance import Guidance, require_guidance
from diagplan.backends.measured import SpeculationChoice, settled_speculation
from diagplan.backends.selftest import require_tested
from diagplan.backends.table import backend_named, options_for
from diagplan.planner.arguments import require_path
from diagplan.planner.plan import Plan

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model, Ranks

__all__ = ["given_ids", "guided_ids", "load_model", "load_model_as", "replay", "replay_ids"]

Integers = NDArray[np.integer[Any]]


def load_model(
    adapter: str,
    weights: str | Path,
    *,
    backend: str = "torch",
    config: Any = None,
    dtype: DTypeName = "float32",
    device: str = "cpu",
    quantize: Quantize | None = None,
    portable: bool = False,
    threads: int | Literal["auto"] | None = None,
    context: Any = None,
    ranks: "Ranks | None" = None,
) -> "Model":
    """Load a model, and test that it obeys its attention mask.

    Args:
        adapter: its family: ``"mc-ar"``, ``"cosmos"``, ``"wham"``, ``"llamagen"``, or a third party's.
        weights: for MC-AR a release ``.ckpt``, a ``.safetensors`` file, or a folder of a Hugging Face LlamaForCausalLM;
            for Cosmos a ``model.pt``, a ``.safetensors`` file, a folder with one, or shards, a name with ``{rank}``;
            for WHAM a release ``.ckpt``, or what ``diagplan convert-weights`` made of it; for LlamaGen a release
            ``.pt`` or a ``.safetensors`` file; for all a folder of ``diagplan export-onnx``, which is
            known as one and runs on ONNX Runtime.
        backend: ``"torch"``; ``"onnx"``, which needs no torch on the CPU and whose models have their dtype already,
            of any family, registered or not; or one that a third party has registered.
        config: a released configuration by name (``"300M_16f"``, ``"cosmos-4b"``, ``"wham-200m"``), a file, YAML for
            MC-AR and JSON for Cosmos and WHAM, or ``None`` where a ``config.json`` lies beside the weights (MC-AR) or
            they tell it (WHAM).
        dtype: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        device: ``"cpu"``, ``"cuda"``, ...
        quantize: ``"int8"``: int8 products, faster and less exact; float32 on an x86 CPU only.
        portable: leave the weights in no machine's own order, as ONNX export needs them; slower.
        threads: CPU threads of one pass; ``None``: ONNX Runtime takes as many as this process may use, torch is left
            as it is; ``"auto"``: one for a small model, else what a few timed passes say, unless ``OMP_NUM_THREADS`` is
            set.
        context: what a Cosmos Video2World model reads: a file of text features (``.npy``, ``.safetensors``), or an
            array or tensor, float [tokens, width] or [batch, tokens, width]. ``None``: bind one later, with
            ``model.with_context``.
        ranks: the processes that the model is spread over, from ``diagplan.adapters.parallel.joined_ranks``: this one
            loads its part (docs/many.md).

    Raises:
        SpecError: no such adapter or backend, a configuration that does not fit together, one that cannot be quantised,
            or a context for a model that reads none.
        DocumentError: weights that cannot be read, or that lack tensors or have others.
        MismatchError: an exported model of another adapter.
        MissingExtraError: torch or onnxruntime is not installed.

    >>> load_model("mc-ar", "300M_16f.ckpt", config="300M_16f")  # doctest: +SKIP
    """
    require_path("weights", weights)
    options = LoadOptions(
        backend=backend, config=config, dtype=dtype, device=device, quantize=quantize, portable=portable,
        threads=threads, context=context, ranks=ranks,
    )  # fmt: skip
    return load_model_as(adapter, weights, options_for(weights, options))


def load_model_as(adapter: str, weights: str | Path, options: LoadOptions) -> "Model":
    """``load_model`` with its options as one value; arguments and errors as there."""
    return backend_named(options.backend).load(adapter, weights, options)


def given_ids(
    plan: Plan, prompt: Integers | None, actions: Integers | None, given: Integers | None
) -> NDArray[np.int64]:
    """The given slots' ids, int64 [B, G], from a prompt and actions or as they are.

    Raises:
        MismatchError: neither or both are given, or shapes do not fit the plan's layout.
    """
    if (prompt is None) == (given is None):
        raise MismatchError(
            f"expected a prompt (and actions) or all given ids, got {'neither' if given is None else 'both'}. "
            "Give prompt, or given alone; frames and actions of a world go to `diagplan generate`."
        )
    if given is not None:
        return batched("given", given, (len(given_slots(plan.layout)),))
    assert prompt is not None
    return given_from_prompt(plan.layout, prompt, actions)


def guided_ids(
    ids: NDArray[np.int64], guidance: Guidance | None, unconditional: Integers | Sequence[Integers] | None
) -> NDArray[np.int64]:
    """The given slots' ids of all rows of the batch: under guidance the conditional samples, then every other branch's.

    Args:
        ids: with the condition, int64 [B, G].
        guidance: the scale, or the weight of each branch; ``None``: no guidance, and the ids stay as they are.
        unconditional: without the condition, int [G] or [B, G]; for weights one such array for each branch but the
            first.

    Raises:
        MismatchError: a scale without ids or the reverse, or ids of another shape.
    """
    if (guidance is None) != (unconditional is None):
        raise MismatchError("expected guidance and unconditional ids together, got one of them. Give the other.")
    if unconditional is None:
        return ids
    assert guidance is not None
    weights = require_guidance(guidance)
    if isinstance(weights, float):
        return np.concatenate([ids, _branch(ids, unconditional)])
    wanted = len(weights) - 1
    if not isinstance(unconditional, tuple | list) or len(unconditional) != wanted:
        count = len(unconditional) if isinstance(unconditional, tuple | list) else 1
        raise MismatchError(
            f"expected a list of unconditional ids for {wanted} branch(es), got {count}. Give one array for each "
            "weight but the first."
        )
    return np.concatenate([ids, *(_branch(ids, branch) for branch in unconditional)])


def _branch(ids: NDArray[np.int64], unconditional: Any) -> NDArray[np.int64]:
    """A branch's ids for every sample, int64 [B, G]."""
    others = batched("unconditional", unconditional, ids.shape[1:])
    if len(others) not in (1, len(ids)):
        raise MismatchError(
            f"expected unconditional ids for all samples or for each of {len(ids)}, got {len(others)} of them."
        )
    return np.broadcast_to(others, ids.shape)


def replay(
    plan: Plan,
    model: "Model",
    prompt: Integers | None = None,
    actions: Integers | None = None,
    *,
    given: Integers | None = None,
    sampler: Sampler | None = None,
    seed: int | Sequence[int] = 0,
    samples: Sequence[int] | None = None,
    guidance: Guidance | None = None,
    unconditional: Integers | Sequence[Integers] | None = None,
    guided_steps: tuple[int, int | None] | None = None,
    pad: Sequence[int] | None = None,
    lead: Any = None,
    speculation: SpeculationChoice | None = None,
    on_frame: Callable[[int, Any], None] | None = None,
    on_pass: Callable[[int], None] | None = None,
    chunk: int = 512,
) -> NDArray[np.int64]:
    """Replay a plan on a model.

    Args:
        plan: a plan that verifies.
        model: from ``load_model``.
        prompt: tokens of the F prompt frames, int [F, h, w] or [B, F, h, w].
        actions: a block for each gap between frames, int [F - 1 + T, n] or with a batch axis in front.
        given: instead of both, every given slot's id in slot order, int [G] or [B, G].
        sampler: ``Greedy()`` by default.
        seed: each sample is keyed by (seed, its number); one for all, or B of them.
        samples: the number of each sample, B; 0 to B - 1 by default. With its number a sample keeps its tokens at any
            place of any batch.
        guidance: scale of classifier-free guidance: logits = unconditional + scale x (conditional - unconditional); or
            the weights of two branches and more, the conditional one first: logits = the sum of weight x logits.
        unconditional: with guidance, every given slot's id without the condition, int [G] or [B, G]; with weights a
            list of such arrays, one for each branch but the first.
        guided_steps: the plan's steps with guidance, first and end (``None``: the last); all of them by default.
        pad: positions at the beginning that are padding, of each of B samples; with guidance also of each row, the
            conditional samples first, then every other branch's. A padded sample gets the tokens it would get alone.
        lead: embeddings for a model that takes them, float [rows, P, width]: a given id of -1 - i is embedding i.
        speculation: replay several steps in a pass, with guesses: the same tokens in fewer passes (docs/exact.md).
            ``"auto"``: window and draft chosen for the model and its device by a short measurement.
        on_frame: called with a frame's number and tokens, int64 [B, h, w], as soon as the frame is complete.
        on_pass: called with the number of the plan's steps that are done; each is a pass, but with speculation.
        chunk: feeds of the widest pass: wider steps, such as a long prompt, are cut.

    Returns:
        the generated tokens, int64 [B, T, h, w].

    Raises:
        InvalidPlanError: the plan does not verify.
        DiagplanError: a model that has not been tested, and does not keep to the forward contract.
        SpecError: an argument of another kind, or a seed out of range.
        MismatchError: plan, model and ids do not fit together.
        NumericError: logits that are not finite.
        CapacityError: too little memory.

    >>> replay(plan, model, prompt, actions, sampler=Greedy()).shape  # doctest: +SKIP
    (1, 15, 14, 24)
    """
    require_replayable(plan, model, sampler)
    ids = given_ids(plan, prompt, actions, given)
    return replay_ids(
        plan, model, ids, guided_ids(ids, guidance, unconditional), sampler=sampler, seed=seed, samples=samples,
        guidance=guidance, guided_steps=guided_steps, pad=pad, lead=lead, speculation=speculation, on_frame=on_frame,
        on_pass=on_pass, chunk=chunk,
    ).tokens  # fmt: skip


def replay_ids(
    plan: Plan,
    model: "Model",
    ids: NDArray[np.int64],
    rows: NDArray[np.int64] | None = None,
    *,
    lead: Any = None,
    sampler: Sampler | None = None,
    speculation: SpeculationChoice | None = None,
    on_frame: Callable[[int, Any], None] | None = None,
    on_pass: Callable[[int], None] | None = None,
    **options: Any,
) -> executor.Replayed | speculative.Speculated:
    """``replay`` of given ids, with all that came of it.

    Args:
        plan: as for ``replay``.
        model: as for ``replay``.
        ids: of the given slots of the samples, int64 [B, G].
        rows: under guidance the same of all rows of the batch, from ``guided_ids``.
        lead: as for ``replay``.
        sampler: as for ``replay``.
        speculation: as for ``replay``.
        on_frame: as for ``replay``.
        on_pass: as for ``replay``.
        options: others of ``replay``.
    """
    require_replayable(plan, model, sampler)
    require_callbacks(on_frame=on_frame, on_pass=on_pass)
    require_tested(model)
    executor.require_grid(plan, model)
    rows = ids if rows is None else rows
    keyed = {"sampler": sampler, "batch": len(ids), **options}
    if speculation is None:
        prepared = executor.prepare(plan, model, **keyed)
        on_step = None if on_pass is None else lambda step, _: on_pass(step + 1)
        return executor.replay(prepared, executor.new_state(prepared, rows, lead), on_step=on_step, on_frame=on_frame)
    settled = settled_speculation(speculation, plan, model, sampler=sampler, rows=len(rows))
    ready = speculative.prepare(plan, model, settled, **keyed)
    told = None if on_pass is None else lambda progress: on_pass(progress.steps)
    return speculative.replay(ready, speculative.new_state(ready, rows, lead), on_pass=told, on_frame=on_frame)
