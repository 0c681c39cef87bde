"""From a checkpoint to tokens in two calls. torch or ONNX Runtime is loaded when one of them is made."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from diagplan.backends import replay as executor
from diagplan.backends.errors import MismatchError
from diagplan.backends.given import batched, given_from_prompt, given_slots
from diagplan.backends.sampling import Sampler
from diagplan.planner.errors import MissingExtraError, SpecError
from diagplan.planner.plan import Plan

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model

__all__ = ["ADAPTERS", "Backend", "DTypeName", "load_model", "replay"]

#: What runs a model.
Backend = Literal["torch", "onnx"]
DTypeName = Literal["float32", "bfloat16", "float16"]
#: The model families.
ADAPTERS = ("mc-ar", "cosmos", "wham")
Ids = NDArray[np.integer[Any]]


def require_torch() -> None:
    """Raise ``MissingExtraError`` unless torch can be imported."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise MissingExtraError(
            "expected PyTorch for replay, got none. Install it: pip install 'diagplan[torch]'."
        ) from None


def load_model(
    adapter: str,
    weights: str | Path,
    *,
    backend: Backend = "torch",
    config: Any = None,
    dtype: DTypeName = "float32",
    device: str = "cpu",
    quantize: Literal["int8"] | None = None,
    portable: bool = False,
    threads: int | None = None,
    context: Any = None,
) -> "Model":
    """Load a model, and test that it obeys its attention mask.

    Args:
        adapter: ``"mc-ar"``, ``"cosmos"`` or ``"wham"``.
        weights: for MC-AR a release ``.ckpt``, a ``.safetensors`` file, or a folder of a Hugging Face LlamaForCausalLM;
            for Cosmos a ``model.pt``, a ``.safetensors`` file, a folder with one, or shards, a name with ``{rank}``;
            for WHAM a release ``.ckpt``, or what ``diagplan convert-weights`` made of it; for the backend ``"onnx"`` a
            folder of ``diagplan export-onnx``.
        backend: ``"torch"`` or ``"onnx"``, which needs no torch on the CPU; an exported model has its dtype already.
        config: a released configuration by name (``"300M_16f"``, ``"cosmos-4b"``, ``"wham-200m"``), a YAML (MC-AR) or
            JSON file (MC-AR, Cosmos), or ``None`` where a ``config.json`` lies beside the weights (MC-AR) or they tell
            it (WHAM).
        dtype: ``"float32"``, ``"bfloat16"`` or ``"float16"``.
        device: ``"cpu"``, ``"cuda"``, ...
        quantize: ``"int8"``: int8 products, faster and less exact; float32 on an x86 CPU only.
        portable: leave the weights in no machine's own order, as ONNX export needs them; slower.
        threads: of one pass on the CPU, for the backend ``"onnx"``; as many as this process may use.
        context: what a Cosmos Video2World model reads: a file of text features (``.npy``, ``.safetensors``), or an
            array or tensor, float [tokens, width] or [batch, tokens, width]. ``None``: bind one later, with
            ``model.with_context``.

    Raises:
        SpecError: no such adapter, a configuration that does not fit together, one that cannot be quantised, or a
            context for a model that reads none.
        DocumentError: weights that cannot be read, or that lack tensors or have others.
        MismatchError: an exported model of another adapter.
        MissingExtraError: torch or onnxruntime is not installed.

    >>> load_model("mc-ar", "300M_16f.ckpt", config="300M_16f")  # doctest: +SKIP
    """
    if adapter not in ADAPTERS:
        raise SpecError(f"expected the adapter {' or '.join(ADAPTERS)}, got {adapter!r}.")
    if backend not in get_args(Backend):
        raise SpecError(f"expected backend to be one of {', '.join(get_args(Backend))}, got backend={backend!r}.")
    if backend == "onnx":
        fixed = (config, dtype, quantize, portable, context)
        return _load_exported(adapter, weights, device, threads, fixed=fixed)
    require_torch()
    options: dict[str, Any] = {"config": config, "dtype": dtype, "device": device, "quantize": quantize}
    options["portable"] = portable
    if adapter == "cosmos":
        return _load_cosmos(weights, context, **options)
    require_no_context(adapter, context)
    from diagplan.adapters.mc_ar_files import load_mc_ar
    from diagplan.adapters.wham_files import load_wham
    from diagplan.backends.selftest import require_masks_obeyed

    load = load_wham if adapter == "wham" else load_mc_ar
    model: Model = load(weights, **options)
    require_masks_obeyed(model)
    return model


def require_no_context(adapter: str, context: Any) -> None:
    """Raise ``SpecError`` where a model that reads no text is given one."""
    if context is not None and adapter != "cosmos":
        raise SpecError(f"expected no context: a {adapter} model reads no text, got one. Leave it out.")


def _load_cosmos(weights: str | Path, context: Any, **options: Any) -> "Model":
    import torch

    from diagplan.adapters.cosmos_files import load_cosmos
    from diagplan.adapters.cosmos_text import read_text_features
    from diagplan.backends.selftest import require_masks_obeyed

    features = read_text_features(context) if isinstance(context, str | Path) else context
    model = load_cosmos(weights, **options)
    width = model.config.context_dim
    # Any text will do for the test: one vector of zeros adds nothing.
    require_masks_obeyed(model if width is None else model.with_context(torch.zeros(1, width)))
    return model if features is None else model.with_context(features)


def _load_exported(
    adapter: str, folder: str | Path, device: str, threads: int | None, fixed: tuple[Any, ...]
) -> "Model":
    if fixed != (None, "float32", None, False, None):
        raise SpecError(
            "expected no config, dtype, quantize, portable or context with backend='onnx', got some. They were "
            "chosen when the model was exported. Leave them out, or export it anew."
        )
    from diagplan.backends.onnx_runtime import load_onnx_model

    model = load_onnx_model(folder, device=device, threads=threads)
    if model.family != adapter:
        raise MismatchError(
            f"expected an exported model of the adapter {adapter}, got one of {model.family} in {folder}. "
            "Name its adapter, or give another folder."
        )
    return model


def given_ids(plan: Plan, prompt: Ids | None, actions: Ids | None, given: Ids | None) -> NDArray[np.int64]:
    """The given slots' ids, int64 [B, G], from a prompt and actions or as they are.

    Raises:
        MismatchError: neither or both are given, or shapes do not fit the plan's layout.
    """
    if (prompt is None) == (given is None):
        raise MismatchError("expected a prompt (and actions) or all given ids, got neither or both.")
    if given is not None:
        return batched("given", given, (len(given_slots(plan.layout)),))
    assert prompt is not None
    return given_from_prompt(plan.layout, prompt, actions)


def replay(
    plan: Plan,
    model: "Model",
    prompt: Ids | None = None,
    actions: Ids | None = None,
    *,
    given: Ids | None = None,
    sampler: Sampler | None = None,
    seed: int = 0,
    on_frame: Callable[[int, Any], None] | None = None,
    on_pass: Callable[[int], None] | None = None,
) -> NDArray[np.int64]:
    """Replay a plan on a model.

    Args:
        plan: a plan that verifies.
        model: from ``load_model``.
        prompt: tokens of the F prompt frames, int [F, h, w] or [B, F, h, w].
        actions: a block for each gap between frames, int [F - 1 + T, n] or with a batch axis in front.
        given: instead of both, every given slot's id in slot order, int [G] or [B, G].
        sampler: ``Greedy()`` by default.
        seed: sample i of the batch is keyed by (seed, i): the same tokens whatever the batch.
        on_frame: called with a frame's number and tokens, int64 [B, h, w], as soon as the frame is complete.
        on_pass: called with the number of passes that are done.

    Returns:
        the generated tokens, int64 [B, T, h, w].

    Raises:
        InvalidPlanError: the plan does not verify.
        MismatchError: plan, model and ids do not fit together.
        NumericError: logits that are not finite.
        CapacityError: too little memory.

    >>> replay(plan, model, prompt, actions, sampler=Greedy()).shape  # doctest: +SKIP
    (1, 15, 14, 24)
    """
    executor.require_grid(plan, model)
    ids = given_ids(plan, prompt, actions, given)
    prepared = executor.prepare(plan, model, sampler=sampler, seed=seed, batch=len(ids))
    on_step = None if on_pass is None else lambda step, _: on_pass(step + 1)
    return executor.replay(prepared, executor.new_state(prepared, ids), on_step=on_step, on_frame=on_frame).tokens
