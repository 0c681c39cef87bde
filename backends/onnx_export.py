"""Export a model's forward contract as ONNX: one step graph that replays any plan.

Inputs: ids [B, n], position [n], slot [n], mask [n, L], rows [m], and each array of the cache, ``past_i`` [B, heads, L,
width]; outputs: logits [B, m, V] and ``present_i``, the written caches. B, n, L and m are free. The graph is traced from
the adapter's own forward (torch.onnx, through torch.export); caches are written by ScatterND, in place where ``past_i``
and ``present_i`` share memory.
"""

import hashlib
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from diagplan.adapters.cache import TensorCache
from diagplan.adapters.contract import Model
from diagplan.backends.onnx_files import DATA, GRAPH, OPSETS
from diagplan.backends.onnx_graph import quantize_products, write_in_place
from diagplan.planner.errors import DocumentError, MissingExtraError, SpecError
from diagplan.schemas.files import producer_version
from diagplan.schemas.onnx_model import KEY, AllowedIdsDocument, LayoutFamily, OnnxModelDocument

__all__ = ["export_model"]


class _Step(torch.nn.Module):
    """A model's forward as a module, with the cache as a flat list."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, ids: Tensor, position: Tensor, slot: Tensor, mask: Tensor, rows: Tensor, past: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        logits: Tensor = self.model.forward(ids, position, slot, mask, TensorCache(past), rows)
        return logits, past


def export_model(
    model: Model,
    folder: str | Path,
    *,
    config: Mapping[str, Any],
    layout: LayoutFamily | None = None,
    quantize: Literal["int8"] | None = None,
    opset: int = 23,
) -> OnnxModelDocument:
    """Write ``model.onnx`` and ``model.onnx.data``.

    Args:
        model: a torch model whose weights are plain tensors (``load_model(..., portable=True)``).
        folder: made if it is not there.
        config: the model's sizes, for the metadata.
        layout: the grid that its positions are made for, if they are.
        quantize: ``"int8"``: products of the layers in int8, the arithmetic of ``load_model(quantize="int8")``.
        opset: 23 or 24.

    Raises:
        SpecError: a model that cannot be exported so.
        DocumentError: the files cannot be written.
        MissingExtraError: onnx or onnxscript is not installed.
    """
    if opset not in OPSETS:
        raise SpecError(f"expected opset to be one of {', '.join(map(str, OPSETS))}, got opset={opset}.")
    if quantize is not None and (quantize != "int8" or model.dtype != torch.float32):
        raise SpecError(
            f"expected quantize to be None, or 'int8' for a float32 model, got quantize={quantize!r} and {model.dtype}."
        )
    program = _traced(model, opset)
    graph = program.model
    pasts = [f"past_{i}" for i in range(len(model.cache_shapes))]
    write_in_place(graph, pasts, [heads for heads, _ in model.cache_shapes])
    if quantize == "int8":
        quantize_products(graph)
    _forget_the_tracer(graph)
    graph.graph.name = f"diagplan {model.family}"
    about = {
        "version": 1,
        "producer": f"diagplan {producer_version()}",
        "family": model.family,
        "config": dict(config),
        "dtype": str(model.dtype).removeprefix("torch."),
        "quantize": quantize,
        "vocab_size": model.vocab_size,
        "positions": model.positions,
        "cache_shapes": model.cache_shapes,
        "vocabulary": [
            AllowedIdsDocument(low=rule.low, high=rule.high, rows=rule.rows, cols=rule.cols)
            for rule in model.vocabulary
        ],
        "layout": layout,
        "source": model.fingerprint(),
    }
    with _whole(Path(folder)) as temporary:
        return _save(graph, about, temporary)


def _traced(model: Model, opset: int) -> Any:
    """torch's ONNX program of one pass."""
    try:
        import onnxscript
    except ImportError:
        raise MissingExtraError(
            "expected the packages onnx and onnxscript for export, got none. Install them: pip install 'diagplan[onnx]'."
        ) from None
    op = getattr(onnxscript, f"opset{opset}")

    def index_copy(self: Any, dim: int, index: Any, source: Any) -> Any:
        """aten::index_copy along the slots; torch's own way transposes the whole cache twice."""
        if dim != 2:
            raise SpecError(f"expected index_copy_ along dimension 2, the slots, got dimension {dim}.")
        across = op.Expand(op.Reshape(index, op.Constant(value_ints=[1, 1, -1, 1])), op.Shape(source))
        return op.ScatterElements(self, across, source, axis=2)

    batch, feeds, slots, rows = 2, 3, 64, 2  # none of them 0 or 1, which tracing would take for constants
    device = model.device
    inputs = (
        torch.zeros((batch, feeds), dtype=torch.int64, device=device),
        torch.arange(feeds, device=device),
        torch.arange(feeds, device=device),
        torch.ones((feeds, slots), dtype=torch.bool, device=device),
        torch.arange(rows, device=device),
        model.new_cache(batch, slots).tensors,
    )
    dim = torch.export.Dim
    b, n, length, m = dim("batch"), dim("feeds"), dim("slots"), dim("rows")
    count = len(model.cache_shapes)
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        return torch.onnx.export(
            _Step(model).eval(),
            inputs,
            dynamo=True,
            opset_version=opset,
            dynamic_shapes=({0: b, 1: n}, {0: n}, {0: n}, {0: n, 1: length}, {0: m}, ({0: b, 2: length},) * count),
            input_names=["ids", "position", "slot", "mask", "rows", *(f"past_{i}" for i in range(count))],
            output_names=["logits", *(f"present_{i}" for i in range(count))],
            custom_translation_table={torch.ops.aten.index_copy.default: index_copy},
            verbose=False,
        )


def _forget_the_tracer(graph: Any) -> None:
    """Drop the tracer's notes on every node, which hold paths of this machine."""
    for holder in (graph, graph.graph, *graph.graph, *graph.graph.inputs, *graph.graph.outputs):
        holder.metadata_props.clear()
        holder.doc_string = None
    for node in graph.graph:
        for value in node.outputs:
            value.metadata_props.clear()


@contextmanager
def _quiet() -> Iterator[None]:
    """torch logs what it does not find, such as torchvision, which nothing here needs."""
    import logging

    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` whose files are moved there at the end, or removed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".diagplan-", dir=folder) as made:
            yield Path(made)
            for path in sorted(Path(made).iterdir(), reverse=True):  # the data first: the graph says what it must be
                os.replace(path, folder / path.name)  # noqa: PTH105
    except OSError as error:
        raise DocumentError(
            f"expected to write an exported model to {folder}, got: {error.strerror or error}. Give another folder."
        ) from None


def _save(graph: Any, about: Mapping[str, Any], folder: Path) -> OnnxModelDocument:
    import onnx
    import onnx_ir as ir

    ir.save(graph, folder / GRAPH, external_data=DATA)
    data = folder / DATA
    with data.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    said = OnnxModelDocument.model_validate({**about, "weights_bytes": data.stat().st_size, "weights_sha256": digest})
    written = onnx.load(folder / GRAPH, load_external_data=False)
    onnx.helper.set_model_props(written, {KEY: said.model_dump_json()})
    onnx.save(written, folder / GRAPH)
    onnx.checker.check_model(folder / GRAPH)
    return said
