"""How much memory a replay takes, counted before anything is laid out: of a loaded model, or of one still on the disk.

Counted is what grows with the model, the plan, the batch and the chunk. Not counted are the libraries themselves, and
the pages of a mapped checkpoint, which the system takes back when it needs them.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from diagplan.adapters.contract import Model, Widths, own_runtime, widths_of
from diagplan.backends.arguments import require_valid
from diagplan.backends.errors import CapacityError
from diagplan.backends.measured import SpeculationChoice, widest_measured
from diagplan.backends.program import Ints, in_passes, reaches
from diagplan.backends.runtime import STATIC_STEP, runtime_of
from diagplan.backends.speculative_columns import LENGTHS, cache_rows
from diagplan.backends.window import feeds_of
from diagplan.planner.drafts import draft_plan
from diagplan.planner.plan import Plan
from diagplan.planner.rounding import rounded_up
from diagplan.planner.speculation import Speculation, plan_entries, prompt_entries

__all__ = ["Memory", "Sizes", "cache_bytes", "estimate_memory", "require_memory", "sizes_of"]

#: Bytes that choosing one token takes for each entry of the vocabulary: float64 logits, sorted, their indices, shares
#: and sums, under top-p; the arg-max alone takes a copy.
_SAMPLED, _GREEDY = 56, 8
#: Bytes a mask takes while it is made for a pass of speculative replay: it, what it is put together of, and a result.
_MADE = 3


class Memory(NamedTuple):
    """Bytes on the model's device.

    Attributes:
        weights: of the model, with tables of positions and a text's keys and values.
        cache: keys and values of the longest pass.
        masks: of all passes; they are laid out before step 0. With speculation of one pass, made when it is fed.
        activations: of the largest pass, logits and the choice of tokens included.
        tokenizer: weights of the image tokenizer; what it holds while it works on a frame is not counted.
        loading: what comes on top of the weights while they are read; it is gone before the cache is made.
    """

    weights: int
    cache: int
    masks: int
    activations: int = 0
    tokenizer: int = 0
    loading: int = 0

    @property
    def total(self) -> int:
        """The most at any time."""
        return self.weights + self.tokenizer + max(self.loading, self.cache + self.masks + self.activations)

    def __str__(self) -> str:
        left_out = [name for name in ("tokenizer", "loading") if not getattr(self, name)]
        parts = ", ".join(
            f"{name} {size / 2**20:,.1f} MiB" for name, size in self._asdict().items() if name not in left_out
        )
        return f"{self.total / 2**20:,.1f} MiB ({parts})"


class Sizes(NamedTuple):
    """What an estimate needs to know of a model.

    Attributes:
        weights, loading: as in ``Memory``.
        item: bytes of a number of the cache and the activations.
        cache_shapes, vocab_size: as in ``diagplan.adapters.contract.Model``.
        widths: of a layer; ``None``: not known, so that logits alone count as activations.
        length_step: cache lengths are multiples of this many slots.
        scores: whether attention holds the scores of all heads at once, as ONNX Runtime's does.
    """

    weights: int
    loading: int
    item: int
    cache_shapes: tuple[tuple[int, int], ...]
    vocab_size: int
    widths: Widths | None
    length_step: int
    scores: bool = False


def sizes_of(model: Model) -> Sizes:
    """The sizes of a loaded model."""
    runtime = runtime_of(model)
    return Sizes(
        weights=model.weight_bytes(),
        loading=0,
        item=int(model.dtype.itemsize),
        cache_shapes=model.cache_shapes,
        vocab_size=model.vocab_size,
        widths=widths_of(model),
        length_step=STATIC_STEP if runtime.on_gpu else runtime.length_step,
        scores=own_runtime(model) is not None,
    )


def estimate_memory(
    model: Model | Sizes,
    plan: Plan,
    batch: int = 1,
    *,
    chunk: int = 512,
    tokenizer: int = 0,
    sampled: bool = True,
    length_step: int | None = None,
    speculation: SpeculationChoice | None = None,
) -> Memory:
    """The memory of a replay.

    Args:
        model: the model, loaded, or its sizes.
        plan: the plan, as it is fed: padding for CUDA graphs only counts once it is there.
        batch: rows of the model's batch: samples, twice that under guidance.
        chunk: feeds of the widest pass, as for ``diagplan.backends.replay.prepare``.
        tokenizer: bytes of an image tokenizer beside the model.
        sampled: whether tokens are sampled; greedy takes less.
        length_step: cache lengths are multiples of this many slots; the model's own if left out.
        speculation: as the plan is replayed: with a cache row for every entry, passes as wide as the window, and what a
            draft's plan takes; ``"auto"``: the widest window that is measured.

    Raises:
        SpecError: with speculation, a plan that lists mask rows, or a draft's plan that the layout does not allow.
        InvalidPlanError: with speculation, a plan whose columns are no plan's.
    """
    sizes = model if isinstance(model, Sizes) else sizes_of(model)
    if speculation is not None:
        wide = speculation if isinstance(speculation, Speculation) else widest_measured(plan)
        step = length_step or sizes.length_step
        return _speculative(sizes, plan, wide, batch, chunk, tokenizer, step, sampled=sampled)
    feeds, rows, lengths = _passes(plan, chunk, length_step or sizes.length_step)
    slots = int(lengths.max())
    kinds = {*zip(feeds.tolist(), rows.tolist(), lengths.tolist(), strict=True)}  # as Python's ints: none overflows
    return Memory(
        weights=sizes.weights,
        cache=batch * slots * sum(heads * width for heads, width in sizes.cache_shapes) * sizes.item,
        masks=int((feeds * lengths).sum()),
        activations=max(_activations(sizes, batch, *one, sampled=sampled) for one in kinds),
        tokenizer=tokenizer,
        loading=sizes.loading,
    )


def _speculative(
    sizes: Sizes,
    plan: Plan,
    speculation: Speculation,
    batch: int,
    chunk: int,
    tokenizer: int,
    length_step: int,
    *,
    sampled: bool,
) -> Memory:
    """Of passes that feed a window, after a prompt in chunks; samples that advance on their own have masks of own."""
    try:
        entries = plan_entries(plan)
    except (ValueError, IndexError):  # such as no replay takes
        require_valid(plan)
        raise
    window, prompt = min(speculation.window, entries.entries), prompt_entries(entries)
    length, left = cache_rows(entries, feeds_of(window), max(LENGTHS, length_step)), prompt
    while left > 0 and left + window > chunk:
        left -= min(left, chunk)
    kinds = [(feeds_of(window), feeds_of(window)), (feeds_of(left + window), feeds_of(left + window) - left)]
    if left < prompt:
        kinds.append((feeds_of(min(prompt, chunk)), 0))
    own = batch if batch > 1 else 1
    masks = max(own * _MADE * feeds * length for feeds, _ in kinds)
    activations = max(_activations(sizes, batch, *kind, length, sampled=sampled, masks=own) for kind in kinds)
    row = batch * sum(heads * width for heads, width in sizes.cache_shapes) * sizes.item
    memory = Memory(
        weights=sizes.weights, cache=row * length, masks=masks, activations=activations, tokenizer=tokenizer,
        loading=sizes.loading,
    )  # fmt: skip
    first = draft_plan(plan, speculation)
    if first is None:
        return memory
    draft = estimate_memory(sizes, first, batch, chunk=chunk, sampled=sampled, length_step=length_step)
    return memory._replace(
        cache=memory.cache + draft.cache,
        masks=memory.masks + draft.masks,
        activations=max(memory.activations, draft.activations),
    )


def cache_bytes(model: Model, batch: int, slots: int) -> int:
    """Bytes of a model's cache for so many rows and slots."""
    return batch * slots * sum(heads * width for heads, width in model.cache_shapes) * int(model.dtype.itemsize)


def _passes(plan: Plan, chunk: int, length_step: int) -> tuple[Ints, Ints, Ints]:
    """Feeds, feeds with a target and cache lengths of every pass, int64 [passes] each, as ``program`` makes them."""
    plan, bounds = in_passes(plan, chunk)
    start, end = bounds[:-1], bounds[1:]
    chosen = np.concatenate([[0], np.cumsum(plan.target >= 0)])
    lengths: Ints = rounded_up(reaches(plan)[end - 1], length_step)
    return end - start, chosen[end] - chosen[start], lengths


def _activations(sizes: Sizes, batch: int, feeds: int, rows: int, length: int, *, sampled: bool, masks: int = 1) -> int:
    """Bytes of one pass: a layer's or the last product's, whichever are more; they do not live at once."""
    logits = batch * rows * sizes.vocab_size * (2 * sizes.item + (_SAMPLED if sampled else _GREEDY))
    w = sizes.widths
    if w is None:
        return logits
    # The stream, its norm in float32 twice; queries, keys and values, three times over while they are rotated; the
    # feed-forward part. Not all live at once, but a heap gives little back between them.
    attention = (3 * (w.heads + 2 * w.kv_heads) + 2 * w.heads) * w.head
    per_feed = (2 * w.hidden + attention + 2 * w.mlp) * sizes.item + 8 * w.hidden
    # What the mask adds to the scores, and the same for the query heads that share keys.
    bias = masks * (1 + w.heads // w.kv_heads) * sizes.item * feeds * length
    scores = 2 * batch * w.heads * sizes.item * feeds * length if sizes.scores else 0
    return max(batch * feeds * per_feed + scores, logits) + bias


def require_memory(
    memory: Memory,
    free: int | None,
    *,
    device: str = "cpu",
    batch: int = 1,
    advice: Sequence[tuple[str, Memory]] = (),
) -> None:
    """Check that there is room for an estimate.

    Args:
        memory: the estimate.
        free: bytes that are free; ``None``: nobody can say, so nothing is checked.
        device: where.
        batch: rows of the model's batch.
        advice: what could be chosen instead, and the memory that it takes.

    Raises:
        CapacityError: there is not; it names what would need less, first what fits.
    """
    if free is None or memory.total <= free:
        return
    less = sorted((other.total, words) for words, other in advice if other.total < memory.total)
    fitting = [pair for pair in less if pair[0] <= free]
    shown = ", ".join(f"{words} ({total / 2**20:,.1f} MiB)" for total, words in fitting or less)
    advised = "Take one of these:" if fitting else "None of these is enough alone:"
    raise CapacityError(
        f"expected room on {device} for {memory}, for {batch} row(s) of batch, got {free / 2**20:,.1f} MiB free. "
        + (f"{advised} {shown}. Fewer frames" if less else "Fewer frames")
        + " or another device help too. Nothing was loaded."
    )
