"""What commands that draw pictures of prompts share: sizes, prompts, decoders, sampling."""

from pathlib import Path
from typing import Annotated

import typer

from diagplan.cli.shared.models import MODEL, option

__all__ = [
    "PICTURE",
    "SAMPLING",
    "ChunkOption",
    "FeaturesOption",
    "GreedyOption",
    "GuidanceOption",
    "MinPOption",
    "NegativeOption",
    "NumOption",
    "RasterOption",
    "RatioOption",
    "SizeOption",
    "SuffixOption",
    "TemperatureOption",
    "TopKOption",
    "TopPOption",
    "VqOption",
]

PICTURE, SAMPLING = "Picture", "Sampling"

NumOption = Annotated[int, typer.Option(help="Pictures of each prompt.", min=1, rich_help_panel=PICTURE)]
SizeOption = Annotated[
    str | None, option(PICTURE, "Width and height in pixels, such as 1024x768. Left out: as the release has it.")
]
RatioOption = Annotated[str | None, option(PICTURE, "Instead of --size: width to height, such as 16:9.")]
NegativeOption = Annotated[
    str | None, option(PICTURE, "What guidance leads away from. Left out: as the release has it.")
]
SuffixOption = Annotated[
    str | None, option(PICTURE, "Appended to each prompt. Left out: as the release does; '' for nothing.")
]
RasterOption = Annotated[
    str | None, option(MODEL, "A raster's file, or the sizes of a LlamaGen that nobody published: JSON.")
]
VqOption = Annotated[
    Path | None, option(MODEL, "The image decoder, where the folder has none: vqgan.ckpt, vq_ds16_c2i.pt.")
]
FeaturesOption = Annotated[
    list[Path] | None, option(PICTURE, "For a LlamaGen of texts: each prompt's flan-t5-xl features, .npy.")
]
ChunkOption = Annotated[
    int, typer.Option(help="Feeds of the widest pass: a long prompt is cut.", min=1, rich_help_panel=MODEL)
]
GuidanceOption = Annotated[
    float | None,
    option(SAMPLING, "The scale of classifier-free guidance; 1 is none. Left out: as the release has it."),
]
GreedyOption = Annotated[bool, option(SAMPLING, "Take the most probable token.", "--greedy")]
TemperatureOption = Annotated[
    float | None, option(SAMPLING, "Divides the logits; 0 is greedy. Left out: as the folder or the release says.")
]
TopKOption = Annotated[int | None, option(SAMPLING, "Keep the k most probable tokens; 0 keeps all.")]
TopPOption = Annotated[
    float | None, option(SAMPLING, "Keep the most probable tokens up to this probability; 1 keeps all.")
]
MinPOption = Annotated[float | None, option(SAMPLING, "Keep tokens this share as probable as the first.")]
