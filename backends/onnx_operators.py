"""Which operators an exported graph may be made of, asked before a runtime sees the graph.

ONNX Runtime runs what a file says: a loop of 2^62 turns, or an operator that somebody else's library registered. So the
list below is closed. What it has gives one result, in a time that follows from the sizes of its inputs and its output.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from diagplan.planner.errors import DocumentError
from diagplan.planner.shown import shown

__all__ = ["OPERATORS", "foreign_operators", "require_operators"]

#: Operators of the ONNX standard that an export may have: those that our families are exported to, and their kin, for
#: families of third parties. Without control flow, random numbers, sequences, strings, decoders, recurrent layers.
OPERATORS = frozenset(
    {
        # one value to one value
        "Abs", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil", "Celu",
        "Clip", "Cos", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN",
        "LeakyRelu", "Log", "Mish", "Neg", "Not", "PRelu", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign",
        "Sin", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh",
        # two values, or more, to one
        "Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod",
        "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor",
        # products, attention, normalisation, pooling
        "Attention", "AveragePool", "BatchNormalization", "Conv", "ConvInteger", "ConvTranspose", "DequantizeLinear",
        "DynamicQuantizeLinear", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "GroupNormalization",
        "InstanceNormalization", "LayerNormalization", "LogSoftmax", "LpNormalization", "MatMul", "MatMulInteger",
        "MaxPool", "QLinearConv", "QLinearMatMul", "QuantizeLinear", "RMSNormalization", "RotaryEmbedding", "Softmax",
        # reductions and order
        "ArgMax", "ArgMin", "CumSum", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax",
        "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum", "ReduceSumSquare", "TopK",
        # shapes and places; some of them make much of little, which memory bounds (onnx_runtime.py)
        "Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Expand", "EyeLike", "Flatten", "Gather",
        "GatherElements", "GatherND", "OneHot", "Pad", "Range", "Reshape", "Resize", "ScatterElements", "ScatterND",
        "Shape", "Size", "Slice", "SpaceToDepth", "Split", "Squeeze", "TensorScatter", "Tile", "Transpose", "Trilu",
        "Unsqueeze",
    }
)  # fmt: skip

#: Whole numbers that attributes may hold; at some others, that no export has, ONNX Runtime ends the process.
_RANGE = (-(1 << 20), 1 << 20)
_RANGES = {
    "axis": (-64, 64), "axes": (-64, 64), "batch_dims": (0, 64), "perm": (0, 64), "group": (1, 1 << 20),
    "kernel_shape": (1, 1 << 16), "strides": (1, 1 << 16), "dilations": (1, 1 << 16),
}  # fmt: skip
_INT = 2  # onnx.AttributeProto.INT

_AGAIN = "Export it again: diagplan export-onnx."


def foreign_operators(model: Any) -> list[str]:
    """The operators of an ``onnx.ModelProto`` that are none of ``OPERATORS``, nested ones too, in order."""
    return sorted({str(node.op_type) for node in _nodes(model.graph)} - OPERATORS)


def require_operators(model: Any, path: Path) -> None:
    """Check a graph that anybody may have written: its operators, and where its weights lie.

    Args:
        model: an ``onnx.ModelProto`` without its weights.
        path: of its file; weights may lie beside it, in the file of its name with ``.data`` at the end.

    Raises:
        DocumentError: operators that are not ONNX's own or none of ``OPERATORS``, functions, loops or branches, sparse
            tensors, numbers in attributes that no export has, or weights in another file.
    """
    domains = sorted({str(node.domain) for node in _nodes(model.graph)} - {""})
    is_sparse = any(len(part.sparse_initializer) for part in _graphs(model.graph)) or any(
        attribute.HasField("sparse_tensor") or len(attribute.sparse_tensors)
        for node in _nodes(model.graph)
        for attribute in node.attribute
    )
    if domains or len(model.functions) or is_sparse:
        raise DocumentError(
            f"expected operators of the ONNX standard only in {path}, got some of {_named(domains) or 'its own'}. "
            "Graphs with custom operators are not loaded."
        )
    nested = sorted({str(node.op_type) for node in model.graph.node if list(_inner(node))})
    if nested:
        raise DocumentError(
            f"expected a graph without loops and branches in {path}, got {_named(nested)}. What is exported "
            f"has none, and a loop need not end. {_AGAIN}"
        )
    foreign = foreign_operators(model)
    if foreign:
        raise DocumentError(
            f"expected operators that exports are made of in {path}, got {_named(foreign)}. docs/onnx.md has "
            f"the list. {_AGAIN}"
        )
    for node in _nodes(model.graph):
        for attribute in node.attribute if node.op_type != "Constant" else ():
            low, high = _RANGES.get(attribute.name, _RANGE)
            numbers = [*attribute.ints, *([attribute.i] if attribute.i or attribute.type == _INT else [])]
            if not all(low <= number <= high for number in numbers):
                raise DocumentError(
                    f"expected {_named([attribute.name])} from {low} to {high} in {path}, got another number at "
                    f"{_named([node.op_type])}. {_AGAIN}"
                )
    for tensor in _tensors(model.graph):
        places = [entry.value for entry in tensor.external_data if entry.key == "location"]
        if any(place != f"{path.name}.data" for place in places):
            raise DocumentError(
                f"expected weights in {path.name}.data only, got {shown(places[0])} in {path}. {_AGAIN}"
            )


def _named(names: list[str]) -> str:
    """Names out of a file, as a message may show them; protobuf gives bytes for what is no UTF-8."""
    return "".join(char if char.isprintable() else "?" for char in ", ".join(map(str, names))[:200])


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and the graphs inside its nodes."""
    yield graph
    for node in graph.node:
        for inner in _inner(node):
            yield from _graphs(inner)


def _inner(node: Any) -> Iterator[Any]:
    """The graphs inside a node: a loop's body, a condition's branches."""
    for attribute in node.attribute:
        yield from (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else []))


def _nodes(graph: Any) -> Iterator[Any]:
    for part in _graphs(graph):
        yield from part.node


def _tensors(graph: Any) -> Iterator[Any]:
    """Initializers and constants."""
    for part in _graphs(graph):
        yield from part.initializer
        for node in part.node:
            for attribute in node.attribute:
                yield from (*attribute.tensors, *([attribute.t] if attribute.HasField("t") else []))
