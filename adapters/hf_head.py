"""The rows of a head that make logits of a picture's ids: no cell may take another id, so no pass computes others.

Of Emu3's 184,622 rows 32,768 are the picture's: the rest would be most of what a pass of few layers reads.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.nn import Linear as TorchLinear

__all__ = ["among_all", "is_plain", "picture_head"]

# Shapes: B rows of the batch, m feeds with a target, H width of the stream, V entries of the logits.


def picture_head(head: Any, ids: tuple[int, int], width: int) -> Callable[[Tensor], Tensor]:
    """A head that computes the logits of the picture's ids alone, where it is a plain linear layer; else as it is.

    Args:
        head: the stream [B, m, H] to logits [B, m, V].
        ids: the picture's, first and end.
        width: V.

    Returns:
        the stream [B, m, H] to logits [B, m, V], in which all other ids have zeros.
    """
    low, high = ids
    if (low, high) == (0, width) or not is_plain(head):
        whole: Callable[[Tensor], Tensor] = head
        return whole

    def narrow(stream: Tensor) -> Tensor:
        bias = None if head.bias is None else head.bias[low:high]
        return among_all(F.linear(stream, head.weight[low:high], bias), ids, width)

    return narrow


def among_all(logits: Tensor, ids: tuple[int, int], width: int) -> Tensor:
    """Logits [B, m, high - low] of ids low to high, less one, with zeros around them, [B, m, width]."""
    return F.pad(logits, (ids[0], width - ids[1]))


def is_plain(head: Any) -> bool:
    """Whether a head is a linear layer whose weight lies here, whole, and which nothing else takes part in."""
    return (
        type(head) is TorchLinear
        and not hasattr(head, "_hf_hook")  # it may bring the weight from elsewhere
        and not head._forward_hooks
        and not head._forward_pre_hooks
        and type(head.weight.data) is torch.Tensor  # quantised and sharded ones are of other classes
        and head.weight.device.type != "meta"
    )
