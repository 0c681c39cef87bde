"""LlamaGen: pictures of a class, or of a text's features (FoundationVision/LlamaGen), and its VQ decoder."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.images.folder import ModelFolder
from diagplan.images.prompts import Branch, Prompted, Request
from diagplan.images.vq import Decoder
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.shown import shown
from diagplan.schemas.arrays import read_npy

__all__ = ["class_prompts", "decoder", "embeddings", "read_features", "require_file", "text_prompts"]

#: Pixels of a token's side of the published decoder, where no file of one is named.
_FACTOR = 16


def class_prompts(folder: ModelFolder, request: Request) -> Prompted:
    """Ids of classes: a prompt is a class' number; the branch without it is the null class.

    Raises:
        SpecError: a prompt that is none, or a size or a negative prompt that there is not.
    """
    codes, classes = folder.config["vocab_size"], folder.config["num_classes"]
    numbers = []
    for text in request.texts:
        if not text.strip().isdecimal() or not int(text) < classes:
            raise SpecError(
                f"expected the number of a class, 0 to {classes - 1}, got {shown(text)}. This LlamaGen knows classes "
                "alone: 207 is a golden retriever of ImageNet."
            )
        numbers.append(int(text))
    ids = np.array(numbers, dtype=np.int64)[:, None] + codes
    branches = [ids] if not request.guided else [ids, np.full_like(ids, codes + classes)]
    return _prompted(folder, request, branches, np.zeros(len(ids), dtype=np.int64))


def text_prompts(folder: ModelFolder, request: Request) -> Prompted:
    """Places of embeddings in ids' stead; both branches have the padding of the text.

    Raises:
        SpecError: another number of files than of prompts, or a size or a negative prompt that there is not.
        DocumentError: features that cannot be read, or of another shape.
    """
    if len(request.features) != len(request.texts):
        raise SpecError(
            f"expected a file of features for each of {len(request.texts)} prompt(s), got {len(request.features)}. "
            "LlamaGen's text encoder, flan-t5-xl, is no part of it: encode the prompts, and name a file for each."
        )
    most, width = folder.config["cls_token_num"] or 120, folder.config["caption_dim"]
    features = tuple(read_features(path, most, width) for path in request.features)
    pad = np.array([most - len(one) for one in features], dtype=np.int64)
    ids = np.broadcast_to(-1 - np.arange(most), (len(pad), most)).astype(np.int64)
    return _prompted(folder, request, [ids] * (2 if request.guided else 1), pad, features)


def _prompted(
    folder: ModelFolder,
    request: Request,
    branches: list[NDArray[np.int64]],
    pad: NDArray[np.int64],
    features: tuple[NDArray[np.float32], ...] = (),
) -> Prompted:
    if request.negative is not None or request.suffix:
        raise SpecError(
            "expected no negative prompt and no suffix, which LlamaGen does not know, got one. Leave it out."
        )
    side = _side(folder, request)
    return Prompted(
        layouts=(Layout(frames=1, rows=side, cols=side, lead=branches[0].shape[1]),),
        branches=tuple(Branch(ids=ids, pad=pad) for ids in branches),
        width=side * _factor(folder), height=side * _factor(folder), texts=request.texts, features=features,
    )  # fmt: skip


def _side(folder: ModelFolder, request: Request) -> int:
    """Rows and columns of a picture: nothing in a file tells the size that it was trained on."""
    factor, largest = _factor(folder), folder.config["largest_side"]
    if request.size is None:
        raise SpecError(
            "expected a size for LlamaGen, got none: its files do not tell. Give the one that they were trained on, "
            "which the published names end in: 256x256, 384x384 or 512x512."
        )
    width, height = request.size
    if width != height or width % factor or not width <= largest * factor:
        raise SpecError(
            f"expected a square of at most {largest * factor} pixels in multiples of {factor}, got "
            f"size={width}x{height}. LlamaGen's pictures are squares."
        )
    return width // factor


def _factor(folder: ModelFolder) -> int:
    if folder.vq is None:
        return _FACTOR
    from diagplan.adapters.vq_decoder import open_vq

    return int(2 ** (len(open_vq(folder.vq).config["block_out_channels"]) - 1))


def read_features(path: Path, most: int, width: int) -> NDArray[np.float32]:
    """A text's features, float32 [T, width]: its own tokens alone, at most ``most``.

    Args:
        path: .npy of [T, width] or [1, T, width], or .safetensors with one such tensor.
        most: tokens.
        width: of the encoder.

    Raises:
        DocumentError: the file cannot be read, or holds something else.
    """
    if path.suffix == ".safetensors":
        from diagplan.adapters.weights import open_checkpoint

        checkpoint = open_checkpoint(path)
        if len(checkpoint.headers) != 1:
            raise DocumentError(f"expected one tensor of features in {path}, got {len(checkpoint.headers)}.")
        array: NDArray[Any] = checkpoint.read(next(iter(checkpoint.headers))).float().numpy()
    else:
        array = read_npy(path)
    held = array[0] if array.ndim == 3 and len(array) == 1 else array
    if held.dtype.kind != "f" or held.ndim != 2 or held.shape[1] != width or not 1 <= len(held) <= most:
        raise DocumentError(
            f"expected features of 1 to {most} tokens x {width} in {path}, got {array.dtype} {list(array.shape)}. They "
            "are those of flan-t5-xl, without padding."
        )
    features = held.astype(np.float32)
    if not np.isfinite(features).all():
        raise DocumentError(f"expected finite features in {path}, got NaN or infinity. Encode the text again.")
    return features


def embeddings(model: Any, prompted: Prompted) -> Any:
    """What is fed in the place of ids, a tensor [rows, P, width]: the texts', then the null text's for each."""
    import torch

    parts = [model.text_lead(torch.from_numpy(one)[None])[0] for one in prompted.features]
    if len(prompted.branches) > 1:
        parts.append(model.null_lead(len(parts)))
    return torch.cat(parts)


def require_file(folder: ModelFolder) -> Path:
    """The file of the image decoder.

    Raises:
        DocumentError: none is named, or it cannot be read.
    """
    if folder.vq is None:
        raise DocumentError(
            f"expected a file of the image decoder for {folder.path}, got none. Name vq_ds16_c2i.pt, or vq_ds16_t2i.pt "
            "for texts, with --vq."
        )
    from diagplan.adapters.vq_decoder import open_vq

    open_vq(folder.vq)
    return folder.vq


def decoder(folder: ModelFolder, device: str) -> Decoder:
    """Codes int64 [B, rows, cols] to pictures uint8 [B, height, width, 3].

    Raises:
        DocumentError: the file is missing or cannot be read.
    """
    from diagplan.adapters.vq_decoder import load_vq

    return load_vq(require_file(folder), device=device).decode
