"""What is known of each family besides its model: its prompts, its guidance, its sampling, its decoder."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from diagplan.adapters.samplers import Sample
from diagplan.images import chameleon, emu3, glm_image, janus, raster
from diagplan.images.folder import ModelFolder
from diagplan.images.prompts import Prompted, Request
from diagplan.images.vq import Decoder
from diagplan.planner.errors import SpecError
from diagplan.planner.shown import shown

__all__ = ["PAINTERS", "Painter", "painter_named"]

Weights = float | tuple[float, ...]


def _scale(scale: float, branches: int) -> Weights:
    return scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Painter:
    """What turns texts into ids, and ids into pictures.

    Attributes:
        name: also of the model family that ``load_model`` takes.
        title: for people.
        release: whose rules these are.
        prompts: ids of texts.
        decoder: ids to pixels, of (folder, file of the decoder, device); ``None``: a pipeline of its own, or none.
        guidance: the release's scale; ``None``: it has no guidance.
        weights: of a scale and a number of branches, what replay takes as guidance.
        sampler: the release's; ``None``: transformers' ``generate`` with ``do_sample``.
        needs_vq: what file the decoder is read from, for people, where the model's folder lacks it; else empty.
    """

    name: str
    title: str
    release: str
    prompts: Callable[[ModelFolder, Request], Prompted]
    decoder: Callable[[ModelFolder, str], Decoder] | None
    guidance: float | None
    sampler: Sample | None
    weights: Callable[[float, int], Weights] = _scale


#: By name.
PAINTERS: Mapping[str, Painter] = MappingProxyType(
    {
        painter.name: painter
        for painter in (
            Painter(
                name="janus-pro", title="Janus-Pro", release="deepseek-ai/Janus", prompts=janus.prompts,
                decoder=janus.decoder, guidance=5.0, sampler=Sample(temperature=1.0),
            ),
            Painter(
                name="emu3", title="Emu3", release="baaivision/Emu3", prompts=emu3.prompts, decoder=emu3.decoder,
                guidance=3.0, sampler=Sample(temperature=1.0, top_k=2048),
            ),
            Painter(
                name="glm-image", title="GLM-Image", release="zai-org/GLM-Image", prompts=glm_image.prompts,
                decoder=None, guidance=None, sampler=None,
            ),
            Painter(
                name="chameleon", title="Chameleon or Anole", release="GAIR-NLP/anole", prompts=chameleon.prompts,
                decoder=None, guidance=chameleon.TEXT_SCALE, sampler=Sample(temperature=0.7, top_p=0.9),
                weights=chameleon.weights_of,
            ),
            Painter(
                name="raster-llama", title="a raster model", release="nobody", prompts=raster.prompts, decoder=None,
                guidance=None, sampler=None,
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
