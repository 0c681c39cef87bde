"""One layer of a Llama as one function of tensors, for torch.compile: norms, rotation, activation in few kernels.

A pass of one feed is little work and many kernels: as PyTorch's own operators a layer takes about forty, and starting
them costs more than reading the weights. Compiled it takes about a dozen. The function is the same for every layer, so
it is compiled once for one feed and once for more, not for each layer or shape.

Compiled kernels keep float32 where operators round in between: tokens may differ where two logits are nearly equal.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from diagplan.adapters.attention import attend, parts_for
from diagplan.adapters.cache import TensorCache
from diagplan.adapters.linear import Linear, PlainLinear
from diagplan.adapters.norms import rms_norm
from diagplan.planner.errors import SpecError

__all__ = ["Fused", "LayerPass", "Sizes", "Weights", "compiled_layer", "fused_stream", "layer_pass", "plain_weight"]

# Shapes: B samples, n feeds, L cache slots, H heads, K key-value heads, D width of a head.


class Weights(NamedTuple):
    """The tensors of one layer; matrices are [out, in], ``qk_norm`` is [H + K, D] or missing."""

    attention_norm: Tensor
    qkv: Tensor
    qk_norm: Tensor | None
    out: Tensor
    mlp_norm: Tensor
    gate_up: Tensor
    down: Tensor


class Sizes(NamedTuple):
    """What is the same for every layer and pass: H, K, the epsilon of norms and the scale of scores."""

    heads: int
    kv_heads: int
    eps: float
    scale: float


def plain_weight(linear: Linear) -> Tensor:
    """The matrix of a layer that holds it as it is.

    Raises:
        SpecError: one that is packed or quantised.
    """
    if not isinstance(linear, PlainLinear):
        raise SpecError(
            "expected plain weights for compiled layers, got packed or quantised ones. They are a CPU's own. Load with "
            "portable=True, or on a GPU."
        )
    return linear.weight


def layer_pass(
    x: Tensor, delta: Tensor, weights: Weights, sizes: Sizes, cos: Tensor, sin: Tensor, bias: Tensor, slot: Tensor,
    keys: Tensor, values: Tensor, parts: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """One layer: (stream, what the next layer adds to it), both [B, n, hidden].

    Args:
        x: the stream.
        delta: what the layer before adds to it: added here, so that it is one kernel with the norm.
        weights: of the layer.
        sizes: of all layers.
        cos: of the feeds, [1 or B, 1, n, D].
        sin: likewise, the first half of each row negated.
        bias: from ``diagplan.adapters.attention.mask_bias``.
        slot: cache slots to write, int64 [n] or [B, n].
        keys: the layer's, [B, K, slots, D]; written in place.
        values: likewise.
        parts: into which the cache is cut.
    """
    batch, n, _ = x.shape
    length = bias.shape[-1]
    heads, kv_heads, eps, scale = sizes
    x = x + delta
    qkv = F.linear(rms_norm(x, weights.attention_norm, eps), weights.qkv)
    qkv = qkv.view(batch, n, heads + 2 * kv_heads, -1)
    qk, v = torch.split(qkv, [heads + kv_heads, kv_heads], dim=2)
    if weights.qk_norm is not None:
        qk = rms_norm(qk, weights.qk_norm, eps)
    q, k = torch.split(_rotate(qk.transpose(1, 2), cos, sin), [heads, kv_heads], dim=1)
    for own, new in ((keys, k), (values, v.transpose(1, 2))):
        if slot.ndim == 1:
            own.index_copy_(2, slot, new)
        else:
            own.scatter_(2, slot[:, None, :, None].expand(new.shape), new)
    seen = attend(q, keys[:, :, :length], values[:, :, :length], bias, scale, parts=parts)
    x = x + F.linear(seen, weights.out)
    gate, up = F.linear(rms_norm(x, weights.mlp_norm, eps), weights.gate_up).chunk(2, dim=-1)
    return x, F.linear(F.silu(gate) * up, weights.down)


LayerPass = Callable[..., tuple[Tensor, Tensor]]
#: What a model's layers are run by, and the weights of each.
Fused = tuple[LayerPass, list[Weights]]


def compiled_layer() -> LayerPass:
    """``layer_pass`` compiled for any number of feeds and any cache length; for one feed apart."""
    with warnings.catch_warnings():  # the compiler is imported here, and warns of torch's own deprecated parts
        warnings.simplefilter("ignore", DeprecationWarning)
        compiled: LayerPass = torch.compile(layer_pass)
    return compiled


def fused_stream(
    fused: Fused, x: Tensor, sizes: Sizes, cos: Tensor, sin: Tensor, bias: Tensor, slot: Tensor, cache: TensorCache,
    length: int,
) -> Tensor:  # fmt: skip
    """All layers: what the last norm reads, [B, n, hidden], of embeddings x; else as for ``layer_pass``."""
    run, layers = fused
    parts = parts_for(x.device, x.shape[0], sizes.kv_heads, length)
    delta = torch.zeros_like(x)
    caches = ((tensor, (2,)) for i in range(len(layers)) for tensor in cache.layer(i))
    free: list[tuple[Tensor, tuple[int, ...]]] = [(x, (1,)), (delta, (1,)), (cos, (-2,)), (sin, (-2,)), *caches]
    for tensor, axes in (*free, (bias, (-2, -1)), (slot, (-1,))):
        for axis in axes:  # whatever else differs would be compiled anew
            torch._dynamo.maybe_mark_dynamic(tensor, axis % tensor.ndim)
    for i, weights in enumerate(layers):
        x, delta = run(x, delta, weights, sizes, cos, sin, bias, slot, *cache.layer(i), parts)
    return x + delta


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Half-rotation: channel c pairs with c + D/2. x [B, heads, n, D]; the first half of ``sin`` is negated."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat((x[..., half:], x[..., :half]), dim=-1) * sin
