"""Models of released shapes with random weights drawn on the device, and tiny ones of the same families."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from diagplan import Diagonal, Layout, NextToken
from diagplan.adapters.contract import Config
from diagplan.adapters.cosmos import Cosmos
from diagplan.adapters.cosmos_config import CONFIGS as COSMOS
from diagplan.adapters.cosmos_config import CosmosConfig
from diagplan.adapters.mc_ar import CONFIGS as MC_AR
from diagplan.adapters.mc_ar import McAr, McArConfig
from diagplan.planner.schedule import Schedule

__all__ = ["MC_AR_SCHEDULES", "DrawnWeights", "cosmos", "cosmos_layout", "mc_ar", "mc_ar_layout"]

#: The plans of an MC-AR; the first is what the others are compared with.
MC_AR_SCHEDULES: dict[str, Schedule] = {
    "next-token": NextToken(),
    "k=4": Diagonal(k=4),
    "k=2": Diagonal(k=2),
    "k=1": Diagonal(k=1),
    "k=2 d=28": Diagonal(k=2, d=28),
}
_TINY = McArConfig(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=80, image_vocab=64, max_position_embeddings=160, rows=3, cols=4, action_tokens=2,
)  # fmt: skip
_TINY_COSMOS = CosmosConfig(
    dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_hidden_size=48, vocab_size=64, video_latent_shape=(3, 4, 6)
)


class DrawnWeights(Mapping[str, Tensor]):
    """Random weights of a trained model's scale, each drawn on the device when it is taken, and not kept.

    Args:
        config: whose shapes they have.
        dtype, device: of every tensor.
        seed: the same tensors come out each time on the same device.
    """

    def __init__(self, config: Config, dtype: torch.dtype, device: torch.device, seed: int = 0) -> None:
        self._shapes, self._dtype, self._device, self._seed = dict(config.shapes()), dtype, device, seed

    def __getitem__(self, name: str) -> Tensor:
        shape = self._shapes[name]
        if len(shape) == 1:
            return torch.ones(shape, dtype=self._dtype, device=self._device)
        generator = torch.Generator(self._device).manual_seed(self._seed + list(self._shapes).index(name))
        drawn = torch.empty(shape, dtype=self._dtype, device=self._device)
        return drawn.normal_(0, shape[-1] ** -0.5, generator=generator)

    def checksum(self, name: str) -> str:
        """What a tensor is, without reading it back."""
        return f"drawn on {self._device.type}, seed {self._seed}, {list(self._shapes).index(name)}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def mc_ar(
    size: str, device: torch.device, *, quick: bool, dtype: torch.dtype = torch.bfloat16, kernels: bool = True
) -> McAr:
    """A released MC-AR's shape, or a tiny one; on a GPU in kernels of our own, or without them."""
    config = _TINY if quick else MC_AR[size]
    return McAr(config, DrawnWeights(config, dtype, device), portable=device.type == "cpu", kernels=kernels)


def mc_ar_layout(*, quick: bool, frames: int = 15) -> Layout:
    """One prompt frame, and as many more as its 16 frames of context hold."""
    if quick:
        return Layout(frames=2, rows=3, cols=4, prompt_frames=1, between_frames=2)
    return Layout(frames=frames, rows=14, cols=24, prompt_frames=1, between_frames=11)


def cosmos(name: str, device: torch.device, *, quick: bool) -> Cosmos:
    """A published Cosmos' shape, or a tiny one."""
    config = _TINY_COSMOS if quick else COSMOS[name]
    return Cosmos(config, DrawnWeights(config, torch.bfloat16, device), portable=True)


def cosmos_layout(model: Any) -> Layout:
    """Two latent frames given, the others generated."""
    return model.config.layout(2)  # type: ignore[no-any-return]
