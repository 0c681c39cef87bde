"""The memory of a replay before any weight is loaded: from a checkpoint's headers, the configuration and the plan."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from diagplan.adapters.devices import require_torch
from diagplan.adapters.families import family_named
from diagplan.adapters.options import LoadOptions
from diagplan.backends.measured import SpeculationChoice
from diagplan.backends.memory import Memory, Sizes, estimate_memory, require_memory
from diagplan.backends.room import free_memory
from diagplan.backends.table import backend_named
from diagplan.planner.chain import Chain
from diagplan.planner.errors import DiagplanError, SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.rollout import Rollout

__all__ = ["estimate_before_loading", "require_memory_before_loading", "sizes_before_loading", "tokenizer_bytes"]

#: Feeds of a pass that advice names.
_SMALL_CHUNK = 64


def sizes_before_loading(
    adapter: str, weights: str | Path, options: LoadOptions | None = None, **loose: Any
) -> Sizes | None:
    """The sizes that ``load_model`` with the same arguments would give a model; reads headers, no tensor.

    Args:
        adapter: as for ``load_model``.
        weights: as for ``load_model``.
        options: as for ``load_model``; defaults where left out.
        loose: the same one by one.

    Returns:
        the sizes; ``None``: the family or the backend cannot tell before loading.

    Raises:
        DiagplanError: as ``load_model``, for what headers and configuration show.
    """
    asked = _options(options, loose)
    return backend_named(asked.backend).sizes(adapter, weights, asked)


def _options(options: LoadOptions | None, loose: dict[str, Any]) -> LoadOptions:
    return (options or LoadOptions()).replaced(**loose)


def tokenizer_bytes(adapter: str, path: str | Path, *, backend: str = "torch") -> int:
    """Bytes of the weights of an image tokenizer, from headers.

    Args:
        adapter: its family.
        path: as for the family's loader: a folder of diffusers' VQModel (MC-AR), a folder with encoder.jit and
            decoder.jit (Cosmos), the checkpoint (WHAM); for the backend ``"onnx"`` the exported folder.
        backend: what runs it.

    Raises:
        SpecError: a family without image tokenizer.
        DocumentError: files that are missing or cannot be read.
    """
    if backend_named(backend).exported:
        from diagplan.backends.onnx_tokenizer import exported_tokenizer_bytes

        return exported_tokenizer_bytes(path)
    require_torch()
    pictures = family_named(adapter).pictures
    if pictures is None:
        raise SpecError(f"expected a family with an image tokenizer, got adapter={adapter!r}, which has none.")
    return pictures.weight_bytes(Path(path))


def estimate_before_loading(
    adapter: str,
    weights: str | Path,
    plans: Plan | Rollout | Chain | Sequence[Plan],
    options: LoadOptions | None = None,
    *,
    batch: int = 1,
    chunk: int = 512,
    tokenizer: int = 0,
    sampled: bool = True,
    speculation: SpeculationChoice | None = None,
    **loose: Any,
) -> Memory | None:
    """The memory of a replay, before anything is loaded; of a rollout or a chain, that of its largest plan.

    Args:
        adapter: as for ``load_model``.
        weights: as for ``load_model``.
        plans: the plan, or those of a rollout or a chain, which are replayed one after the other.
        options: as for ``load_model``; defaults where left out.
        batch: rows of the model's batch: samples, twice that under guidance.
        chunk: as for ``diagplan.backends.replay.prepare``.
        tokenizer: bytes of an image tokenizer beside the model: ``tokenizer_bytes``.
        sampled: whether tokens are sampled; greedy takes less.
        speculation: as for ``diagplan.backends.memory.estimate_memory``.
        loose: options one by one.

    Returns:
        the estimate; ``None``: the family or the backend cannot tell before loading.

    Raises:
        DiagplanError: as ``load_model``, for what headers and configuration show.
    """
    sizes = sizes_before_loading(adapter, weights, options, **loose)
    return None if sizes is None else _largest(sizes, plans, batch, chunk, tokenizer, sampled, speculation)


def require_memory_before_loading(
    adapter: str,
    weights: str | Path,
    plans: Plan | Rollout | Chain | Sequence[Plan],
    options: LoadOptions | None = None,
    *,
    batch: int = 1,
    chunk: int = 512,
    tokenizer: int = 0,
    sampled: bool = True,
    speculation: SpeculationChoice | None = None,
    report: Callable[[Memory], None] | None = None,
    **loose: Any,
) -> Memory | None:
    """The same estimate, checked against what is free on the device.

    Args:
        adapter: as for ``estimate_before_loading``, like the other arguments.
        weights: the same.
        plans: the same.
        options: the same.
        batch: the same.
        chunk: the same.
        tokenizer: the same.
        sampled: the same.
        speculation: the same.
        report: called with the estimate before it is checked.
        loose: the same.

    Returns:
        the estimate; ``None``: the family or the backend cannot tell before loading, and nothing was checked.

    Raises:
        CapacityError: there is too little memory; it says what would need less.
        DiagplanError: as ``estimate_before_loading``.
    """
    asked = _options(options, loose)
    sizes = sizes_before_loading(adapter, weights, asked)
    if sizes is None:
        return None
    memory = _largest(sizes, plans, batch, chunk, tokenizer, sampled, speculation)
    if report is not None:
        report(memory)
    free = free_memory(asked.device)
    if free is not None and memory.total > free:
        others = [
            (words, _largest(other, plans, rows, feeds, tokenizer, sampled, speculation))
            for words, other, rows, feeds in _alternatives(adapter, weights, asked, sizes, batch, chunk)
        ]
        require_memory(memory, free, device=asked.device, batch=batch, advice=others)
    return memory


def _largest(
    sizes: Sizes,
    plans: Plan | Rollout | Chain | Sequence[Plan],
    batch: int,
    chunk: int,
    tokenizer: int,
    sampled: bool,
    speculation: SpeculationChoice | None,
) -> Memory:
    each: Sequence[Plan] = [plans] if isinstance(plans, Plan) else ()
    if isinstance(plans, Rollout):
        each = plans.plans
    elif isinstance(plans, Chain):
        each = [plans.continued(number).plan for number in range(len(plans.plans))]
    elif not isinstance(plans, Plan):
        each = plans
    estimates = [
        estimate_memory(sizes, plan, batch, chunk=chunk, tokenizer=tokenizer, sampled=sampled, speculation=speculation)
        for plan in each
    ]
    if isinstance(plans, Chain):  # one cache serves all
        cache = max(memory.cache for memory in estimates)
        estimates = [memory._replace(cache=cache) for memory in estimates]
    return max(estimates, key=lambda memory: memory.total)


def _alternatives(
    adapter: str, weights: str | Path, options: LoadOptions, sizes: Sizes, batch: int, chunk: int
) -> Iterator[tuple[str, Sizes, int, int]]:
    """What could be asked for instead: in words, the model's sizes, the batch and the chunk."""
    if not backend_named(options.backend).exported and options.dtype == "float32":
        for words, other in (
            ("dtype bfloat16", options.replaced(dtype="bfloat16", quantize=None)),
            ("int8", options.replaced(quantize="int8")),
        ):
            try:
                smaller = sizes_before_loading(adapter, weights, other)
            except DiagplanError:
                continue  # this machine has no int8 products
            if smaller is not None:
                yield words, smaller, batch, chunk
    if chunk > _SMALL_CHUNK:
        yield f"a chunk of {_SMALL_CHUNK}", sizes, batch, _SMALL_CHUNK
    if batch > 1:
        yield f"a batch of {batch // 2}", sizes, batch // 2, chunk
