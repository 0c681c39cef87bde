"""Linear layers for a few rows at a time.

Plain matrix products on the CPU are fast for one row and for many, and several times slower in between (3 to 15 rows):
the weights are reordered ahead for oneDNN, which is nearly flat there, in bfloat16 too. The layouts agree to float
rounding. Small float32 matrices that float16 holds exactly are kept in float16, which is half the bytes and the same
product. On request the products are taken in int8, which reads a quarter of float32's bytes and rounds far more.
"""

import warnings
from functools import cache
from typing import Any, Protocol, cast, get_args

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from diagplan.adapters.devices import Quantize
from diagplan.planner.errors import SpecError
from diagplan.planner.shown import shown

__all__ = [
    "HalfLinear",
    "Int8Linear",
    "Linear",
    "PackedLinear",
    "PlainLinear",
    "Quantize",
    "is_half",
    "is_packed",
    "linear_for",
    "require_quantize",
]


class Linear(Protocol):
    """y = x W^T without bias, for x [..., in]."""

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Apply the layer, plus ``added``, [..., out], if there is one: [..., in] -> [..., out]."""
        ...


class PlainLinear:
    """The weight as it is, [out, in]."""

    def __init__(self, weight: Tensor) -> None:
        self.weight = weight

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Apply the layer, plus ``added``, [..., out], if there is one: [..., in] -> [..., out]."""
        out = F.linear(x, self.weight)
        return out if added is None else added + out


class PackedLinear:
    """The weight in oneDNN's own order, CPU only.

    Args:
        weight: [out, in].
        least_rows: fewer rows are padded with zeros.
    """

    def __init__(self, weight: Tensor, *, least_rows: int = 1) -> None:
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight)
        self.plain = torch.ops.mkldnn._linear_pointwise.default
        self.adding = torch.ops.mkldnn._linear_pointwise.binary
        self.least_rows = least_rows

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Apply the layer, plus ``added``, [..., out], if there is one: [..., in] -> [..., out]."""
        if 0 < x.numel() < self.least_rows * x.shape[-1]:
            return self._padded(x, added)
        if added is not None and x.dtype == torch.float32:  # narrower floats would be rounded once, not twice
            return cast("Tensor", self.adding(x, added, self.packed, None, "add"))
        out: Tensor = self.plain(x, self.packed, None, "none", [], "")
        return out if added is None else added + out

    def _padded(self, x: Tensor, added: Tensor | None) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        rows = flat.shape[0]
        wide = F.pad(flat, (0, 0, 0, self.least_rows - rows))
        out: Tensor = self.plain(wide, self.packed, None, "none", [], "")[:rows].view(*x.shape[:-1], -1)
        return out if added is None else added + out


class HalfLinear:
    """A float32 weight that float16 holds exactly, in float16; activations and sums are float32. x86 CPUs only.

    A row's bits are the same among any rows, and of up to 512 inputs those of ``PackedLinear``.
    """

    # NOTE: why not quantized.linear_dynamic_fp16? The same kernel by way of a script object: 14 microseconds a call
    # more, which is twice what the product of a small matrix takes. It would run in several threads; this does not.

    def __init__(self, weight: Tensor) -> None:
        pack, self.product = _half_operators()
        self.packed: Tensor = pack(weight)

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Apply the layer, plus ``added``, [..., out], if there is one: [..., in] -> [..., out]."""
        out: Tensor = self.product(x, self.packed, None)
        return out if added is None else out.add_(added)


@cache
def _half_operators() -> tuple[Any, Any]:
    """FBGEMM's: what packs a weight, and the product. They warn once that they may go; then oneDNN's are taken."""
    pack, product = torch.fbgemm_pack_gemm_matrix_fp16, torch.fbgemm_linear_fp16_weight_fp32_activation
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        product(torch.ones(1, 1), pack(torch.ones(1, 1)), None)
    return pack, product


class Int8Linear:
    """Symmetric int8 weights with a scale for each output; activations are quantised as they come, x86 CPUs only.

    Each row of activations has a scale of its own, so that a token never depends on what it shares a pass with.
    """

    # NOTE: why not torch.ao's dynamic Linear? Its quantised tensors are deprecated, and it has one scale for all rows.

    def __init__(self, weight: Tensor) -> None:
        peak = weight.abs().amax(dim=1).clamp_min(torch.finfo(weight.dtype).tiny)
        codes = (weight * (127 / peak)[:, None]).round_().to(torch.int8)
        self.packed = torch.ops.onednn.qlinear_prepack(codes, None)
        self.scale = peak / 127**2
        self.zero = torch.zeros(len(peak), dtype=torch.int64)
        self.middle = torch.tensor(128.5)

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """Apply the layer, as ``Linear`` says. NaN and infinity come through as NaN."""
        flat = x.reshape(-1, x.shape[-1])
        peak = flat.abs().amax(dim=1, keepdim=True)
        # Codes 1 to 255 around 128: the cast cuts off, the half makes it round. A row of zeros is scaled by 0 below.
        codes = torch.addcdiv(self.middle, flat, peak, value=127).to(torch.uint8)
        out = torch.ops.onednn.qlinear_pointwise(
            codes, 1.0, 128, self.packed, self.scale, self.zero, None, 1.0, 0, torch.float32, "none", [], ""
        )
        wide: Tensor = out.mul_(peak).view(*x.shape[:-1], out.shape[-1])
        return wide if added is None else wide.add_(added)


def require_quantize(quantize: Quantize | None, device: torch.device, dtype: torch.dtype) -> None:
    """Check that weights on this device and of this dtype can be quantised so.

    Raises:
        SpecError: they cannot.
    """
    if quantize is None:
        return
    if quantize not in get_args(Quantize):
        raise SpecError(
            f"expected quantize to be None or one of {', '.join(get_args(Quantize))}, got {shown(quantize)}."
        )
    if device.type != "cpu" or dtype != torch.float32:
        raise SpecError(
            f"expected device cpu and dtype float32 for quantize='int8', got device={shown(str(device))} and "
            f"dtype={shown(str(dtype).removeprefix('torch.'))}. The int8 products are those of x86 CPUs. "
            "Leave quantize out, or load in float32 on the CPU."
        )
    # Without these instructions the products of u8 and s8 saturate: wrong numbers, not slow ones.
    can = torch.cpu.get_capabilities()
    if "onednn" not in torch.backends.quantized.supported_engines or not (
        can.get("avx512_vnni") or can.get("avx_vnni")
    ):
        raise SpecError(
            "expected a PyTorch build with the onednn engine on an x86 CPU with VNNI for quantize='int8', got "
            "another. Leave quantize out."
        )


def linear_for(
    weight: Tensor,
    quantize: Quantize | None = None,
    *,
    portable: bool = False,
    least_rows: int = 1,
) -> Linear:
    """The fastest layer for this weight's device and dtype; plain tensors if ``portable``.

    ``require_quantize`` comes first. ``least_rows`` is for large
    matrices, which oneDNN reads faster for four rows than for one to three.
    """
    if portable:
        return PlainLinear(weight)
    if quantize is not None:
        return Int8Linear(weight)
    if is_half(weight):
        return HalfLinear(weight)
    if not is_packed(weight.device, weight.dtype):
        return PlainLinear(weight)
    return PackedLinear(weight, least_rows=least_rows)


#: Larger matrices are multiplied in several threads, by oneDNN.
_HALF_NUMBERS = 1 << 20


def is_half(weight: Tensor) -> bool:
    """Whether a weight that is not quantised is kept in float16: a small one in float32 whose numbers float16 holds."""
    can = hasattr(torch, "fbgemm_linear_fp16_weight_fp32_activation")
    if not can or "fbgemm" not in torch.backends.quantized.supported_engines:
        return False
    fits = weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.numel() <= _HALF_NUMBERS
    # Packing would make 65504 of an infinity, which then nobody sees.
    return fits and bool(torch.isfinite(weight).all()) and torch.equal(weight.half().float(), weight)


def is_packed(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether a weight that is not quantised is reordered, which makes a copy of it."""
    can = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return can and device.type == "cpu" and dtype in (torch.float32, torch.bfloat16)
