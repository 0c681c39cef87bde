"""VQ tokenizers of image models from the files that their authors publish, as diffusers' ``VQModel``.

Three layouts of names for one network: LlamaGen's (``vq_ds16_c2i.pt``, ``vq_ds8_c2i.pt``, ``vq_ds16_t2i.pt``, and
Janus' own files), Janus' in transformers, and taming-transformers' (Chameleon's and Anole's ``vqgan.ckpt``). Names,
channels and where attention is are read from the file's headers. LlamaGen and Janus normalise each row of the codebook
when they look it up, taming does not. Source: the three repositories, and transformers' modeling_janus.py.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from diagplan.adapters.headers import Header, check_weights, listed
from diagplan.adapters.image_tokenizer import ImageTokenizer, empty_vq, vq_class
from diagplan.adapters.weights import Checkpoint, LazyWeights, open_checkpoint
from diagplan.planner.errors import DocumentError
from diagplan.planner.shown import shown

__all__ = ["VqFile", "VqTokenizer", "file_name", "load_vq", "open_vq", "vq_bytes"]

Layout = Literal["llamagen", "janus", "taming"]

#: What stands before the names where the tokenizer is a part of a larger file, whose other tensors are left alone.
_INSIDE = ("gen_vision_model.", "model.vqmodel.", "vqmodel.", "first_stage_model.")
_IGNORED = ("loss.*", "quantize.codebook_used")
_CODEBOOK = "quantize.embedding.weight"
#: Levels of a network, and blocks of a level.
_DEEPEST = 32
#: Channels of a layer, entries of a codebook.
_LARGEST = 1 << 24
#: Pixels that are decoded at a time: a picture of 512 x 512, whose widest layer takes 134 MB.
_PIXELS = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class VqFile:
    """A tokenizer's file, from headers alone.

    Attributes:
        checkpoint: the opened file.
        layout: whose names its tensors have.
        prefix: what stands before them.
        config: arguments of diffusers' ``VQModel``.
        names: name in ``VQModel`` -> name in the file.
    """

    checkpoint: Checkpoint
    layout: Layout
    prefix: str
    config: Mapping[str, Any]
    names: Mapping[str, str]

    @property
    def unit_codes(self) -> bool:
        """Whether rows of the codebook are normalised when they are looked up."""
        return self.layout != "taming"

    @property
    def rounds(self) -> bool:
        """Whether pixels are rounded, as LlamaGen does; Janus and Chameleon cut them off."""
        return self.layout == "llamagen" and not self.prefix


class VqTokenizer(ImageTokenizer):
    """A ``VQModel`` with the weights of such a file.

    Args:
        model: as for ``ImageTokenizer``; rows of the codebook as they are looked up.
        rounds: whether pixels are rounded rather than cut off.
    """

    def __init__(self, model: Any, *, rounds: bool) -> None:
        super().__init__(model)
        self.rounds = rounds

    def pictures_of(self, tokens: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures of a few frames of tokens, so many at a time as memory bears."""
        cells = tokens.shape[1] * tokens.shape[2]
        step = max(1, _PIXELS // max(1, cells * self.factor**2))
        parts = [super(VqTokenizer, self).pictures_of(tokens[at : at + step]) for at in range(0, len(tokens), step)]
        return np.concatenate(parts)

    def shades(self, pixels: Tensor) -> Tensor:
        """Pixels in [-1, 1] as uint8, as the model's authors write them."""
        wide = 127.5 * pixels + 128 if self.rounds else (pixels + 1) * 127.5
        return wide.clamp(0, 255).to(torch.uint8)


def load_vq(path: str | Path, *, device: str = "cpu") -> VqTokenizer:
    """Load a tokenizer; it computes in float32 whatever the file's dtype.

    Args:
        path: ``vq_ds16_c2i.pt``, ``vqgan.ckpt`` or the like, as torch or safetensors file, or a larger checkpoint of
            Janus with the tokenizer inside. Nothing in a file is executed.
        device: ``"cpu"``, ``"cuda"``, ...

    Raises:
        DocumentError: a file that cannot be read, is none of these, or has broken weights.
        MissingExtraError: diffusers is not installed.

    >>> load_vq("vq_ds16_c2i.pt").decode(tokens)  # doctest: +SKIP
    """
    file = open_vq(path)
    model = empty_vq(**file.config)
    lazy = LazyWeights(file.checkpoint, file.names, dtype=torch.float32, device=device)
    weights = {}
    for name, tensor in model.state_dict().items():
        weight = lazy[name]
        if not bool(torch.isfinite(weight).all()):
            raise DocumentError(
                f"expected finite weights, got NaN or infinite ones in {file.names[name]} of {path}. Get another copy."
            )
        # The attention's 1 x 1 convolutions are linear layers in diffusers.
        weights[name] = weight.reshape(tensor.shape)
    if file.unit_codes:
        weights[_CODEBOOK] = F.normalize(weights[_CODEBOOK], p=2, dim=-1)
    model.load_state_dict(weights, assign=True)
    return VqTokenizer(model, rounds=file.rounds)


def vq_bytes(path: str | Path) -> int:
    """Bytes of a tokenizer's weights as they are loaded, in float32, from headers; errors as for ``open_vq``."""
    file = open_vq(path)
    return 4 * sum(math.prod(file.checkpoint.headers[name].shape) for name in file.names.values())


def open_vq(path: str | Path) -> VqFile:
    """What ``load_vq`` loads, and where each tensor is, from headers alone.

    Raises:
        DocumentError: a file that cannot be read, or is no such tokenizer.
        MissingExtraError: diffusers is not installed.
    """
    checkpoint = open_checkpoint(path, foreign=True)
    prefix = next((prefix for prefix in _INSIDE if prefix + _CODEBOOK in checkpoint.headers), "")
    held = {name.removeprefix(prefix): header for name, header in checkpoint.headers.items() if name.startswith(prefix)}
    layout = _layout_of(held, path)
    config = _config_of(held, layout, path)
    vq_class()  # where diffusers is missing, that is no fault of the file
    try:
        model = empty_vq(**config)
    except Exception as error:  # noqa: BLE001 - sizes that do not fit raise almost anything
        reason = " ".join(str(error).split())[:200]
        raise DocumentError(f"expected the sizes of a VQ tokenizer, got {path} ({reason}).") from None
    levels = len(config["block_out_channels"])
    names = {name: file_name(name, layout, levels) for name in model.state_dict()}
    shapes = {
        names[name]: tuple(tensor.shape) + ((1, 1) if _is_projection(name) else ())
        for name, tensor in model.state_dict().items()
    }
    check_weights(held, shapes, source=path, ignored=_IGNORED)
    whole = {name: prefix + inside for name, inside in names.items()}
    return VqFile(checkpoint=checkpoint, layout=layout, prefix=prefix, config=config, names=whole)


def file_name(name: str, layout: Layout, levels: int) -> str:
    """A tensor of ``VQModel`` by its name in a file.

    >>> file_name("decoder.up_blocks.0.resnets.1.conv1.weight", "taming", 5)
    'decoder.up.4.block.1.conv1.weight'
    """
    middle = {"resnets.0": "block_1", "attentions.0": "attn_1", "resnets.1": "block_2"}
    if layout == "llamagen":
        middle = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}

    def level(match: re.Match[str]) -> str:
        number = int(match[2])
        if layout == "llamagen":
            return f".conv_blocks.{number}."
        if match[1] == "up" and layout == "taming":
            number = levels - 1 - number
        return f".{match[1]}.{number}."

    name = re.sub(r"\.mid_block\.(\w+\.\d)", lambda match: f".mid.{middle[match[1]]}", name)
    name = re.sub(r"\.(down|up)_blocks\.(\d+)\.", level, name)
    for ours, theirs in (
        (".resnets.", ".res." if layout == "llamagen" else ".block."),
        (".attentions.", ".attn."),
        (".downsamplers.0.", ".downsample."),
        (".upsamplers.0.", ".upsample."),
        ("conv_norm_out.", "norm_out."),
        ("conv_shortcut.", "nin_shortcut."),
        ("group_norm.", "norm."),
        ("to_out.0.", "proj_out."),
        (".to_q.", ".q."),
        (".to_k.", ".k."),
        (".to_v.", ".v."),
    ):
        name = name.replace(ours, theirs)
    return name


def _is_projection(name: str) -> bool:
    """Whether a tensor of ``VQModel`` is a linear layer that files have as a 1 x 1 convolution."""
    return re.search(r"\.to_(q|k|v|out\.0)\.weight$", name) is not None


def _layout_of(held: Mapping[str, Header], path: str | Path) -> Layout:
    """Whose names these are. taming counts levels of the decoder from full resolution, Janus towards it."""
    if _CODEBOOK in held and len(held[_CODEBOOK].shape) == 2:
        if "decoder.conv_blocks.0.res.0.conv1.weight" in held:
            return "llamagen"
        if "decoder.up.0.block.0.conv1.weight" in held:
            return "janus" if "decoder.up.0.upsample.conv.weight" in held else "taming"
    remedy = "Give vq_ds16_c2i.pt, vqgan.ckpt or the like"
    if "encoder.down.0.block.0.conv1.weight" in held:
        remedy = "It has the encoder alone: transformers' Chameleon leaves the decoder out. Give tokenizer/vqgan.ckpt"
    raise DocumentError(
        f"expected a VQ tokenizer of LlamaGen, Janus or taming-transformers, with {_CODEBOOK} and a decoder, got "
        f"{path} with {listed(sorted(held), 4) or 'nothing'}. {remedy}."
    )


def _config_of(held: Mapping[str, Header], layout: Layout, path: str | Path) -> dict[str, Any]:
    """Arguments of ``VQModel``, from names and shapes; what does not fit is refused when they are compared."""
    level = "encoder.conv_blocks.{}.res.{}" if layout == "llamagen" else "encoder.down.{}.block.{}"
    attention = level.replace(".res." if layout == "llamagen" else ".block.", ".attn.") + ".q.weight"
    level += ".conv1.weight"
    channels = _counted(held, lambda i: level.format(i, 0))
    blocks = len(_counted(held, lambda i: level.format(0, i)))
    sizes = [*channels, _size(held, "post_quant_conv.weight", 0), *held[_CODEBOOK].shape]
    if not channels or max(len(channels), blocks) > _DEEPEST or not all(0 < size <= _LARGEST for size in sizes):
        raise DocumentError(
            f"expected an encoder of 1 to {_DEEPEST} levels, a post_quant_conv and a codebook, got {path} with "
            f"{len(channels)} levels of {blocks} blocks and sizes {shown(sizes)}. Get another copy."
        )
    attends = [attention.format(i, 0) in held for i in range(len(channels))]
    return {
        "down_block_types": tuple("AttnDownEncoderBlock2D" if one else "DownEncoderBlock2D" for one in attends),
        "up_block_types": tuple("AttnUpDecoderBlock2D" if one else "UpDecoderBlock2D" for one in reversed(attends)),
        "block_out_channels": tuple(channels),
        "layers_per_block": blocks,
        "latent_channels": sizes[len(channels)],
        "num_vq_embeddings": held[_CODEBOOK].shape[0],
        "vq_embed_dim": held[_CODEBOOK].shape[1],
    }


def _size(held: Mapping[str, Header], name: str, axis: int) -> int:
    """Of an axis of a tensor; 0 where it is not there."""
    shape = held[name].shape if name in held else ()
    return shape[axis] if axis < len(shape) else 0


def _counted(held: Mapping[str, Header], name: Any) -> list[int]:
    """Output channels of the tensors name(0), name(1), ..., as far as they go."""
    sizes: list[int] = []
    while name(len(sizes)) in held and len(sizes) <= _DEEPEST:
        sizes.append(_size(held, name(len(sizes)), 0))
    return sizes
