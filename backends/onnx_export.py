"""Export a model's forward contract as ONNX: one step graph that replays any plan; and image tokenizers.

Inputs: ids [B, n], position [n], slot [n], mask [n, L], rows [m], and each array of the cache, ``past_i`` [B, heads,
L, width]; outputs: logits [B, m, V] and ``present_i``, the written caches. B, n, L and m are free. Position, slot and
mask of a ``ragged`` model have a leading axis B; where there are coordinates, position has a last axis; where
embeddings may be fed, there is an input lead [B, P, width]. The graph is traced from the adapter's own forward
(torch.onnx, through torch.export); caches are written by ScatterND, in place where
``past_i`` and ``present_i`` share memory.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from diagplan.adapters.cache import TensorCache
from diagplan.adapters.contract import (
    Model,
    axes_of,
    input_vocab_of,
    is_ragged,
    lead_width_of,
    only_batch_of,
    ranks_of,
    widths_of,
)
from diagplan.adapters.parallel_cuts import require_whole
from diagplan.backends.onnx_files import OPSETS, save_exported
from diagplan.planner.errors import DiagplanError, SpecError
from diagplan.planner.extras import missing_packages
from diagplan.planner.shown import shown
from diagplan.schemas.onnx_model import (
    AllowedIdsDocument,
    GridDocument,
    OnnxModelDocument,
    OnnxTokenizerDocument,
    WidthsDocument,
)

__all__ = ["TorchTokenizer", "export_model", "export_tokenizer"]


class _Step(torch.nn.Module):
    """A model's forward as a module, with the cache as a flat list."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        ids: Tensor,
        position: Tensor,
        slot: Tensor,
        mask: Tensor,
        rows: Tensor,
        past: tuple[Tensor, ...],
        lead: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        more = () if lead is None else (lead,)
        logits: Tensor = self.model.forward(ids, position, slot, mask, TensorCache(past), rows, *more)
        return logits, past


class TorchTokenizer(Protocol):
    """An image tokenizer whose network is torch's."""

    codes: int
    factor: int

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        ...

    def encoded(self, frames: Tensor) -> Tensor:
        """Tokens int64 [T, rows, cols] of frames uint8 [T, height, width, 3]."""
        ...

    def decoded(self, tokens: Tensor) -> Tensor:
        """The other way round."""
        ...


class _Function(torch.nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def export_model(
    model: Model,
    path: Path,
    *,
    config: Mapping[str, Any],
    companions: Mapping[str, str] | None = None,
    quantize: Literal["int8"] | None = None,
    opset: int = 23,
) -> OnnxModelDocument:
    """Write a step graph, and its weights beside it (``.data``).

    Args:
        model: a torch model whose weights are plain tensors (``load_model(..., portable=True)``).
        path: of the graph.
        config: the model's sizes, for the metadata.
        companions: SHA-256 of files that belong to it.
        quantize: ``"int8"``: products of the layers in int8, the arithmetic of ``load_model(quantize="int8")``.
        opset: 23 or 24.

    Raises:
        SpecError: a model that cannot be exported so.
        OSError: the files cannot be written.
        MissingExtraError: onnx or onnxscript is not installed.
    """
    if quantize not in (None, "int8") or (quantize is not None and model.dtype != torch.float32):
        raise SpecError(
            f"expected quantize to be None, or 'int8' for a float32 model, got quantize={shown(quantize)} and "
            f"{model.dtype}."
        )
    only = only_batch_of(model)
    if only is not None:
        raise SpecError(
            f"expected a model through which any batch can pass, got a {model.family} model with {only} texts, one for "
            "each sample. One graph serves every batch. Bind one text, model.with_context(text) or --context with one "
            "text, and export a graph for each."
        )
    require_whole(ranks_of(model), "an export")
    program = _traced_step(model, opset)
    from diagplan.backends.onnx_graph import quantize_products, write_in_place

    pasts = [f"past_{i}" for i in range(len(model.cache_shapes))]
    write_in_place(program, pasts, [heads for heads, _ in model.cache_shapes])
    if quantize == "int8":
        quantize_products(program)
    widths = widths_of(model)
    about = {
        "family": model.family,
        "config": dict(config),
        "dtype": str(model.dtype).removeprefix("torch."),
        "quantize": quantize,
        "vocab_size": model.vocab_size,
        "input_vocab_size": None if input_vocab_of(model) == model.vocab_size else input_vocab_of(model),
        "positions": model.positions,
        "cache_shapes": model.cache_shapes,
        "vocabulary": [
            AllowedIdsDocument(low=rule.low, high=rule.high, rows=rule.rows, cols=rule.cols)
            for rule in model.vocabulary
        ],
        "grid": None if model.grid is None else GridDocument(**model.grid._asdict()),
        "ragged": is_ragged(model),
        "axes": axes_of(model),
        "lead_width": lead_width_of(model),
        "widths": None if widths is None else WidthsDocument(**widths._asdict()),
        "source": model.fingerprint(),
        "companions": dict(companions or {}),
    }
    return save_exported(program, path, OnnxModelDocument, about)


def export_tokenizer(tokenizer: TorchTokenizer, encoder: Path, decoder: Path, *, rows: int, cols: int) -> None:
    """Write the two halves of an image tokenizer for frames of one size.

    Args:
        tokenizer: the tokenizer.
        encoder: where to write the graph of frames -> tokens.
        decoder: where to write the graph of tokens -> frames.
        rows: of a frame's tokens.
        cols: of a frame's tokens.

    Raises:
        OSError: the files cannot be written.
        MissingExtraError: onnx or onnxscript is not installed.
    """
    pixels = (2, rows * tokenizer.factor, cols * tokenizer.factor, 3)
    about = {"codes": tokenizer.codes, "factor": tokenizer.factor, "rows": rows, "cols": cols}
    frames = torch.zeros(pixels, dtype=torch.uint8, device=tokenizer.device)
    tokens = torch.zeros((2, rows, cols), dtype=torch.int64, device=tokenizer.device)
    count = {0: torch.export.Dim("frame_count")}
    for path, kind, function, example, names in (
        (encoder, "encoder", tokenizer.encoded, frames, ("frames", "tokens")),
        (decoder, "decoder", tokenizer.decoded, tokens, ("tokens", "frames")),
    ):
        program = _traced(_Function(function), (example,), (count,), [names[0]], [names[1]], OPSETS[0])
        save_exported(program, path, OnnxTokenizerDocument, about | {"kind": kind})


def _traced_step(model: Model, opset: int) -> Any:
    """The ONNX graph of one pass."""
    batch, feeds, slots, rows, leading = 2, 3, 64, 2, 4  # none of them 0 or 1, which tracing would take for constants
    device, count, axes, width = model.device, len(model.cache_shapes), axes_of(model), lead_width_of(model)
    dim = torch.export.Dim
    b, n, length, m = dim("batch"), dim("feeds"), dim("slots"), dim("rows")
    place = torch.arange(feeds, device=device)
    position = place.clone() if axes is None else place[:, None].repeat(1, len(axes))
    mask = torch.ones((feeds, slots), dtype=torch.bool, device=device)
    shared = ((position, {0: n}), (place, {0: n}), (mask, {0: n, 1: length}))
    if is_ragged(model):
        shared = tuple(
            (array.expand(batch, *array.shape).clone(), {0: b} | {axis + 1: size for axis, size in free.items()})
            for array, free in shared
        )  # type: ignore[assignment]
    inputs: list[Any] = [
        torch.zeros((batch, feeds), dtype=torch.int64, device=device),
        *(array for array, _ in shared),
        torch.arange(rows, device=device),
        model.new_cache(batch, slots).tensors,
    ]
    shapes: list[Any] = [{0: b, 1: n}, *(free for _, free in shared), {0: m}, ({0: b, 2: length},) * count]
    names = ["ids", "position", "slot", "mask", "rows", *(f"past_{i}" for i in range(count))]
    if width is not None:
        inputs.append(torch.zeros((batch, leading, width), dtype=model.dtype, device=device))
        shapes.append({0: b, 1: dim("leading")})
        names.append("lead")
    outputs = ["logits", *(f"present_{i}" for i in range(count))]
    return _traced(_Step(model), tuple(inputs), tuple(shapes), names, outputs, opset)


def _traced(
    module: torch.nn.Module,
    inputs: tuple[Any, ...],
    shapes: tuple[Any, ...],
    input_names: list[str],
    output_names: list[str],
    opset: int,
) -> Any:
    """torch's ONNX program of a module, an ``onnx_ir.Model``."""
    if opset not in OPSETS:
        raise SpecError(f"expected opset to be one of {', '.join(map(str, OPSETS))}, got opset={shown(opset)}.")
    try:
        import onnxscript
    except ImportError:
        raise missing_packages("export", ["onnxscript"]) from None
    op: Any = onnxscript.opset23  # these operators are the same in 24

    def index_copy(self: Any, dim: int, index: Any, source: Any) -> Any:
        """aten::index_copy along the slots; torch's own way transposes the whole cache twice."""
        if dim != 2:
            raise SpecError(f"expected index_copy_ along dimension 2, the slots, got dimension {dim}.")
        across = op.Expand(op.Reshape(index, op.Constant(value_ints=[1, 1, -1, 1])), op.Shape(source))
        return op.ScatterElements(self, across, source, axis=2)

    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        try:
            traced: Any = torch.onnx.export(
                module.eval(),
                inputs,
                dynamo=True,
                opset_version=opset,
                dynamic_shapes=shapes,
                input_names=input_names,
                output_names=output_names,
                custom_translation_table={torch.ops.aten.index_copy.default: index_copy},
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            if isinstance(cause, DiagplanError):
                raise cause from None
            reason = " ".join(str(cause).split())[:300]
            raise SpecError(
                f"expected a model that torch can trace, got {type(cause).__name__}: {reason}. Load it with "
                "portable=True; docs/adapters.md says what an adapter's forward may do."
            ) from None
    return traced.model


@contextmanager
def _quiet() -> Iterator[None]:
    """torch logs what it does not find, such as torchvision, which nothing here needs."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
