"""WHAM's image tokenizer, a ViT-VQGAN: frames to code indices and back.

Pixels are normalised with ImageNet's mean and deviation and cut into square patches; a transformer without causal mask
turns each into a code of the codebook, another one turns codes into pixels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from diagplan.adapters.devices import require_device
from diagplan.adapters.headers import check_weights
from diagplan.adapters.weights import Checkpoint, LazyWeights
from diagplan.adapters.wham_files import PUBLISHER, WhamNotes, open_wham
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import store_int

__all__ = [
    "WhamTokenizer",
    "WhamTokenizerConfig",
    "load_wham_tokenizer",
    "tokenizer_config_for",
    "tokenizer_names",
]

# Shapes: T frames, N tokens of a frame, D width, C channels of a code.

#: A tokenizer that is made of two, an encoder and a decoder, lies below 0 and 1; what both have is read from 0.
_PREFIXES = ("context_encoders.images.", "context_encoders.images.0.", "context_encoders.images.1.")
#: A buffer of ones, and what training left behind.
_IGNORED = ("*.attn.attn_mask", "patch_gan.*", "target_patchgan.*", "lpips_model.*")
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_EPS = 1e-5
#: Frames that go through the network at a time.
_CHUNK = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WhamTokenizerConfig:
    """A ViT-VQGAN's sizes.

    Args:
        rows, cols: tokens of a frame.
        patch: pixels of a token's side.
        width: of both transformers.
        encoder_layers, decoder_layers: of each.
        code_dim, codes: of the codebook.
        head_size: width of a head.

    Raises:
        SpecError: sizes that do not fit together.
    """

    rows: int = 18
    cols: int = 30
    patch: int = 10
    width: int = 1024
    encoder_layers: int = 12
    decoder_layers: int = 12
    code_dim: int = 32
    codes: int = 16384
    head_size: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            store_int(self, field.name, 1)
        if self.width % self.head_size:
            raise SpecError(f"expected heads that divide the width={self.width}, got head_size={self.head_size}.")

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The name and shape of every weight, as in a checkpoint below ``context_encoders.images.``."""
        width, pixels = self.width, 3 * self.patch**2
        shapes: dict[str, tuple[int, ...]] = {"vq_vae._embedding.weight": (self.codes, self.code_dim)}
        for side, layers, into, out in (
            ("encoder", self.encoder_layers, pixels, self.code_dim),
            ("decoder", self.decoder_layers, self.code_dim, pixels),
        ):
            shapes |= {
                f"{side}.proj1.weight": (width, into),
                f"{side}.proj1.bias": (width,),
                f"{side}.pos_embeds.weight": (self.rows * self.cols, width),
                f"{side}.output_ln.weight": (width,),
                f"{side}.output_ln.bias": (width,),
                f"{side}.output_proj.weight": (out, width),
                f"{side}.output_proj.bias": (out,),
            }
            for i in range(layers):
                shapes |= {
                    f"{side}.vit.{i}.ln_1.weight": (width,),
                    f"{side}.vit.{i}.attn.c_attn.weight": (3 * width, width),
                    f"{side}.vit.{i}.attn.c_proj.weight": (width, width),
                    f"{side}.vit.{i}.ln_2.weight": (width,),
                    f"{side}.vit.{i}.mlp.c_fc.weight": (4 * width, width),
                    f"{side}.vit.{i}.mlp.c_proj.weight": (width, 4 * width),
                }
        return shapes


class WhamTokenizer:
    """Frames to tokens and back; a token stands for a square of ``factor`` pixels.

    Args:
        config: its sizes.
        weights: by the names of ``WhamTokenizerConfig.shapes``, of one dtype and on one device.

    Attributes:
        codes: entries of the codebook.
        factor: pixels of a token's side.
        device: where it computes.
    """

    def __init__(self, config: WhamTokenizerConfig, weights: Mapping[str, Tensor]) -> None:
        self.config = config
        self.codes, self.factor = config.codes, config.patch
        self.weights = {name: weights[name] for name in config.shapes()}
        self.codebook = F.normalize(self.weights["vq_vae._embedding.weight"], dim=-1)  # [codes, C]
        self.device = self.codebook.device
        of_pixel = [torch.tensor(values).to(self.codebook).view(3, 1, 1) for values in (_MEAN, _DEVIATION)]
        self._mean, self._deviation = of_pixel

    def encode(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Tokens int64 [T, rows, cols] of frames uint8 [T, height, width, 3].

        Raises:
            SpecError: frames of another shape or dtype.
        """
        size = (self.config.rows * self.factor, self.config.cols * self.factor, 3)
        if frames.ndim != 4 or frames.shape[1:] != size or frames.dtype != np.uint8 or not len(frames):
            raise SpecError(
                f"expected frames uint8 [T, {size[0]}, {size[1]}, 3], got {frames.dtype} {list(frames.shape)}. "
                "Its positions are made for that size. Scale the frames to it."
            )
        return self._in_parts(self.encoded, frames).astype(np.int64)

    def decode(self, tokens: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """Frames uint8 [T, height, width, 3] of tokens [T, rows, cols].

        Raises:
            SpecError: tokens of another shape, or outside the codebook.
        """
        grid = (self.config.rows, self.config.cols)
        if tokens.ndim != 3 or tokens.shape[1:] != grid or tokens.dtype.kind not in "iu" or not len(tokens):
            raise SpecError(
                f"expected tokens [T, {grid[0]}, {grid[1]}] of integers, got {tokens.dtype} {list(tokens.shape)}."
            )
        if tokens.min() < 0 or tokens.max() >= self.codes:
            raise SpecError(f"expected tokens from 0 to {self.codes - 1}, got {tokens.min()} to {tokens.max()}.")
        return self._in_parts(self.decoded, tokens.astype(np.int64)).astype(np.uint8)

    def _in_parts(self, function: Any, array: NDArray[Any]) -> NDArray[Any]:
        with torch.inference_mode():
            parts = [
                function(torch.from_numpy(np.ascontiguousarray(array[at : at + _CHUNK])).to(self.device)).cpu().numpy()
                for at in range(0, len(array), _CHUNK)
            ]
        return np.concatenate(parts)

    def encoded(self, frames: Tensor) -> Tensor:
        """Tokens int64 [T, rows, cols] of frames uint8 [T, height, width, 3]."""
        # Rows and codes have length 1: the nearest one is the one with the largest product.
        return (self.latents(self.pixels(frames)) @ self.codebook.T).argmax(-1).view(-1, *self._grid)

    def decoded(self, tokens: Tensor) -> Tensor:
        """Frames uint8 [T, height, width, 3] of tokens int64 [T, rows, cols]."""
        pixels = self.pictures(F.embedding(tokens.flatten(1), self.codebook))
        seen = (pixels * self._deviation + self._mean).clamp(0, 1)
        return (seen * 255).to(torch.uint8).permute(0, 2, 3, 1)

    def pixels(self, frames: Tensor) -> Tensor:
        """What the network takes of frames uint8 [T, height, width, 3]: [T, 3, height, width], normalised."""
        return (frames.permute(0, 3, 1, 2).to(self.codebook.dtype) / 255 - self._mean) / self._deviation

    def latents(self, pixels: Tensor) -> Tensor:
        """Normalised vectors [T, N, C] of pixels [T, 3, height, width]."""
        (rows, cols), p = self._grid, self.factor
        cut = pixels.view(-1, 3, rows, p, cols, p).permute(0, 2, 4, 1, 3, 5)  # features: channel, y, x
        return F.normalize(self._network("encoder", cut.reshape(-1, rows * cols, 3 * p * p)), dim=-1)

    def pictures(self, codes: Tensor) -> Tensor:
        """Pixels [T, 3, height, width] of code vectors [T, N, C], normalised as the network's input."""
        (rows, cols), p = self._grid, self.factor
        cut = self._network("decoder", codes).view(-1, rows, cols, 3, p, p)
        return cut.permute(0, 3, 1, 4, 2, 5).reshape(-1, 3, rows * p, cols * p)

    @property
    def _grid(self) -> tuple[int, int]:
        return self.config.rows, self.config.cols

    def _network(self, side: str, x: Tensor) -> Tensor:
        """Encoder or decoder: [T, N, in] -> [T, N, out]."""
        w, config = self.weights, self.config
        layers = config.encoder_layers if side == "encoder" else config.decoder_layers
        x = F.linear(x, w[f"{side}.proj1.weight"], w[f"{side}.proj1.bias"]) + w[f"{side}.pos_embeds.weight"]
        for i in range(layers):
            at = f"{side}.vit.{i}."
            h = F.layer_norm(x, (config.width,), w[f"{at}ln_1.weight"], None, _EPS)
            heads = F.linear(h, w[f"{at}attn.c_attn.weight"]).view(*h.shape[:2], -1, config.head_size).transpose(1, 2)
            q, k, v = torch.split(heads, config.width // config.head_size, dim=1)  # [T, heads, N, head_size]
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
            x = x + F.linear(mixed, w[f"{at}attn.c_proj.weight"])
            h = F.layer_norm(x, (config.width,), w[f"{at}ln_2.weight"], None, _EPS)
            h = F.gelu(F.linear(h, w[f"{at}mlp.c_fc.weight"]), approximate="tanh")
            x = x + F.linear(h, w[f"{at}mlp.c_proj.weight"])
        x = F.layer_norm(x, (config.width,), w[f"{side}.output_ln.weight"], w[f"{side}.output_ln.bias"], _EPS)
        return F.linear(x, w[f"{side}.output_proj.weight"], w[f"{side}.output_proj.bias"])


def load_wham_tokenizer(
    weights: str | Path,
    *,
    rows: int | None = None,
    cols: int | None = None,
    head_size: int | None = None,
    device: str = "cpu",
) -> WhamTokenizer:
    """Load the image tokenizer out of a WHAM's checkpoint. It computes in float32.

    Args:
        weights: as for ``load_wham``.
        rows: of a frame's tokens; ``None``: as the file says, else 18.
        cols: of a frame's tokens; ``None``: as the file says, else 30.
        head_size: width of an attention head; ``None``: as the hyper-parameters say, else 64. Shapes do not tell it.
        device: ``"cpu"``, ``"cuda"``, ...

    Raises:
        SpecError: sizes that do not fit the tensors.
        DocumentError: a file that is missing or cannot be read, lacks the tokenizer or has other tensors.
    """
    require_device(device)
    checkpoint, notes = open_wham(weights)
    config = tokenizer_config_for(checkpoint, notes, rows=rows, cols=cols, head_size=head_size)
    names = tokenizer_names(checkpoint, config)
    return WhamTokenizer(config, LazyWeights(checkpoint, names, dtype=torch.float32, device=device))


def tokenizer_config_for(
    checkpoint: Checkpoint,
    notes: WhamNotes,
    *,
    rows: int | None = None,
    cols: int | None = None,
    head_size: int | None = None,
) -> WhamTokenizerConfig:
    """The configuration of a checkpoint's image tokenizer; arguments as for ``load_wham_tokenizer``.

    Raises:
        SpecError: sizes that do not fit the tensors.
        DocumentError: a file without the tokenizer.
    """
    headers = {name: checkpoint.headers[place].shape for name, place in _places(checkpoint).items()}
    needed = ("encoder.proj1.weight", "encoder.pos_embeds.weight", "vq_vae._embedding.weight")
    lacking = [name for name in needed if len(headers.get(name, ())) != 2]
    if lacking:
        raise DocumentError(
            f"expected the image tokenizer of a WHAM ({_PREFIXES[0]}{lacking[0]} and more), got {checkpoint.path} "
            f"without it. {PUBLISHER}; its checkpoints hold transformer and tokenizer."
        )
    (width, features), (cells, _), (codes, code_dim) = (headers[name] for name in needed)
    patch = math.isqrt(features // 3)
    stated = (notes.config.rows, notes.config.cols) if notes.config is not None else notes.grid or (18, 30)
    grid = (stated[0] if rows is None else rows, stated[1] if cols is None else cols)
    if grid[0] * grid[1] != cells or 3 * patch**2 != features:
        raise SpecError(
            f"expected {cells} tokens a frame and square patches of 3 colours, got rows={grid[0]}, cols={grid[1]} and "
            f"{features} features in {checkpoint.path}. Give rows and cols."
        )
    layers = [
        max(1, len({name.split(".")[2] for name in headers if name.startswith(f"{side}.vit.")}))
        for side in ("encoder", "decoder")
    ]
    return WhamTokenizerConfig(
        rows=grid[0], cols=grid[1], patch=patch, width=width, encoder_layers=layers[0], decoder_layers=layers[1],
        code_dim=code_dim, codes=codes, head_size=head_size or notes.head_size or 64,
    )  # fmt: skip


def tokenizer_names(checkpoint: Checkpoint, config: WhamTokenizerConfig) -> dict[str, str]:
    """Where each tensor of the tokenizer is: expected name -> name in the checkpoint.

    Raises:
        DocumentError: a tensor is missing, unexpected, mis-shaped or not of a float dtype; all are named at once.
    """
    places = _places(checkpoint)
    headers = {name: checkpoint.headers[place] for name, place in places.items()}
    try:
        names = check_weights(headers, config.shapes(), source=checkpoint.path, ignored=_IGNORED)
    except DocumentError as error:
        raise DocumentError(f"{error} {PUBLISHER}.") from None
    return {name: places[place] for name, place in names.items()}


def _places(checkpoint: Checkpoint) -> dict[str, str]:
    """Name below the prefix -> name in the checkpoint."""
    places: dict[str, str] = {}
    single, *halves = _PREFIXES
    split = any(name.startswith(f"{halves[0]}encoder.") for name in checkpoint.headers)
    for prefix in halves if split else [single]:
        for name in checkpoint.headers:
            if name.startswith(prefix):
                places.setdefault(name.removeprefix(prefix), name)
    return places
