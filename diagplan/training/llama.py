"""The MC-AR transformer for training: one pass over whole sequences, causal or under another mask, with gradients.

The weights carry the names of ``McArConfig.shapes``; a test holds this pass to the adapter's.
"""

from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from diagplan.adapters.mc_ar import McArConfig, random_weights, rotary_tables

__all__ = ["Attend", "TrainedMcAr"]

#: q [B, H, N, D], k and v [B, K, N, D] -> [B, H, N, D].
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


class TrainedMcAr(nn.Module):
    """MC-AR with weights that can be trained.

    Args:
        config: sizes; the weights begin at random.
        seed: of the weights.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: McArConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.names = list(config.shapes())
        weights = random_weights(config, seed=seed)
        depth = (2 * config.num_hidden_layers) ** -0.5
        for name, weight in weights.items():
            scale = 0.5 if name.endswith("embed_tokens.weight") else 1.0
            if name.endswith(("o_proj.weight", "down_proj.weight")):  # GPT-2: what is added up shrinks with depth
                scale = depth
            self.register_parameter(_flat(name), nn.Parameter(weight * scale if weight.ndim > 1 else weight))
        cos, sin = rotary_tables(config, torch.device("cpu"), torch.float32)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    def weights(self) -> dict[str, Tensor]:
        """The weights by the names of ``McArConfig.shapes``."""
        return {name: getattr(self, _flat(name)) for name in self.names}

    def decayed(self) -> tuple[list[Tensor], list[Tensor]]:
        """The weights that weight decay is for (matrices), and the others (norms)."""
        every: Iterable[Tensor] = self.parameters()
        both: tuple[list[Tensor], list[Tensor]] = ([], [])
        for weight in every:
            both[weight.ndim == 1].append(weight)
        return both

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take weights by the names of ``McArConfig.shapes``, one at a time."""
        with torch.no_grad():
            for name in self.names:
                getattr(self, _flat(name)).copy_(weights[name])

    def forward(
        self,
        ids: Tensor,
        wanted: Tensor | None = None,
        *,
        position: Tensor | None = None,
        attend: Attend | None = None,
    ) -> Tensor:
        """Logits [B, n, V] of ids [B, N].

        Args:
            ids: token ids.
            wanted: the places whose logits are wanted, [n]; by default all.
            position: the slot of each place, [N]; by default 0, 1, 2, ...
            attend: attention; by default causal.
        """
        c, w = self.config, self.weights()
        batch, length = ids.shape
        heads, kv, d = c.num_attention_heads, c.num_key_value_heads, c.head_size
        cos, sin = (table[:length] if position is None else table[position] for table in (self.cos, self.sin))
        x = F.embedding(ids, w["model.embed_tokens.weight"])
        for i in range(c.num_hidden_layers):
            at = f"model.layers.{i}."
            h = F.rms_norm(x, (c.hidden_size,), w[f"{at}input_layernorm.weight"], c.rms_norm_eps)
            joined = torch.cat([w[f"{at}self_attn.{name}_proj.weight"] for name in "qkv"])
            qkv = F.linear(h, joined).view(batch, length, -1, d).transpose(1, 2)
            q, k, v = torch.split(qkv, [heads, kv, kv], dim=1)
            q, k = _rotate(q, cos, sin), _rotate(k, cos, sin)
            if attend is None:
                out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=kv != heads)
            else:
                out = attend(q, k, v)
            out = out.transpose(1, 2).reshape(batch, length, heads * d)
            x = x + F.linear(out, w[f"{at}self_attn.o_proj.weight"])
            h = F.rms_norm(x, (c.hidden_size,), w[f"{at}post_attention_layernorm.weight"], c.rms_norm_eps)
            gate, up = (F.linear(h, w[f"{at}mlp.{name}_proj.weight"]) for name in ("gate", "up"))
            x = x + F.linear(F.silu(gate) * up, w[f"{at}mlp.down_proj.weight"])
        if wanted is not None:
            x = x[:, wanted]
        return F.linear(F.rms_norm(x, (c.hidden_size,), w["model.norm.weight"], c.rms_norm_eps), w["lm_head.weight"])


def _flat(name: str) -> str:
    return name.replace(".", "/")


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-high, low), dim=-1) * sin
