"""What an exported graph needs beyond the tracer's work: caches written in place, products in int8."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common
from numpy.typing import NDArray

from diagplan.planner.errors import SpecError

__all__ = ["quantize_products", "write_in_place"]


class _Builder:
    """Adds nodes before one node of a graph."""

    def __init__(self, graph: ir.Graph, before: ir.Node) -> None:
        self.graph, self.before, self.operations = graph, before, 0

    def op(self, kind: str, *inputs: ir.Value, **attributes: int) -> ir.Value:
        """A node with one output."""
        node = ir.Node("", kind, inputs, [ir.convenience.convert_attribute(k, v) for k, v in attributes.items()])
        self.graph.insert_before(self.before, node)
        value: ir.Value = node.outputs[0]
        return value

    def constant(self, array: NDArray[np.generic], name: str) -> ir.Value:
        """An initializer; one name is one value."""
        value = self.graph.initializers.get(name)
        if value is None:
            tensor = ir.tensor(array, name=name)
            value = ir.Value(
                name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(array.shape), const_value=tensor
            )
            self.graph.register_initializer(value)
        return value


def write_in_place(model: ir.Model, pasts: Sequence[str], heads: Sequence[int]) -> None:
    """Turn the writes of the cache into ScatterND, which a runtime does in place when input and output share memory.

    Sharing is safe only where nothing else reads the past: attention reads the result of the write.

    Args:
        model: with one ScatterElements along the slots for each past.
        pasts: names of the inputs that hold the cache.
        heads: of each of them.

    Raises:
        SpecError: a cache that is not written exactly once, by ``index_copy_`` along its slots, before it is read.
    """
    graph = model.graph
    inputs = {value.name: value for value in graph.inputs}
    first = next(iter(graph))
    indices: dict[int, ir.Value] = {}
    for name, count in zip(pasts, heads, strict=True):
        uses = [use for use in inputs[name].uses() if use.node.op_type != "Shape"]
        writes = [use.node for use in uses if use.node.op_type == "ScatterElements" and use.idx == 0]
        if len(uses) != 1 or len(writes) != 1:
            raise SpecError(
                f"expected the adapter to write {name} once, with index_copy_ along its slots, before it reads it, got "
                f"uses by {', '.join(use.node.op_type for use in uses) or 'nothing'}. See docs/adapters.md."
            )
        if count not in indices:
            indices[count] = _write_indices(_Builder(graph, first), inputs, count)
        old = writes[0]
        new = ir.Node("", "ScatterND", [inputs[name], indices[count], old.inputs[2]], name=old.name)
        written, result = old.outputs[0], new.outputs[0]
        result.name, result.shape, result.type = written.name, written.shape, written.type
        graph.insert_before(old, new)
        written.replace_all_uses_with(result, replace_graph_outputs=True)
        graph.remove(old, safe=True)
    common.RemoveUnusedNodesPass()(model)


def _write_indices(build: _Builder, inputs: dict[str | None, ir.Value], heads: int) -> ir.Value:
    """(sample, head, slot) of every row that is written, int64 [B, heads, n, 3]; once a pass, for all layers."""

    def constant(values: list[int]) -> ir.Value:
        return build.constant(np.array(values, dtype=np.int64), "write_" + "_".join(map(str, values)))

    batch = build.op("Shape", inputs["ids"], start=0, end=1)
    feeds = build.op("Shape", inputs["ids"], start=1, end=2)
    shape = build.op("Concat", batch, constant([heads]), feeds, constant([1]), axis=0)
    zero = build.constant(np.array(0, dtype=np.int64), "write_zero")
    one = build.constant(np.array(1, dtype=np.int64), "write_one")
    samples = build.op("Range", zero, build.op("Squeeze", batch), one)
    every_head = build.constant(np.arange(heads, dtype=np.int64).reshape(1, heads, 1, 1), f"write_heads_{heads}")
    slot = inputs["slot"]
    assert slot.shape is not None
    of_each = len(slot.shape) == 2  # [B, n]; else [n], for all samples
    own = build.op("Unsqueeze", slot, constant([1, 3] if of_each else [0, 1, 3]))
    parts = (
        build.op("Expand", build.op("Reshape", samples, constant([-1, 1, 1, 1])), shape),
        build.op("Expand", every_head, shape),
        build.op("Expand", own, shape),
    )
    return build.op("Concat", *parts, axis=-1)


def quantize_products(model: ir.Model) -> int:
    """Take the products with constant matrices in int8, but for the one that makes the logits; how many.

    The arithmetic is that of ``diagplan.adapters.linear.Int8Linear``: weights symmetric with a scale for each output,
    activations with a scale for each row, so that a token never depends on what it shares a pass with.
    """
    graph = model.graph
    logits = graph.outputs[0]
    products = [node for node in graph if node.op_type == "MatMul" and _matrix(node) is not None]
    products = [node for node in products if not any(value is logits for value in node.outputs)]
    packed: dict[str, tuple[ir.Value, ir.Value]] = {}
    rows: dict[ir.Value, tuple[ir.Value, ir.Value]] = {}
    for node in products:
        build = _Builder(graph, node)
        weight, x = node.inputs[1], node.inputs[0]
        assert weight is not None
        assert weight.name is not None
        assert x is not None
        if weight.name not in packed:
            matrix = _matrix(node)
            assert matrix is not None
            peak = np.maximum(np.abs(matrix).max(axis=0), np.finfo(np.float32).tiny)
            codes = np.rint(matrix * (np.float32(127) / peak)).astype(np.int8)
            packed[weight.name] = (
                build.constant(codes, f"{weight.name}_int8"),
                build.constant(peak / np.float32(127**2), f"{weight.name}_scale"),
            )
        if x not in rows:
            rows[x] = _row_codes(build, x)
        codes_value, peak_value = rows[x]
        small, scale = packed[weight.name]
        middle = build.constant(np.array(128, dtype=np.uint8), "int8_middle")
        whole = build.op("Cast", build.op("MatMulInteger", codes_value, small, middle), to=ir.DataType.FLOAT)
        out = build.op("Mul", build.op("Mul", whole, scale), peak_value)
        node.outputs[0].replace_all_uses_with(out)
        graph.remove(node, safe=True)
    common.RemoveUnusedNodesPass()(model)
    return len(products)


def _row_codes(build: _Builder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Codes 1 to 255 around 128, and the largest magnitude, of each row of activations."""
    last = build.constant(np.array([-1], dtype=np.int64), "int8_last")
    size = build.op("Abs", x)
    # ReduceMax loses NaN, the sum does not: a row with NaN or infinity comes out as NaN, as it must.
    bad = build.op("Mul", build.op("ReduceSum", size, last), build.constant(np.zeros(1, np.float32), "int8_zero"))
    peak = build.op("Add", build.op("ReduceMax", size, last), bad)
    scaled = build.op("Mul", build.op("Div", x, peak), build.constant(np.full(1, 127, np.float32), "int8_range"))
    shifted = build.op("Add", scaled, build.constant(np.full(1, 128.5, np.float32), "int8_round"))
    return build.op("Cast", shifted, to=ir.DataType.UINT8), peak


def _matrix(node: ir.Node) -> NDArray[np.float32] | None:
    """The constant matrix that a product is taken with, [in, out]."""
    tensor = None if node.inputs[1] is None else node.inputs[1].const_value
    if tensor is None or len(tensor.shape) != 2 or tensor.dtype != ir.DataType.FLOAT:
        return None
    return tensor.numpy()
