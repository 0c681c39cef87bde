"""What is known of each family besides its model: its prompts, its guidance, its sampling, its decoder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.options import LoadOptions
from diagplan.adapters.samplers import Sample
from diagplan.images import chameleon, emu3, glm_image, janus, llamagen, raster
from diagplan.images.folder import ModelFolder
from diagplan.images.prompts import Prompted, Request
from diagplan.images.vq import Decoder, require_vq
from diagplan.planner.errors import SpecError
from diagplan.planner.shown import shown

__all__ = ["PAINTERS", "Painter", "Weights", "painter_named"]

Weights = float | tuple[float, ...]
Tokens = NDArray[np.int64]
Pictures = NDArray[np.uint8]


def _scale(scale: float, branches: int) -> Weights:
    """Two branches need no weights but the scale."""
    assert branches == 2, branches
    return scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Painter:
    """What turns texts into ids, and ids into pictures.

    Attributes:
        name: by which ``ModelFolder`` asks for it.
        family: of the model, that ``load_model`` takes.
        title: for people.
        release: whose rules these are.
        prompts: ids of texts.
        decoder: ids to pixels, of (folder, device); ``None``: GLM-Image's pipeline.
        require_decoder: raises where pixels cannot be made.
        guidance: the release's scale; ``None``: it has none.
        guided: whether there can be guidance at all.
        weights: of a scale and a number of branches, what replay takes as guidance.
        sampler: the release's; ``None``: what transformers' ``generate`` does.
        sampled: whether the release calls ``generate`` with ``do_sample`` whatever generation_config.json says.
        embeddings: of a loaded model and prompts, what is fed in the place of ids, [rows, P, width]; ``None``: nothing.
    """

    name: str
    family: str
    title: str
    release: str
    prompts: Callable[[ModelFolder, Request], Prompted]
    decoder: Callable[[ModelFolder, str], Decoder] | None
    require_decoder: Callable[[ModelFolder], object]
    guidance: float | None
    sampler: Sample | None
    sampled: bool = False
    guided: bool = True
    weights: Callable[[float, int], Weights] = _scale
    embeddings: Callable[[Any, Prompted], Any] | None = None

    def pixels(
        self,
        folder: ModelFolder,
        tokens: Tokens,
        texts: tuple[str, ...],
        options: LoadOptions,
        seed: int,
        on_picture: Callable[[int], None] = lambda _: None,
    ) -> Pictures:
        """Pictures uint8 [B, height, width, 3] of ids int64 [B, h, w], one after the other.

        Args:
            folder: of the model.
            tokens: of the picture's grid.
            texts: the prompts, which GLM-Image's pipeline reads too.
            options: the device; of GLM-Image's pipeline the dtype too.
            seed: of GLM-Image's noise.
            on_picture: called with the number of pictures that are done.

        Raises:
            DocumentError: the decoder's files are missing or of another model.
        """
        if self.decoder is None:
            return glm_image.decode(
                folder, tokens, texts, device=options.device, dtype=options.dtype, seed=seed, on_picture=on_picture
            )
        import torch

        decode = self.decoder(folder, options.device)
        parts = []
        with torch.inference_mode():
            for at in range(len(tokens)):
                parts.append(decode(tokens[at : at + 1]))
                on_picture(at + 1)
        return np.concatenate(parts)


def _own(folder: ModelFolder) -> None:
    if folder.vq is not None:
        raise SpecError(
            f"expected no file of an image decoder, got {folder.vq}: the decoder of this family is in {folder.model}. "
            "Leave it out."
        )
    require_vq(folder)


#: By name.
PAINTERS: Mapping[str, Painter] = MappingProxyType(
    {
        painter.name: painter
        for painter in (
            Painter(
                name="janus-pro", family="janus-pro", title="Janus-Pro", release="deepseek-ai/Janus",
                prompts=janus.prompts, decoder=janus.decoder, require_decoder=_own, guidance=5.0,
                sampler=Sample(temperature=1.0),
            ),
            Painter(
                name="emu3", family="emu3", title="Emu3", release="baaivision/Emu3", prompts=emu3.prompts,
                decoder=emu3.decoder, require_decoder=_own, guidance=3.0,
                sampler=Sample(temperature=1.0, top_k=2048),
            ),
            Painter(
                name="glm-image", family="glm-image", title="GLM-Image", release="zai-org/GLM-Image",
                prompts=glm_image.prompts, decoder=None, require_decoder=glm_image.require_decoder, guidance=None,
                guided=False, sampler=None, sampled=True,
            ),
            Painter(
                name="chameleon", family="chameleon", title="Chameleon or Anole", release="GAIR-NLP/anole",
                prompts=chameleon.prompts, decoder=chameleon.decoder, require_decoder=chameleon.decoder_file,
                guidance=chameleon.TEXT_SCALE, sampler=Sample(temperature=0.7, top_p=0.9),
                weights=chameleon.weights_of,
            ),
            Painter(
                name="llamagen", family="llamagen", title="LlamaGen", release="FoundationVision/LlamaGen",
                prompts=llamagen.class_prompts, decoder=llamagen.decoder, require_decoder=llamagen.require_file,
                guidance=4.0, sampler=Sample(temperature=1.0, top_k=2000),
            ),
            Painter(
                name="llamagen-t2i", family="llamagen", title="LlamaGen of texts", release="FoundationVision/LlamaGen",
                prompts=llamagen.text_prompts, decoder=llamagen.decoder, require_decoder=llamagen.require_file,
                guidance=7.5, sampler=Sample(temperature=1.0, top_k=1000), embeddings=llamagen.embeddings,
            ),
            Painter(
                name="raster-llama", family="raster-llama", title="a model of raster.json", release="transformers",
                prompts=raster.prompts, decoder=raster.decoder, require_decoder=raster.require_file, guidance=None,
                sampler=None,
            ),
        )
    }
)  # fmt: skip


def painter_named(name: str) -> Painter:
    """The painter of a family.

    Raises:
        SpecError: there is none.
    """
    if name not in PAINTERS:
        raise SpecError(f"expected a painter out of {', '.join(PAINTERS)}, got {shown(name)}. Correct its name.")
    return PAINTERS[name]
