"""Attention of few queries over a long cache: on a GPU the cache is cut into parts that are read side by side.

A kernel gives each (sample, head) one multiprocessor, which then reads the whole cache alone: a model of four key-value
heads would use four of a hundred. So the slots are cut into parts, each attended over by itself, and the results are
weighed by their sums of exponentials, which is the same number but for rounding (Dao, Haziza, Massa, Sizov: Flash-
Decoding, 2023).
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

__all__ = ["attend", "mask_bias", "mask_values", "parts_for"]

# Shapes: B samples, n feeds, L cache slots, H heads, K key-value heads, G = H / K, D width of a head, S parts.

#: Slots of a part are a multiple of so many.
_PART = 64
#: Blocks of (sample, head, part) that fill a GPU, and parts at most: more would only have to be joined.
_BLOCKS, _PARTS = 128, 16


def parts_for(device: torch.device, batch: int, kv_heads: int, length: int) -> int:
    """Into how many parts the slots are cut: a power of two, 1 on a CPU, whose kernels cut by themselves.

    Args:
        device: of the cache.
        batch: B.
        kv_heads: K.
        length: L.

    >>> parts_for(torch.device("cuda"), 1, 4, 6144), parts_for(torch.device("cpu"), 1, 4, 6144)
    (16, 1)
    """
    parts = 1 if device.type != "cuda" else _PARTS
    while parts > 1 and (batch * kv_heads * parts > _BLOCKS or length % (parts * _PART)):
        parts //= 2
    return parts


def mask_values(device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """What is added to the score of a slot that is seen, and of one that is not, [1] each."""
    # On a GPU a part may be hidden wholly: -infinity less -infinity would be NaN.
    hidden = -math.inf if device.type != "cuda" else -3e4 if dtype == torch.float16 else -1e30
    seen, unseen = (torch.tensor([value], dtype=dtype, device=device) for value in (0.0, hidden))
    return seen, unseen


def mask_bias(mask: Tensor, values: tuple[Tensor, Tensor], group: int) -> Tensor:
    """What a mask adds to the scores, [G n, L] or [B, 1, G n, L]: once a pass, not in every layer.

    Args:
        mask: bool [n, L] or [B, n, L].
        values: from ``mask_values``.
        group: G.
    """
    bias = torch.where(mask, *values)
    bias = torch.cat([bias] * group, dim=-2) if group > 1 else bias
    return bias if mask.ndim == 2 else bias[:, None]


def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, *, parts: int | None = None) -> Tensor:
    """Attention of q [B, H, n, D] over k, v [B, K, L, D] plus bias [..., G n, L], as [B, n, H D].

    The G query heads of one key-value head become rows of one query, so that keys are read once.

    Args:
        q: queries.
        k: keys, rows of a cache.
        v: values.
        bias: from ``mask_bias``; ``None``: all is seen.
        scale: of the scores.
        parts: S; ``None``: as ``parts_for`` has it.
    """
    batch, heads, n, d = q.shape
    kv_heads, length = k.shape[1], k.shape[2]
    # Views that split and join whole axes: torch.export cannot follow the strides of one reshape through both.
    apart = (batch, kv_heads, heads // kv_heads, n, d)
    folded = q if heads == kv_heads else q.reshape(apart).flatten(2, 3)
    parts = parts_for(q.device, batch, kv_heads, length) if parts is None else parts
    if parts == 1 or bias is None:
        out = F.scaled_dot_product_attention(folded, k, v, attn_mask=bias, scale=scale)
    else:
        out = _in_parts(folded, k, v, bias, scale, parts)
    if heads == kv_heads:
        return out.transpose(1, 2).flatten(2)
    return out.reshape(apart).permute(0, 3, 1, 2, 4).flatten(2)


def _in_parts(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float, parts: int) -> Tensor:
    """Of q [B, K, R, D] over k, v [B, K, L, D]: parts take the place of heads, (sample, head) that of the batch."""
    batch, kv_heads, rows, d = q.shape
    length = k.shape[2]
    apart = (batch * kv_heads, parts, length // parts, d)
    keys, values = (x.view(batch, kv_heads, *apart[1:]).flatten(0, 1) for x in (k, v))
    queries = q.reshape(batch * kv_heads, 1, rows, d).expand(-1, parts, -1, -1)
    cut = bias.view(*bias.shape[:-1], parts, length // parts).transpose(-3, -2)  # [..., S, R, L / S]
    if cut.ndim == 3:
        cut = cut.expand(batch * kv_heads, parts, rows, length // parts)
    else:
        cut = cut.expand(batch, kv_heads, parts, rows, length // parts).flatten(0, 1)
    out, sums = _with_sums(queries, keys, values, cut, scale)  # [B K, S, R, D], float32 [B K, S, R]
    share = torch.softmax(sums, dim=1)[..., None]
    return (out * share).sum(dim=1).to(q.dtype).view(batch, kv_heads, rows, d)


def _with_sums(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Attention, and the logarithm of each row's sum of exponentials."""
    if q.device.type == "cuda":
        efficient = torch.ops.aten._scaled_dot_product_efficient_attention
        out, sums, *_ = efficient(q, k, v, bias, True, scale=scale)
        return out, sums[..., : q.shape[2]]  # padded to a multiple of 32 rows
    on_cpu = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out, sums = on_cpu(q, k, v, attn_mask=bias, scale=scale)
    return out, sums
