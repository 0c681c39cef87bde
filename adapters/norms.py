"""RMS norm, for the families that this project runs in its own operators."""

from functools import cached_property

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

__all__ = ["RmsNorm", "rms_norm"]


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) over the last axis, times a weight.

    Statistics are in float32 (float64 stays), and the weight multiplies the value cast back (Zhang, Sennrich 2019; the
    rounding is that of Llama's release).

    Args:
        x: [..., n].
        weight: [n], or [..., n] that broadcasts to x.
        eps: added to the mean of squares.
    """
    wide = x.to(torch.promote_types(x.dtype, torch.float32))
    if wide is x and not torch.compiler.is_compiling():
        return F.rms_norm(x, x.shape[-1:], None, eps) * weight
    scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
    return weight * (wide * scale).to(x.dtype)


class RmsNorm:
    """``rms_norm`` by one weight. In float32 on a CPU by the length of x, four operators instead of ten.

    x / sqrt(|x|^2 + n eps), times sqrt(n) weight: the same number up to rounding. A row that lies in one piece has the
    same bits among any rows.

    Args:
        weight: [n], or [..., n] that broadcasts to x. It is read at the first pass; later changes of it are not seen.
        eps: added to the mean of squares.
        portable: compute as ``rms_norm``, as an export needs it.
    """

    # NOTE: why care about six operators on 256 numbers? A pass of a small model is a few hundred calls, and each needs
    # room in the processor's caches for its code: docs/benchmarks.md.

    def __init__(self, weight: Tensor, eps: float, *, portable: bool = False) -> None:
        self.weight, self.eps = weight, eps
        self._short = weight.dtype == torch.float32 and weight.device.type == "cpu" and not portable

    @cached_property
    def _scaled(self) -> tuple[Tensor, Tensor]:
        """sqrt(n) weight and sqrt(n eps); of the first pass, for among the large buffers of loading they cost room."""
        n = self.weight.shape[-1]
        with torch.inference_mode(False), torch.no_grad():
            return self.weight * n**0.5, self.weight.new_tensor((n * self.eps) ** 0.5)

    def __call__(self, x: Tensor) -> Tensor:
        """Of x [..., n] in the weight's dtype."""
        if not self._short:
            return rms_norm(x, self.weight, self.eps)
        weight, least = self._scaled
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return (x / torch.hypot(length, least)).mul_(weight)
