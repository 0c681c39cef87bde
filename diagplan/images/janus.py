"""Janus-Pro: its prompts (deepseek-ai/Janus, and JanusProcessor of transformers) and its decoder."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.images.folder import ModelFolder
from diagplan.images.prompts import Branch, Prompted, Request, padded
from diagplan.images.texts import Texts
from diagplan.images.vq import Decoder, as_pixels, load_vq, on_device
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import Layout

__all__ = ["decoder", "prompts"]

#: What a configuration of transformers leaves out where it is as released.
_VISION = {"image_size": 384, "patch_size": 16}

#: The text around a prompt where the folder has no chat template.
_CHAT = "<|User|>: {}\n\n<|Assistant|>:"


def prompts(folder: ModelFolder, request: Request) -> Prompted:
    """Ids of prompts: the chat template, then begin_of_image; a text's id t is fed as codes + t.

    The branch without the condition is the same ids, all but the first of the sequence and begin_of_image replaced by
    padding that is seen: branches have one length and one mask.

    Raises:
        SpecError: a size, a ratio or a negative prompt, of which the model has none.
        DocumentError: files that lack an id.
    """
    side, factor = _grid(folder), _factor(folder)
    pixels = side * factor
    if request.ratio not in (None, (1, 1)) or request.size not in (None, (pixels, pixels)):
        raise SpecError(
            f"expected pictures of {pixels}x{pixels}, the only size of this Janus-Pro, got another size or ratio. "
            "Leave it out."
        )
    if request.negative is not None:
        raise SpecError(
            "expected no negative prompt, which Janus-Pro does not know, got one. Its guidance leads away from an "
            "empty prompt. Leave it out."
        )
    texts = Texts(folder.tokenizer)
    template = texts.template()
    mark = texts.token("boi_token", text="<begin_of_image>")
    begin, pad = _boi(folder, texts, mark), _special(folder, "pad_token_id")
    asked = [text + (request.suffix or "") for text in request.texts]
    written = [_CHAT.format(text) if template is None else texts.chat(text, template, answer=True) for text in asked]
    ids = [texts.ids(text + mark) for text in written]
    for text, row in zip(request.texts, ids, strict=True):
        if row[-1] != begin:
            raise DocumentError(
                f"expected the prompt {text[:60]!r} to end in the id {begin} of begin_of_image, got {row[-1]}. "
                f"{folder.tokenizer} and generation_config.json are of different checkpoints: fetch both again."
            )
    first = _special(folder, "bos_token_id")
    (conditional,) = padded([ids], pad)
    branches = [conditional]
    if request.guided:
        kept = (conditional.ids == first) | (conditional.ids == begin)
        branches.append(Branch(ids=np.where(kept, conditional.ids, pad), pad=conditional.pad))
    codes = _codes(folder)
    return Prompted(
        layouts=(Layout(frames=1, rows=side, cols=side, lead=conditional.ids.shape[1]),),
        branches=tuple(Branch(ids=one.ids + codes, pad=one.pad) for one in branches),
        width=pixels, height=pixels, texts=request.texts,
    )  # fmt: skip


def _codes(folder: ModelFolder) -> int:
    return folder.whole(folder.sizes("vq_config").get("num_embeddings", 16384), "num_embeddings")


def _grid(folder: ModelFolder) -> int:
    vision = folder.sizes("vision_config")
    image, patch = (folder.whole(vision.get(name, usual), name) for name, usual in _VISION.items())
    return image // patch


def _factor(folder: ModelFolder) -> int:
    """Pixels of a token's side: the decoder doubles them at every level but the first."""
    mults = folder.sizes("vq_config").get("channel_multiplier", [1, 1, 2, 2, 4])
    return int(2 ** (len(mults) - 1))


def _special(folder: ModelFolder, name: str) -> int:
    """An id that generation_config.json names, else config.json."""
    for part in (folder.generation, folder.config, folder.sizes("text_config")):
        if part.get(name) is not None:
            return folder.whole(part[name], name, 0)
    raise DocumentError(
        f"expected {name} in {folder.model / 'generation_config.json'}, got none. Checkpoints of Janus-Pro differ in "
        "it. Fetch the file of this checkpoint."
    )


def _boi(folder: ModelFolder, texts: Texts, mark: str) -> int:
    """The id of begin_of_image: checkpoints differ in it, so their own file tells it, else their own tokenizer."""
    own: Any = folder.generation.get("generation_kwargs")
    if isinstance(own, dict) and own.get("boi_token_id") is not None:
        return folder.whole(own["boi_token_id"], "boi_token_id", 0)
    return texts.id_of(mark)


def decoder(folder: ModelFolder, device: str) -> Decoder:
    """Codes int64 [B, rows, cols] to pictures uint8 [B, height, width, 3], by transformers' own JanusVQVAE.

    Raises:
        DocumentError: the weights lack the decoder.
    """
    from transformers import JanusConfig
    from transformers.models.janus.modeling_janus import JanusVQVAE

    vq = load_vq(folder, JanusVQVAE, JanusConfig, device)

    def decode(codes: NDArray[np.int64]) -> NDArray[np.uint8]:
        flat = on_device(codes.reshape(len(codes), -1), device)
        return as_pixels(vq.decode(flat))

    return decode
