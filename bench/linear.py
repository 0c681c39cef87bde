"""Milliseconds of one product by rows: ``python -m bench.linear``.

Sixteen weights in turn, as a model reads them, so that none stays in the processor's cache: packed as they are, packed
with rows padded to four, and torch's plain product. The least of several runs, in seconds of the processor.
"""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diagplan.adapters.linear import PackedLinear, PlainLinear

OUT, IN, COUNT = 5632, 2048, 16


def timed(layers: Sequence[Callable[[Tensor], Tensor]], x: Tensor) -> float:
    """Milliseconds of one layer."""
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for layer in layers:
            layer(x)
        best = min(best, time.process_time() - start)
    return best / len(layers) * 1e3


def as_it_is(layer: PackedLinear) -> Callable[[Tensor], Tensor]:
    """The packed product without padding."""
    return lambda x: torch.ops.mkldnn._linear_pointwise(x, layer.packed, None, "none", [], "")


def main() -> None:
    for dtype in (torch.float32, torch.bfloat16):
        weights = [torch.randn(OUT, IN, dtype=dtype) for _ in range(COUNT)]
        packed = [PackedLinear(weight) for weight in weights]
        kinds: dict[str, Sequence[Callable[[Tensor], Tensor]]] = {
            "as it is": [as_it_is(layer) for layer in packed],
            "padded": packed,
            "plain": [PlainLinear(weight) for weight in weights],
        }
        for rows in (1, 2, 3, 4, 6, 8):
            x = torch.randn(rows, IN, dtype=dtype)
            print(dtype, rows, "rows:", ", ".join(f"{kind} {timed(some, x):.2f}" for kind, some in kinds.items()))


if __name__ == "__main__":
    main()
