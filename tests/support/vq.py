"""VQ tokenizers written out as their authors publish them, layer by layer: what diffusers' model is compared with.

One network, three layouts of names. Plain functions over a dict of tensors: nothing of the adapter is used here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402, N812

Tensor = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Sizes, and whose names the tensors have."""

    layout: Literal["llamagen", "janus", "taming"]
    codes: int = 24
    width: int = 4
    latent: int = 8
    base: int = 32
    mults: Sequence[int] = (1, 2)
    blocks: int = 1
    attends: bool = True  # at the lowest resolution, besides the middle

    @property
    def unit_codes(self) -> bool:
        return self.layout != "taming"

    def level(self, half: str, number: int) -> str:
        """Of level ``number``, 0 that of full resolution."""
        last = len(self.mults) - 1
        if self.layout == "llamagen":
            return f"{half}.conv_blocks.{number if half == 'encoder' else last - number}"
        if half == "encoder":
            return f"encoder.down.{number}"
        return f"decoder.up.{number if self.layout == 'taming' else last - number}"

    def block(self) -> str:
        return "res" if self.layout == "llamagen" else "block"

    def middle(self, number: int) -> str:
        return str(number) if self.layout == "llamagen" else ("block_1", "attn_1", "block_2")[number]


LLAMAGEN = Network(layout="llamagen")
JANUS = replace(LLAMAGEN, layout="janus")
#: Chameleon's: attention in the middle alone, and two blocks a level.
TAMING = Network(layout="taming", width=6, blocks=2, attends=False, mults=(1, 1, 2))


def vq_weights(network: Network, seed: int | None = 0) -> dict[str, Tensor]:
    """Random weights by the names of a layout; ``None``: tensors of their shapes that take no room."""
    generator = torch.Generator().manual_seed(seed or 0)
    weights: dict[str, Tensor] = {}

    def randn(*shape: int) -> Tensor:
        return torch.zeros(1).expand(shape) if seed is None else torch.randn(shape, generator=generator)

    def conv(name: str, inside: int, outside: int, side: int) -> None:
        scale = (inside * side * side) ** -0.5
        weights[f"{name}.weight"] = randn(outside, inside, side, side) * scale
        weights[f"{name}.bias"] = 0.1 * randn(outside)

    def norm(name: str, channels: int) -> None:
        weights[f"{name}.weight"] = 1 + 0.3 * randn(channels)
        weights[f"{name}.bias"] = 0.3 * randn(channels)

    def residual(name: str, inside: int, outside: int) -> None:
        norm(f"{name}.norm1", inside)
        conv(f"{name}.conv1", inside, outside, 3)
        norm(f"{name}.norm2", outside)
        conv(f"{name}.conv2", outside, outside, 3)
        if inside != outside:
            conv(f"{name}.nin_shortcut", inside, outside, 1)

    def attention(name: str, channels: int) -> None:
        norm(f"{name}.norm", channels)
        for part in ("q", "k", "v", "proj_out"):
            conv(f"{name}.{part}", channels, channels, 1)

    def middle(half: str, channels: int) -> None:
        residual(f"{half}.mid.{network.middle(0)}", channels, channels)
        attention(f"{half}.mid.{network.middle(1)}", channels)
        residual(f"{half}.mid.{network.middle(2)}", channels, channels)

    sizes = [network.base * mult for mult in network.mults]
    last = len(sizes) - 1
    conv("encoder.conv_in", 3, network.base, 3)
    inside = network.base
    for i, outside in enumerate(sizes):
        for j in range(network.blocks):
            residual(f"{network.level('encoder', i)}.{network.block()}.{j}", inside, outside)
            inside = outside
            if i == last and network.attends:
                attention(f"{network.level('encoder', i)}.attn.{j}", outside)
        if i < last:
            conv(f"{network.level('encoder', i)}.downsample.conv", outside, outside, 3)
    middle("encoder", inside)
    norm("encoder.norm_out", inside)
    conv("encoder.conv_out", inside, network.latent, 3)
    conv("decoder.conv_in", network.latent, inside, 3)
    middle("decoder", inside)
    for i, outside in reversed(list(enumerate(sizes))):
        for j in range(network.blocks + 1):
            residual(f"{network.level('decoder', i)}.{network.block()}.{j}", inside, outside)
            inside = outside
            if i == last and network.attends:
                attention(f"{network.level('decoder', i)}.attn.{j}", outside)
        if i:
            conv(f"{network.level('decoder', i)}.upsample.conv", outside, outside, 3)
    norm("decoder.norm_out", inside)
    conv("decoder.conv_out", inside, 3, 3)
    weights["quantize.embedding.weight"] = randn(network.codes, network.width)
    conv("quant_conv", network.latent, network.width, 1)
    conv("post_quant_conv", network.width, network.latent, 1)
    return weights


def vq_pixels(network: Network, weights: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
    """What the decoder makes of tokens [T, rows, cols]: [T, 3, height, width], about [-1, 1]."""
    x = _codebook(network, weights)[tokens].permute(0, 3, 1, 2)
    x = _conv(weights, "decoder.conv_in", _conv(weights, "post_quant_conv", x))
    x = _middle(network, weights, "decoder", x)
    last = len(network.mults) - 1
    for i in reversed(range(last + 1)):
        for j in range(network.blocks + 1):
            x = _residual(weights, f"{network.level('decoder', i)}.{network.block()}.{j}", x)
            if i == last and network.attends:
                x = _attention(weights, f"{network.level('decoder', i)}.attn.{j}", x)
        if i:
            x = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
            x = _conv(weights, f"{network.level('decoder', i)}.upsample.conv", x)
    return _conv(weights, "decoder.conv_out", _swish(_norm(weights, "decoder.norm_out", x)))


def vq_tokens(network: Network, weights: Mapping[str, Tensor], pixels: Tensor) -> Tensor:
    """Tokens [T, rows, cols] of pixels [T, 3, height, width] in [-1, 1]."""
    x = _conv(weights, "encoder.conv_in", pixels)
    last = len(network.mults) - 1
    for i in range(last + 1):
        for j in range(network.blocks):
            x = _residual(weights, f"{network.level('encoder', i)}.{network.block()}.{j}", x)
            if i == last and network.attends:
                x = _attention(weights, f"{network.level('encoder', i)}.attn.{j}", x)
        if i < last:
            x = _conv(weights, f"{network.level('encoder', i)}.downsample.conv", F.pad(x, (0, 1, 0, 1)), 2, 0)
    x = _middle(network, weights, "encoder", x)
    x = _conv(weights, "encoder.conv_out", _swish(_norm(weights, "encoder.norm_out", x)))
    x = _conv(weights, "quant_conv", x).permute(0, 2, 3, 1)
    if network.unit_codes:
        x = x / x.norm(dim=-1, keepdim=True)
    return (x[..., None, :] - _codebook(network, weights)).square().sum(-1).argmin(-1)


def _codebook(network: Network, weights: Mapping[str, Tensor]) -> Tensor:
    book = weights["quantize.embedding.weight"]
    return book / book.norm(dim=1, keepdim=True) if network.unit_codes else book


def _middle(network: Network, weights: Mapping[str, Tensor], half: str, x: Tensor) -> Tensor:
    x = _residual(weights, f"{half}.mid.{network.middle(0)}", x)
    x = _attention(weights, f"{half}.mid.{network.middle(1)}", x)
    return _residual(weights, f"{half}.mid.{network.middle(2)}", x)


def _conv(weights: Mapping[str, Tensor], name: str, x: Tensor, stride: int = 1, padding: int | None = None) -> Tensor:
    weight = weights[f"{name}.weight"]
    pad = weight.shape[-1] // 2 if padding is None else padding
    return F.conv2d(x, weight, weights[f"{name}.bias"], stride=stride, padding=pad)


def _norm(weights: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.group_norm(x, 32, weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-6)


def _swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(x)


def _residual(weights: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    inner = _conv(weights, f"{name}.conv1", _swish(_norm(weights, f"{name}.norm1", x)))
    inner = _conv(weights, f"{name}.conv2", _swish(_norm(weights, f"{name}.norm2", inner)))
    return inner + (_conv(weights, f"{name}.nin_shortcut", x) if f"{name}.nin_shortcut.weight" in weights else x)


def _attention(weights: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Over all cells of a picture, one head as wide as the channels."""
    inner = _norm(weights, f"{name}.norm", x)
    q, k, v = (_conv(weights, f"{name}.{part}", inner).flatten(2) for part in "qkv")  # [T, C, cells]
    scores = torch.einsum("tcq,tck->tqk", q, k) / x.shape[1] ** 0.5
    mixed = torch.einsum("tqk,tck->tcq", scores.softmax(dim=-1), v).view_as(x)
    return x + _conv(weights, f"{name}.proj_out", mixed)
