"""Pictures in a prompt: what the model's own encoder makes of them, in the places that its processor left for them.

Emu3, Chameleon and GLM-Image read the ids of a picture, Janus embeddings of it. Facts: the models' own files in
transformers 4.57 to 5.24. GLM-Image turns a picture of the prompt by its rows and columns, as it does its own.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagplan.adapters.transformers import TransformersModel
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.shown import shown

__all__ = ["PicturePrompt", "has_pictures", "read_pictures"]

Ids = NDArray[np.int64]

#: Of transformers, for pictures in prompts of Emu3 and GLM-Image.
_OLDEST = (5, 24)

# Shapes: B prompts, P leading ids, E embeddings of a prompt, H width of the stream.


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturePrompt:
    """A prompt with pictures, as a plan is led by it.

    Attributes:
        model: to replay on: the model, of GLM-Image with the places of the prompt's pictures.
        ids: int64 [B, P]; -1 - i stands for embedding i of its prompt.
        lead: embeddings [B, E, H], of Janus; ``None``: all are ids.
    """

    model: TransformersModel
    ids: Ids
    lead: Tensor | None = None


class _After:
    """Coordinates of a sequence in whose lead there are pictures.

    Args:
        own: the model's.
        pictures: their grids, each as the layout that ends in it.
    """

    def __init__(self, own: Callable[..., Ids], pictures: Sequence[Layout]) -> None:
        self.own, self.pictures = own, tuple(pictures)

    def __call__(self, *layouts: Layout) -> Ids:
        """As ``Coordinates``."""
        return self.own(*self.pictures, *layouts)


def read_pictures(model: TransformersModel, inputs: Mapping[str, Any]) -> PicturePrompt:
    """The pictures of prompts by the model's own encoder.

    Args:
        model: of Emu3, Chameleon or Anole, GLM-Image or Janus-Pro, with its encoder (``load_model`` keeps it).
        inputs: what the family's processor gives: ``input_ids`` [B, P] and ``pixel_values``; ``image_sizes`` (Emu3);
            ``image_grid_thw`` and ``images_per_sample``, the grid to be drawn last (GLM-Image). Instead of
            ``pixel_values`` what ``generate`` made of them, ``mm_encoder_outputs``.

    Raises:
        SpecError: inputs without pictures, a family that reads none, as many places as there are no ids for, or of
            GLM-Image prompts whose pictures lie in different places.
    """
    ids = inputs.get("input_ids")
    if ids is None or not has_pictures(inputs):
        raise SpecError(
            "expected input_ids and pixel_values, got one or none. They are what the model's processor gives of a text "
            "with pictures. Hand over all of it."
        )
    reader = {
        "emu3": _of_emu3, "chameleon": _of_chameleon, "anole": _of_chameleon, "glm-image": _of_glm_image,
        "janus-pro": _of_janus,
    }.get(model.family)  # fmt: skip
    if reader is None:
        raise SpecError(
            f"expected a family that reads pictures, got {shown(model.family)}. Its model has no encoder. Leave "
            "them out."
        )
    with torch.no_grad():
        return reader(model, ids.detach().cpu().numpy().astype(np.int64), inputs)


def _require_tested_version(family: str) -> None:
    """Older ones of the library cut a picture's ids another way (4.57 and 5.4 do)."""
    version = metadata.version("transformers")
    if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST:
        raise SpecError(
            f"expected transformers {_OLDEST[0]}.{_OLDEST[1]} or newer for pictures in {family}'s prompts, got "
            f"{shown(version)}. Older ones read them otherwise. Upgrade transformers, or leave the pictures out."
        )


def has_pictures(inputs: Mapping[str, Any]) -> bool:
    """Whether there is a picture in what a processor, or ``generate``, hands over."""
    encoded = inputs.get("mm_encoder_outputs")
    return inputs.get("pixel_values") is not None or bool(encoded and encoded.get("image") is not None)


def _of_emu3(model: TransformersModel, ids: Ids, inputs: Mapping[str, Any]) -> PicturePrompt:
    _require_tested_version("Emu3")
    inner = model.module.model
    codes = inner.get_image_tokens(_pixels(inputs), inputs.get("image_sizes"))
    return PicturePrompt(model=model, ids=_filled(ids, inner.vocabulary_mapping.image_token_id, _flat(codes)))


def _of_chameleon(model: TransformersModel, ids: Ids, inputs: Mapping[str, Any]) -> PicturePrompt:
    inner, encoded = model.module.model, inputs.get("mm_encoder_outputs") or {}
    if encoded.get("image") is None:
        codes = inner.get_image_tokens(_pixels(inputs))
    else:
        codes = inner.vocabulary_mapping.convert_img2bpe(encoded["image"].image_tokens)
    return PicturePrompt(model=model, ids=_filled(ids, inner.vocabulary_mapping.image_token_id, _flat(codes)))


def _of_janus(model: TransformersModel, ids: Ids, inputs: Mapping[str, Any]) -> PicturePrompt:
    inner = model.module.model
    encoded = inputs.get("mm_encoder_outputs") or {}
    features = encoded.get("image")
    if features is None:
        features = inner.get_image_features(_pixels(inputs))
    features = getattr(features, "pooler_output", features).reshape(-1, model.lead_width)
    places = ids == int(model.module.config.image_token_id)
    counts = places.sum(axis=1)
    _require_as_many(int(counts.sum()), len(features))
    led = ids + model.vocab_size  # ids of the text follow the codes
    lead = features.new_zeros((len(ids), max(1, int(counts.max())), features.shape[1]))
    for row, part in enumerate(features.split(counts.tolist())):
        led[row, places[row]] = -1 - np.arange(len(part))
        lead[row, : len(part)] = part
    return PicturePrompt(model=model, ids=led, lead=lead)


def _of_glm_image(model: TransformersModel, ids: Ids, inputs: Mapping[str, Any]) -> PicturePrompt:
    _require_tested_version("GLM-Image")
    inner, grids = model.module.model, inputs.get("image_grid_thw")
    if grids is None:
        raise SpecError("expected image_grid_thw beside GLM-Image's ids, got none. Hand over what its processor gives.")
    each = inputs.get("images_per_sample")
    split = [grids] if each is None else grids.split([int(count) for count in each])
    sources = [sample[:-1].tolist() for sample in split]
    encoded = inputs.get("mm_encoder_outputs") or {}
    features = encoded.get("image")
    if features is None:
        flat = torch.cat([sample[:-1] for sample in split])
        features = inner.get_image_features(_pixels(inputs), flat)
    codes = inner.get_image_tokens(features.pooler_output)
    placeholder = int(model.module.config.image_token_id)
    places = [_layouts(row, placeholder, of) for row, of in zip(ids, sources, strict=True)]
    if any(one != places[0] for one in places):
        raise SpecError(
            "expected prompts whose pictures have one size and lie in one place, got others. Positions are one table "
            "for all of a batch. Draw each by itself."
        )
    placed = copy.copy(model)
    placed.coordinates = _After(model.coordinates, places[0])
    return PicturePrompt(model=placed, ids=_filled(ids, placeholder, _flat(codes)))


def _layouts(ids: Ids, placeholder: int, grids: Sequence[Sequence[int]]) -> list[Layout]:
    """Where the pictures of one prompt lie, each as the layout that ends in it."""
    held, at = [], np.flatnonzero(ids == placeholder)
    _require_as_many(len(at), sum(rows * cols for _, rows, cols in grids))
    for _, rows, cols in grids:
        held.append(Layout(frames=1, rows=rows, cols=cols, lead=int(at[0])))
        at = at[rows * cols :]
    return held


def _pixels(inputs: Mapping[str, Any]) -> Any:
    pixels = inputs.get("pixel_values")
    if pixels is None:
        raise SpecError("expected pixel_values, got none. Hand over what the model's processor gives.")
    return pixels


def _flat(codes: Tensor) -> Ids:
    flat: Ids = codes.reshape(-1).cpu().numpy().astype(np.int64)
    return flat


def _filled(ids: Ids, placeholder: Any, codes: Ids) -> Ids:
    """Ids with a picture's in its places."""
    places = ids == int(placeholder)
    _require_as_many(int(places.sum()), len(codes))
    filled = ids.copy()
    filled[places] = codes
    return filled


def _require_as_many(places: int, there: int) -> None:
    if places != there:
        raise SpecError(
            f"expected a place in input_ids for each of {there} ids of the pictures, got {places}. The processor "
            "leaves them. Hand over its ids as they are."
        )
