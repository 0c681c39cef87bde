"""The memory of a replay before any weight is loaded: from a checkpoint's headers, the configuration and the plan."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from diagplan.backends.memory import Memory, Sizes, estimate_memory, require_memory
from diagplan.backends.room import free_memory
from diagplan.backends.runtime import STATIC_STEP, NumpyRuntime
from diagplan.models.loading import ADAPTERS, Backend, DTypeName, require_no_context, require_torch
from diagplan.planner.errors import DiagplanError, SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.rollout import Rollout

if TYPE_CHECKING:
    from diagplan.adapters.linear import Quantize

__all__ = ["estimate_before_loading", "require_memory_before_loading", "sizes_before_loading", "tokenizer_bytes"]

#: Feeds of a pass that advice names.
_SMALL_CHUNK = 64


def sizes_before_loading(
    adapter: str,
    weights: str | Path,
    *,
    backend: Backend = "torch",
    config: Any = None,
    dtype: DTypeName = "float32",
    device: str = "cpu",
    quantize: Literal["int8"] | None = None,
    context: Any = None,
) -> Sizes:
    """The sizes that ``load_model`` with the same arguments would give a model; reads headers, no tensor.

    Raises:
        DiagplanError: as ``load_model``, for what headers and configuration show.
    """
    if adapter not in ADAPTERS:
        raise SpecError(f"expected the adapter {' or '.join(ADAPTERS)}, got {adapter!r}.")
    if backend == "onnx":
        return _exported(weights)
    require_torch()
    import torch

    from diagplan.adapters.linear import is_packed, require_quantize
    from diagplan.adapters.mc_ar_files import require_device

    if dtype not in get_args(DTypeName):
        raise SpecError(f"expected dtype to be one of {', '.join(get_args(DTypeName))}, got dtype={dtype!r}.")
    require_device(device)
    where, kind = torch.device(device), getattr(torch, dtype)
    require_quantize(quantize, where, kind)
    require_no_context(adapter, context)
    packed = is_packed(where, kind)
    sizes, weight_bytes, vocab_size = _of_family(adapter, weights, config, kind.itemsize, quantize, packed, context)
    # A layer's matrices are read, joined and reordered: for a moment there are two or three of the largest.
    largest = max(math.prod(shape) for shape in sizes.shapes().values())
    return Sizes(
        weights=weight_bytes,
        loading=largest * kind.itemsize * (4 if quantize else 2 if packed else 1),
        item=kind.itemsize,
        cache_shapes=sizes.cache_shapes,
        vocab_size=vocab_size,
        widths=sizes.widths,
        length_step=STATIC_STEP if where.type == "cuda" else 64,
    )


def _of_family(
    adapter: str, weights: str | Path, config: Any, item: int, quantize: "Quantize | None", packed: bool, context: Any
) -> tuple[Any, int, int]:
    """A configuration whose tensors are all there, the bytes of its weights, and its entries of logits."""
    if adapter == "cosmos":
        from diagplan.adapters.cosmos_files import checked_cosmos
        from diagplan.adapters.cosmos_text import read_text_features

        cosmos = checked_cosmos(weights, config)[1]
        features = read_text_features(context) if isinstance(context, str | Path) else context
        tokens = 0 if features is None else math.prod(features.shape[:-1])
        return cosmos, cosmos.weight_bytes(item, quantize, text_tokens=tokens), cosmos.embedding_rows
    if adapter == "wham":
        from diagplan.adapters.wham_files import checked_wham

        wham = checked_wham(weights, config)[1]
        return wham, wham.weight_bytes(item, quantize, packed=packed), wham.vocab_size
    from diagplan.adapters.mc_ar_files import open_mc_ar

    mc_ar = open_mc_ar(weights, config)[1]
    return mc_ar, mc_ar.weight_bytes(item, quantize), mc_ar.vocab_size


def _exported(folder: str | Path) -> Sizes:
    from diagplan.adapters.contract import Widths
    from diagplan.backends.onnx_files import read_about
    from diagplan.backends.onnx_runtime import GRAPH
    from diagplan.schemas.onnx_model import OnnxModelDocument

    said = read_about(Path(folder) / GRAPH, OnnxModelDocument).said
    return Sizes(
        weights=said.weights_bytes,
        loading=said.weights_bytes,  # what the file holds, and what the session makes of it
        item={"float64": 8, "float32": 4}.get(said.dtype, 2),
        cache_shapes=said.cache_shapes,
        vocab_size=said.vocab_size,
        widths=None if said.widths is None else Widths(**said.widths.model_dump()),
        length_step=NumpyRuntime.length_step,
        scores=True,
    )


def tokenizer_bytes(adapter: str, path: str | Path, *, backend: Backend = "torch") -> int:
    """Bytes of the weights of an image tokenizer, from headers.

    Args:
        adapter: its family.
        path: as for the family's loader: a folder of diffusers' VQModel (MC-AR), a folder with encoder.jit and
            decoder.jit (Cosmos), the checkpoint (WHAM); for the backend ``"onnx"`` the exported folder.
        backend: what runs it.

    Raises:
        DocumentError: files that are missing or cannot be read.
    """
    if backend == "onnx":
        from diagplan.backends.onnx_files import read_about
        from diagplan.backends.onnx_tokenizer import DECODER, ENCODER
        from diagplan.schemas.onnx_model import OnnxTokenizerDocument

        halves = (read_about(Path(path) / name, OnnxTokenizerDocument) for name in (ENCODER, DECODER))
        return sum(half.said.weights_bytes for half in halves)
    require_torch()
    if adapter == "cosmos":
        return sum(
            file.stat().st_size for name in ("encoder", "decoder") if (file := Path(path, f"{name}.jit")).is_file()
        )
    if adapter == "wham":
        from diagplan.adapters.wham_files import open_wham
        from diagplan.adapters.wham_tokenizer import tokenizer_config_for

        config = tokenizer_config_for(*open_wham(path))
        return 4 * sum(math.prod(shape) for shape in config.shapes().values())
    from diagplan.adapters.image_tokenizer import tokenizer_files
    from diagplan.adapters.weights import open_checkpoint

    headers = open_checkpoint(tokenizer_files(path)[1]).headers
    return 4 * sum(math.prod(header.shape) for name, header in headers.items() if not name.startswith("loss."))


def estimate_before_loading(
    adapter: str,
    weights: str | Path,
    plans: Plan | Rollout | Sequence[Plan],
    *,
    batch: int = 1,
    chunk: int = 512,
    tokenizer: int = 0,
    sampled: bool = True,
    **options: Any,
) -> Memory:
    """The memory of a replay, before anything is loaded; of a rollout, that of its largest plan.

    Args:
        adapter: as for ``load_model``.
        weights: as for ``load_model``.
        plans: the plan, or those of a rollout, which are replayed one after the other.
        batch: rows of the model's batch: samples, twice that under guidance.
        chunk: as for ``diagplan.backends.replay.prepare``.
        tokenizer: bytes of an image tokenizer beside the model: ``tokenizer_bytes``.
        sampled: whether tokens are sampled; greedy takes less.
        options: backend, config, dtype, device, quantize and context, as for ``load_model``.

    Raises:
        DiagplanError: as ``load_model``, for what headers and configuration show.
    """
    return _largest(sizes_before_loading(adapter, weights, **options), plans, batch, chunk, tokenizer, sampled)


def require_memory_before_loading(
    adapter: str,
    weights: str | Path,
    plans: Plan | Rollout | Sequence[Plan],
    *,
    batch: int = 1,
    chunk: int = 512,
    tokenizer: int = 0,
    sampled: bool = True,
    report: Callable[[Memory], None] | None = None,
    **options: Any,
) -> Memory:
    """The same estimate, checked against what is free on the device.

    Args:
        adapter: as for ``estimate_before_loading``, like the other arguments.
        weights: the same.
        plans: the same.
        batch: the same.
        chunk: the same.
        tokenizer: the same.
        sampled: the same.
        report: called with the estimate before it is checked.
        options: the same.

    Raises:
        CapacityError: there is too little memory; it says what would need less.
        DiagplanError: as ``estimate_before_loading``.
    """
    sizes = sizes_before_loading(adapter, weights, **options)
    memory = _largest(sizes, plans, batch, chunk, tokenizer, sampled)
    if report is not None:
        report(memory)
    device = str(options.get("device", "cpu"))
    free = free_memory(device)
    if free is not None and memory.total > free:
        others = [
            (words, _largest(other, plans, rows, feeds, tokenizer, sampled))
            for words, other, rows, feeds in _alternatives(adapter, weights, options, sizes, batch, chunk)
        ]
        require_memory(memory, free, device=device, batch=batch, advice=others)
    return memory


def _largest(
    sizes: Sizes, plans: Plan | Rollout | Sequence[Plan], batch: int, chunk: int, tokenizer: int, sampled: bool
) -> Memory:
    if isinstance(plans, Rollout):
        plans = plans.plans
    each = [plans] if isinstance(plans, Plan) else plans
    made = (estimate_memory(sizes, plan, batch, chunk=chunk, tokenizer=tokenizer, sampled=sampled) for plan in each)
    return max(made, key=lambda memory: memory.total)


def _alternatives(
    adapter: str, weights: str | Path, options: dict[str, Any], sizes: Sizes, batch: int, chunk: int
) -> Iterator[tuple[str, Sizes, int, int]]:
    """What could be asked for instead: in words, the model's sizes, the batch and the chunk."""
    if options.get("backend", "torch") == "torch" and options.get("dtype", "float32") == "float32":
        for words, change in (
            ("dtype bfloat16", {"dtype": "bfloat16", "quantize": None}),
            ("int8", {"quantize": "int8"}),
        ):
            try:
                yield words, sizes_before_loading(adapter, weights, **options | change), batch, chunk
            except DiagplanError:
                continue  # this machine has no int8 products
    if chunk > _SMALL_CHUNK:
        yield f"a chunk of {_SMALL_CHUNK}", sizes, batch, _SMALL_CHUNK
    if batch > 1:
        yield f"a batch of {batch // 2}", sizes, batch // 2, chunk
