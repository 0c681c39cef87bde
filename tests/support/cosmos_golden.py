"""The golden data of Cosmos: what NVIDIA's own Transformer computed, and a model of its weights."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch")

from diagplan.adapters.cosmos import Cosmos, CosmosConfig  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden"
SIZES = ("dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "ffn_hidden_size", "norm_eps", "rope_theta")


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """One case. ``release``: the reference's own config, ``training_type`` included."""

    name: str
    config: CosmosConfig
    release: dict[str, Any]
    prefill: int
    data: dict[str, NDArray[Any]]

    def weights(self) -> dict[str, Any]:
        return {name[2:]: torch.from_numpy(value.copy()) for name, value in self.data.items() if name.startswith("w/")}

    def model(self, **options: Any) -> Cosmos:
        return self.bound(Cosmos(self.config, self.weights(), **options))

    def bound(self, model: Cosmos) -> Cosmos:
        """The model with the golden context, where there is one."""
        return model.with_context(self.data["context"], self.data["context_mask"]) if "context" in self.data else model


@cache
def golden(name: str) -> Golden:
    """``"a"``: 4B's kind. ``"b"``: 5B Video2World's kind, with a text context."""
    meta = json.loads((GOLDEN / f"cosmos_{name}.json").read_text())
    with np.load(GOLDEN / f"cosmos_{name}.npz") as arrays:
        data = dict(arrays)
    release = meta["config"] | {"training_type": meta["training_type"]}
    config = CosmosConfig(
        **{key: release[key] for key in SIZES},
        video_latent_shape=tuple(release["video_latent_shape"]),
        absolute=release["apply_abs_pos_emb"],
        begin_of_video=meta["bov_token_id"] is not None,
        context_dim=release["context_dim"] if release["insert_cross_attn"] else None,
    )
    return Golden(name=name, config=config, release=release, prefill=meta["prefill_len"], data=data)


def causal_logits(model: Any, ids: Any) -> Any:
    """Logits of one causal pass over ids [B, n]."""
    slots = torch.arange(ids.shape[1])
    mask = torch.ones((len(slots), len(slots)), dtype=torch.bool).tril()
    with torch.inference_mode():
        return model.forward(ids, slots, slots, mask, model.new_cache(len(ids), len(slots)))
