"""A second implementation of replay: reads a plan's JSON and nothing else of diagplan. Greedy, NumPy only.

``replay(plan, given, forward)`` walks the document; ``forward`` is the model's side of the contract: it gets ids [n],
positions [n], cache slots [n] and mask rows [n, slots] and returns logits [n, vocabulary].
"""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Forward = Callable[[Array, Array, Array, Array], Array]


def replay(text: str, given_ids: Array, forward: Forward) -> tuple[Array, int]:
    """The ids of all slots after the last step, and the number of forward passes."""
    plan = json.loads(text)
    ids = np.full(plan["positions"], -1)
    given = np.concatenate([np.arange(start, end) for start, end in plan["given"]])
    ids[given] = given_ids
    for step in plan["steps"]:
        source, target = np.array(step["source"]), np.array(step["target"])
        mask = np.zeros((len(source), plan["cache"]["slots"]), dtype=bool)
        for row, runs in zip(mask, step["rows"], strict=True):
            for start, end in zip(runs[::2], runs[1::2], strict=True):
                row[start:end] = True
        fed = np.where(source < 0, 0, ids[source])
        assert (fed >= 0).all()
        logits = forward(fed, np.array(step["position"]), np.array(step["slot"]), mask)
        chosen = target >= 0
        ids[target[chosen]] = logits[chosen].argmax(axis=1)
    return ids, len(plan["steps"])


class Llama:
    """A Llama in NumPy float32: grouped heads, rotary positions by slot, a cache written at given slots."""

    def __init__(self, weights: dict[str, Array], config: dict[str, Any], slots: int) -> None:
        self.w, self.c = weights, config
        self.heads, self.kv = config["num_attention_heads"], config["num_key_value_heads"]
        self.dim = config["hidden_size"] // self.heads
        shape = (config["num_hidden_layers"], slots, self.kv, self.dim)
        self.keys, self.values = np.zeros(shape, np.float32), np.zeros(shape, np.float32)

    def norm(self, x: Array, name: str) -> Array:
        scale = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + self.c["rms_norm_eps"])
        return np.asarray((x * scale) * self.w[name])

    def rotate(self, x: Array, position: Array) -> Array:
        half = self.dim // 2
        angle = position[:, None] * self.c["rope_theta"] ** (-np.arange(half) / half)
        cos, sin = (f(angle)[:, None, :].astype(np.float32) for f in (np.cos, np.sin))
        a, b = x[..., :half], x[..., half:]
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    def forward(self, ids: Array, position: Array, slot: Array, mask: Array) -> Array:
        x = self.w["model.embed_tokens.weight"][ids]
        for i in range(len(self.keys)):
            p = f"model.layers.{i}."
            h = self.norm(x, p + "input_layernorm.weight")
            q, k, v = ((h @ self.w[f"{p}self_attn.{n}_proj.weight"].T).reshape(len(ids), -1, self.dim) for n in "qkv")
            self.keys[i][slot], self.values[i][slot] = self.rotate(k, position), v
            keys, values = (np.repeat(cache[i], self.heads // self.kv, axis=1) for cache in (self.keys, self.values))
            scores = np.einsum("nhd,lhd->hnl", self.rotate(q, position), keys) / np.sqrt(self.dim)
            scores = np.where(mask, scores, -np.inf)
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            scores /= scores.sum(-1, keepdims=True)
            x = (
                x
                + np.einsum("hnl,lhd->nhd", scores, values).reshape(len(ids), -1)
                @ self.w[p + "self_attn.o_proj.weight"].T
            )
            h = self.norm(x, p + "post_attention_layernorm.weight")
            gate = h @ self.w[p + "mlp.gate_proj.weight"].T
            x = (
                x
                + (gate / (1 + np.exp(-gate)) * (h @ self.w[p + "mlp.up_proj.weight"].T))
                @ self.w[p + "mlp.down_proj.weight"].T
            )
        return self.norm(x, "model.norm.weight") @ self.w["lm_head.weight"].T
