"""LlamaGen written out as it is published: complex rotation, a table with zeros for the condition, no cache.

Plain functions over a dict of tensors; nothing of the adapter is used here but the names of its sizes. Every function
computes in the dtype of the weights.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.llamagen_config import LlamaGenConfig  # noqa: E402

Tensor = Any

CLASSES = LlamaGenConfig(n_layer=2, n_head=2, dim=32, vocab_size=48, num_classes=5, multiple_of=8, largest_side=12)
TEXTS = LlamaGenConfig(
    n_layer=2, n_head=2, dim=32, model_type="t2i", vocab_size=48, caption_dim=20, cls_token_num=7, multiple_of=8,
    largest_side=12,
)  # fmt: skip


def trained(config: LlamaGenConfig, dtype: Any = torch.float64, seed: int = 0) -> dict[str, Tensor]:
    """Weights large enough that random models do not repeat one code; norms that are not one."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in config.shapes().items():
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        weights[name] = (1 + 0.3 * drawn if "norm" in name else 0.4 * drawn).to(dtype)
    return weights


def published_rotation(config: LlamaGenConfig, side: int, *, identity: bool = False) -> Tensor:
    """A complex number for every slot and pair of channels, [P + side^2, D / 2]: zeros for the condition.

    With ``identity`` ones instead, which leave the condition as it is: another model.
    """
    pairs = config.dim // config.n_head // 4  # of rows, and of columns
    speed = torch.tensor([config.rope_base ** (-i / pairs) for i in range(pairs)], dtype=torch.float64)
    cells = [torch.cat((row * speed, col * speed)) for row in range(side) for col in range(side)]
    turned = torch.polar(torch.ones(side * side, 2 * pairs, dtype=torch.float64), torch.stack(cells))
    return torch.cat((torch.full((config.lead, 2 * pairs), float(identity), dtype=turned.dtype), turned))


def published_logits(
    config: LlamaGenConfig,
    weights: Mapping[str, Tensor],
    condition: Tensor,
    codes: Tensor,
    side: int,
    *,
    seen: Tensor | None = None,
    identity: bool = False,
) -> Tensor:
    """Logits of every slot, [B, P + n, V], of a condition [B, P, dim] and codes [B, n] so far.

    ``seen``, bool [B, P]: columns of the condition that others may see.
    """
    x = torch.cat((condition, weights["tok_embeddings.weight"][codes]), dim=1)
    batch, n, dim = x.shape
    rotation = published_rotation(config, side, identity=identity)[:n]
    mask = torch.ones(n, n, dtype=torch.bool).tril().repeat(batch, 1, 1)
    if seen is not None:
        mask[:, :, : seen.shape[1]] &= seen[:, None]
        mask |= torch.eye(n, dtype=torch.bool)
    heads, width = config.n_head, dim // config.n_head

    def norm(name: str, value: Tensor) -> Tensor:
        return value / (value.square().mean(-1, keepdim=True) + config.norm_eps).sqrt() * weights[name]

    def turned(value: Tensor) -> Tensor:
        pairs = torch.view_as_complex(value.reshape(batch, n, heads, width // 2, 2).contiguous().double())
        return torch.view_as_real(pairs * rotation[None, :, None]).flatten(3).to(value.dtype)

    for i in range(config.n_layer):
        own = {name.split(f"layers.{i}.")[1]: w for name, w in weights.items() if name.startswith(f"layers.{i}.")}
        h = norm(f"layers.{i}.attention_norm.weight", x)
        q, k, v = (h @ own["attention.wqkv.weight"].T).split(dim, dim=-1)
        q, k, v = turned(q), turned(k), v.reshape(batch, n, heads, width)
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / width**0.5
        share = scores.masked_fill(~mask[:, None], -torch.inf).softmax(-1)
        x = x + torch.einsum("bhqk,bkhd->bqhd", share, v).reshape(batch, n, dim) @ own["attention.wo.weight"].T
        h = norm(f"layers.{i}.ffn_norm.weight", x)
        up = torch.nn.functional.silu(h @ own["feed_forward.w1.weight"].T) * (h @ own["feed_forward.w3.weight"].T)
        x = x + up @ own["feed_forward.w2.weight"].T
    return norm("norm.weight", x) @ weights["output.weight"].T


def class_condition(weights: Mapping[str, Tensor], classes: Sequence[int]) -> Tensor:
    """Of classes, the null class the last: [B, 1, dim]."""
    return weights["cls_embedding.embedding_table.weight"][list(classes)][:, None]


def text_condition(weights: Mapping[str, Tensor], features: Tensor) -> Tensor:
    """Of features [B, P, C] that are padded on the left, with zeros: [B, P, dim]."""
    up, down = (weights[f"cls_embedding.cap_proj.fc{i}.weight"] for i in (1, 2))
    x = features @ up.T
    return 0.5 * x * (1 + torch.tanh((2 / torch.pi) ** 0.5 * (x + 0.044715 * x**3))) @ down.T


def published_codes(
    config: LlamaGenConfig,
    weights: Mapping[str, Tensor],
    condition: Tensor,
    side: int,
    *,
    null: Tensor | None = None,
    scale: float = 1.0,
    interval: int = -1,
    seen: Tensor | None = None,
) -> Tensor:
    """Greedy next-code decoding, [B, side, side]: each code by a pass over all before it.

    With ``null``, the condition of the other branch, logits are u + scale (c - u); above -1 ``interval`` is how many
    codes behind the second one are still guided.
    """
    both = condition if null is None else torch.cat((condition, null))
    shown = seen if null is None or seen is None else torch.cat((seen, seen))
    codes = torch.zeros((len(condition), 0), dtype=torch.int64)
    for number in range(side * side):
        fed = codes if null is None else torch.cat((codes, codes))
        logits = published_logits(config, weights, both, fed, side, seen=shown)[:, -1]
        if null is not None:
            conditional, unconditional = logits.chunk(2)
            guided = interval == -1 or number - 1 <= interval
            logits = unconditional + scale * (conditional - unconditional) if guided else conditional
        codes = torch.cat((codes, logits.argmax(-1, keepdim=True)), dim=1)
    return codes.view(-1, side, side)
