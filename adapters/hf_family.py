"""The records of models of transformers; one reads the family from a folder's config.json."""

from collections.abc import Callable
from pathlib import Path

from diagplan.adapters.contract import Model
from diagplan.adapters.families import Family, Opened
from diagplan.adapters.hf_kinds import ANY
from diagplan.adapters.options import LoadOptions
from diagplan.planner.extras import require_packages

__all__ = ["ANOLE", "CHAMELEON", "EMU3", "GLM_IMAGE", "JANUS_PRO", "RASTER_LLAMA", "TRANSFORMERS"]

_PURPOSE, _PACKAGES = "models of transformers", ("torch", "safetensors", "transformers")
_FOLDER = "a folder of transformers: config.json and safetensors"


def _loader(family: str | None) -> Callable[[str | Path, LoadOptions], Model]:
    def load(weights: str | Path, options: LoadOptions) -> Model:
        require_packages(_PURPOSE, *_PACKAGES)
        from diagplan.adapters.hf_files import load_folder

        return load_folder(weights, options, family)

    return load


def _opener(family: str | None) -> Callable[[str | Path, LoadOptions], Opened]:
    def look(weights: str | Path, options: LoadOptions) -> Opened:
        require_packages(_PURPOSE, *_PACKAGES)
        from diagplan.adapters.hf_files import open_folder, read_folder

        return open_folder(read_folder(weights, family, options.config))[2]

    return look


def _record(name: str, title: str, *presets: str, family: str | None = "", weights: str = _FOLDER) -> Family:
    of = name if family == "" else family
    return Family(name=name, title=title, weights=weights, load=_loader(of), open=_opener(of), presets=presets)


JANUS_PRO = _record("janus-pro", "Janus-Pro 1B and 7B, a Llama over image codes", "janus-pro")
EMU3 = _record(
    "emu3", "Emu3-Gen, a Llama over text and visual tokens",
    "emu3", "emu3-4x3", "emu3-3x4", "emu3-16x9", "emu3-9x16", "emu3-3x2",
)  # fmt: skip
GLM_IMAGE = _record(
    "glm-image",
    "GLM-Image's token model: a preview, then the picture",
    "glm-image-preview",
    "glm-image",
    weights=f"{_FOLDER}; or that of the whole pipeline",
)
CHAMELEON = _record("chameleon", "Chameleon, a Llama with normed queries over text and image tokens", "chameleon")
ANOLE = _record("anole", "Anole, Chameleon trained to make pictures", "chameleon")
RASTER_LLAMA = _record(
    ANY,
    "any causal language model of transformers whose ids hold pictures row by row",
    weights=f"{_FOLDER}; raster.json beside them, or its path as `config`",
)
TRANSFORMERS = _record("transformers", "any of the models of transformers; config.json tells which", family=None)
