"""The forward contract: what lets one plan run on every model and every runtime.

Shapes: B samples, n feeds of one pass, L cache slots that a pass attends over, V vocabulary entries. Everything a
pass needs is an input of fixed shape, so nothing about a plan is known to a model, and nothing about a model to a
backend. Arrays are torch tensors for the adapters, NumPy arrays where a runtime without torch stands behind a model.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.samplers import Sampler
from diagplan.planner.coordinates import Coordinates
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout

__all__ = [
    "LENGTH_STEP",
    "AllowedIds",
    "Array",
    "Cache",
    "Config",
    "Grid",
    "ImageTokenizer",
    "Model",
    "Ranks",
    "Runtime",
    "Widths",
    "allowed_ids",
    "axes_of",
    "config_of",
    "coordinates_of",
    "input_vocab_of",
    "is_ragged",
    "lead_width_of",
    "only_batch_of",
    "own_runtime",
    "own_threads",
    "ranks_of",
    "widths_of",
]

#: Cache lengths are multiples of this many slots, unless a runtime has its own step: attention kernels like them so.
LENGTH_STEP = 64

#: A torch tensor or a NumPy array, as the model takes them.
Array = Any


class Cache(Protocol):
    """Keys and values: arrays [B, heads, slots, width], as many and as wide as ``Model.cache_shapes`` says."""

    def read(self, slots: int) -> list[NDArray[Any]]:
        """A copy of the first ``slots`` slots, [B, heads, slots, width] each; bfloat16 as its bits, uint16."""
        ...

    def write(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Put back what ``read`` gave."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedIds:
    """The ids that cells of some rows and columns may take.

    Args:
        low, high: ids low to high, less one.
        rows, cols: half-open ranges of a frame's rows and columns; an end of ``None`` is the last.
    """

    low: int
    high: int
    rows: tuple[int, int | None] = (0, None)
    cols: tuple[int, int | None] = (0, None)


def allowed_ids(rules: Sequence[AllowedIds], layout: Layout) -> NDArray[np.int64]:
    """The ids that may be chosen for every slot, as half-open ranges, int64 [positions, 2]; of several rules the last.

    Slots that are no cells, which are never chosen, have the empty range.
    """
    table = np.zeros((layout.rows, layout.cols, 2), dtype=np.int64)
    for rule in rules:
        table[slice(*rule.rows), slice(*rule.cols)] = rule.low, rule.high
    ranges = np.zeros((layout.positions, 2), dtype=np.int64)
    ranges[layout.cell_slots(prompt=True)] = table
    return ranges


class Grid(NamedTuple):
    """Rows and columns of a frame, and tokens between frames."""

    rows: int
    cols: int
    between_frames: int


class Widths(NamedTuple):
    """How many numbers a layer holds of one feed, for estimates of memory.

    Attributes:
        hidden: of the stream between layers.
        heads, kv_heads, head: queries, keys and values, and the width of each.
        mlp: of the first product of the feed-forward part, the gate included.
    """

    hidden: int
    heads: int
    kv_heads: int
    head: int
    mlp: int


class Config(Protocol):
    """A model's sizes; a dataclass, so that ``dataclasses.asdict`` gives what an export writes down.

    ``widths`` may be ``None``: not known.
    """

    @property
    def cache_shapes(self) -> tuple[tuple[int, int], ...]:
        """(heads, width) of each array of the cache."""
        ...

    @property
    def widths(self) -> Widths | None:
        """Of a layer."""
        ...

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The name and shape of every weight."""
        ...

    def weight_bytes(self, itemsize: int, quantize: Any = None, *, packed: bool = False, text_tokens: int = 0) -> int:
        """Bytes of a loaded model's weights, with what it keeps of a text.

        Args:
            itemsize: bytes of a number.
            quantize: as for ``LoadOptions``.
            packed: whether linear layers are reordered, which makes copies.
            text_tokens: of all texts together.
        """
        ...


class Ranks(Protocol):
    """The processes that one model is spread over, seen from one of them (docs/many.md).

    Attributes:
        rank: which this one is.
        world: how many there are.
    """

    @property
    def rank(self) -> int: ...  # noqa: D102
    @property
    def world(self) -> int: ...  # noqa: D102

    def sum(self, x: Array) -> Array:
        """The sum of every rank's x, which all have alike; x may be overwritten."""
        ...

    def join(self, x: Array, sizes: Sequence[int]) -> Array:
        """Every rank's x, one behind the other along the last axis, of which rank r has ``sizes[r]``."""
        ...

    def numbers(self, number: int) -> list[int]:
        """Every rank's number, an int64, in the order of ranks."""
        ...


class Runtime(Protocol):
    """Arrays on one device: what replay does with them besides ``Model.forward``.

    Attributes:
        on_gpu: whether launching a pass costs more than padding it.
        graphs: whether passes of fixed shapes run from torch's static buffers, on a GPU as CUDA graphs.
        length_step: cache lengths are multiples of this many slots; a new length costs, and so do masked slots.
    """

    on_gpu: bool
    graphs: bool
    length_step: int

    def put(self, array: NDArray[Any]) -> Array:
        """A NumPy array as this runtime's, on its device."""
        ...

    def numpy(self, array: Array) -> NDArray[Any]:
        """The other way round."""
        ...

    def float32(self, logits: Array) -> Array:
        """As float32."""
        ...

    def all_finite(self, logits: Array) -> bool:
        """Whether there is no NaN and no infinity."""
        ...

    def choose(self, logits: Array, sampler: Sampler, keys: Array, allowed: tuple[int, int] | Array) -> Array:
        """The chosen ids, int64 [B, m]; arguments as for ``diagplan.backends.sampling.torch_choose``."""
        ...

    def inference(self) -> AbstractContextManager[object]:
        """A context around all passes."""
        ...


class ImageTokenizer(Protocol):
    """Frames to tokens and back, frame by frame; a token stands for a square of pixels.

    Attributes:
        codes: entries of the codebook.
        factor: pixels of a token's side.
    """

    codes: int
    factor: int

    def encode(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Tokens int64 [T, height / factor, width / factor] of frames uint8 [T, height, width, 3]."""
        ...

    def decode(self, tokens: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """The other way round."""
        ...


class Model(Protocol):
    """One model, loaded on one device in one dtype.

    A model may have these too; what it lacks reads as ``None``, through the functions below:

    ======================  ==================  ===============================================================
    member                  read by             what it is
    ======================  ==================  ===============================================================
    ``widths: Widths``      ``widths_of``       of a layer, for estimates of memory; without it logits alone
                                                count as activations
    ``config``              ``config_of``       its sizes, a dataclass, which an export writes down
    ``runtime: Runtime``    ``own_runtime``     what handles its arrays, where they are not torch's
    ``only_batch: int``     ``only_batch_of``   the one batch that can pass through it, where it holds something
                                                for each sample, such as a text; it is not exported
    ``threads: int``        ``own_threads``     CPU threads of its passes, where they are not torch's
    ``input_vocab_size``    ``input_vocab_of``  ids that may be fed: all below it; without it those below
                                                ``vocab_size``. A head of image ids alone is narrower than the
                                                embedding, in which text has ids too
    ``ragged: bool``        ``is_ragged``       whether samples of one pass may differ in position, slot and mask
                                                too, each with a leading axis B; without it all share them
    ``coordinates``         ``coordinates_of``  a function of the layouts of a chain so far (of one layout, where
                                                there is no chain): where each position slot of the last one lies,
                                                int64 [positions, axes]; ``forward`` then gets ``position`` as rows
                                                of this table, with a last axis more
    ``lead_width: int``     ``lead_width_of``   numbers of an embedding that may be fed in an id's place, see ``lead``
                                                of ``forward``; without it there are ids alone
    ``ranks: Ranks``        ``ranks_of``        the processes it is spread over, where this one holds a part: all of
                                                them take every pass together, and get the same logits
    ======================  ==================  ===============================================================

    Attributes:
        family: name of the adapter, e.g. ``"mc-ar"``.
        vocab_size: V, entries of a row of logits; ids that may be chosen are below it.
        positions: longest sequence the model has position embeddings for, in slots.
        device, dtype: where the weights are, and as what; of torch, or of NumPy.
        cache_shapes: (heads, width) of each array of the cache.
        vocabulary: which ids may be chosen where.
        grid: what the position embeddings are made for; ``None``: any.
    """

    family: str
    vocab_size: int
    positions: int
    device: Any
    dtype: Any
    cache_shapes: tuple[tuple[int, int], ...]
    vocabulary: tuple[AllowedIds, ...]
    grid: Grid | None

    def new_cache(self, batch: int, slots: int) -> Any:
        """A ``Cache`` of zeros for ``batch`` samples and ``slots`` cache slots."""
        ...

    def weight_bytes(self) -> int:
        """Bytes of the weights."""
        ...

    def fingerprint(self) -> str:
        """A short text that differs between models of other configurations or weights."""
        ...

    def forward(self, ids: Array, position: Array, slot: Array, mask: Array, cache: Any, rows: Array = None) -> Array:
        """One pass: write keys and values at ``slot``, attend under ``mask``, return logits.

        A model with ``lead_width`` takes one argument more, ``lead``: embeddings, [B, P, width] in the model's dtype;
        an id below zero, -1 - i, is fed as embedding i of its sample. ``None``: all ids are ids.

        Args:
            ids: token ids, int64 [B, n].
            position: position slots, int64 [n]; position embeddings come from these, never from the order of feeding.
                Of a model with ``coordinates``: rows of its table, int64 [n, axes].
            slot: cache slots to write, int64 [n]; a slot may be written again. Slots of one pass differ, except the
                trash slot of padding.
            mask: bool [n, L], true where a feed sees a cache slot, this pass's writes included; L may be less than the
                cache's slots, but covers every slot that is written or seen. Padding sees what the first feed sees. A
                ``ragged`` model takes each of these three with a leading axis B as well, whatever the other two have:
                [B, n], [B, n, axes], [B, n, L].
            cache: from ``new_cache``; changed in place.
            rows: feeds whose logits are wanted, int64 [m]; ``None``: all.

        Returns:
            logits, [B, m, V] in the model's dtype. An ONNX Runtime model may overwrite them in its next pass.
        """
        ...


def widths_of(model: Model) -> Widths | None:
    """A model's ``widths``; ``None`` where it has none."""
    return getattr(model, "widths", None)


def config_of(model: Model) -> Any:
    """A model's ``config``, a dataclass; ``None`` where it has none."""
    return getattr(model, "config", None)


def own_runtime(model: Model) -> Runtime | None:
    """A model's ``runtime``; ``None`` where its arrays are torch's."""
    return getattr(model, "runtime", None)


def only_batch_of(model: Model) -> int | None:
    """A model's ``only_batch``, samples; ``None`` where any batch can pass."""
    return getattr(model, "only_batch", None)


def input_vocab_of(model: Model) -> int:
    """How many ids may be fed to a model: ``input_vocab_size``, or its ``vocab_size`` where it has none."""
    return int(getattr(model, "input_vocab_size", model.vocab_size))


def is_ragged(model: Model) -> bool:
    """Whether samples of one pass may differ in position, slot and mask: ``ragged``, or false where it has none."""
    return bool(getattr(model, "ragged", False))


def coordinates_of(model: Model, *layouts: Layout) -> NDArray[np.int64] | None:
    """Where a model says that each position slot of the last of some layouts lies, int64 [positions, axes].

    The layouts are those of a chain so far, of which each begins with the positions of the one before. ``None``: of a
    model whose positions are slots.
    """
    coordinates = getattr(model, "coordinates", None)
    return None if coordinates is None else np.asarray(coordinates(*layouts), dtype=np.int64)


def axes_of(model: Model) -> tuple[str, ...] | None:
    """Names of the axes of a model's ``coordinates``; ``None``: its positions are slots.

    Raises:
        SpecError: coordinates that are a function of the model's own, which no export can carry.
    """
    coordinates = getattr(model, "coordinates", None)
    if coordinates is None or isinstance(coordinates, Coordinates):
        return None if coordinates is None else coordinates.axes
    raise SpecError(
        f"expected coordinates that have names for an export, got a function of this {model.family} model. Make them a "
        "diagplan.planner.coordinates.Coordinates."
    )


def lead_width_of(model: Model) -> int | None:
    """A model's ``lead_width``, numbers of an embedding; ``None`` where it takes ids alone."""
    return getattr(model, "lead_width", None)


def own_threads(model: Model) -> int | None:
    """A model's ``threads``, CPU threads of its passes; ``None``: torch's."""
    return getattr(model, "threads", None)


def ranks_of(model: Model) -> Ranks | None:
    """A model's ``ranks``; ``None``: it is whole in this process."""
    return getattr(model, "ranks", None)
