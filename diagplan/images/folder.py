"""A model's folder: which family it is of, by its own config.json, before anything heavy is loaded."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diagplan.planner.arguments import is_file, require_path
from diagplan.planner.errors import DocumentError
from diagplan.planner.shown import shown
from diagplan.schemas.files import read_bytes

__all__ = ["ModelFolder", "open_folder", "read_json_object"]

#: Bytes of a JSON file that is read: the vocabulary map of a large model is some megabytes.
_MOST = 64 << 20
_KNOWN = "Janus-Pro, Emu3, GLM-Image, Chameleon, Anole, LlamaGen, or a Llama with a raster.json beside its config.json"
#: ``model_type`` of config.json -> painter.
_TYPES: Mapping[str, str] = {
    "janus": "janus-pro",
    "emu3": "emu3",
    "glm_image": "glm-image",
    "chameleon": "chameleon",
}
#: ``model_type`` of an original release that transformers does not read -> what to fetch instead.
_ORIGINALS: Mapping[str, str] = {
    "multi_modality": "deepseek's own Janus, whose keys transformers does not read. Fetch the converted weights, such as "
    "deepseek-community/Janus-Pro-1B.",
    "Emu3": "BAAI's own Emu3, which needs its own code. Fetch the converted weights, such as "
    "Emu3-community/Emu3-Gen-hf.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """Where the parts of a model lie.

    Attributes:
        path: as it was given.
        painter: name of what knows the family, a key of ``diagplan.images.painters.PAINTERS``.
        model: of the token model: the folder itself, or ``vision_language_encoder`` in a pipeline's.
        tokenizer: of tokenizer.json.
        config: the token model's config.json.
        generation: its generation_config.json; empty where there is none.
    """

    path: Path
    painter: str
    model: Path
    tokenizer: Path
    config: Mapping[str, Any] = field(repr=False)
    generation: Mapping[str, Any] = field(repr=False)

    def sizes(self, *names: str) -> Mapping[str, Any]:
        """A part of config.json, such as ``vq_config``; empty where it is left out.

        Raises:
            DocumentError: something else stands there.
        """
        part: Any = self.config
        for name in names:
            part = part.get(name, {})
            if not isinstance(part, Mapping):
                raise DocumentError(
                    f"expected an object {name} in {self.model / 'config.json'}, got {shown(part)}. Fetch it again."
                )
        return part

    def whole(self, value: Any, name: str, smallest: int = 1) -> int:
        """A whole number of a file of this folder.

        Raises:
            DocumentError: it is another value, or there is none.
        """
        if isinstance(value, bool) or not isinstance(value, int) or not smallest <= value < 1 << 31:
            raise DocumentError(
                f"expected {name} in {self.model} to be a whole number >= {smallest}, got {name}={shown(value)}. "
                "Fetch the file again."
            )
        return value

    @property
    def context(self) -> int | None:
        """``max_position_embeddings`` of the token model; ``None``: its config.json does not say."""
        for part in (self.sizes("text_config"), self.config):
            if part.get("max_position_embeddings") is not None:
                return self.whole(part["max_position_embeddings"], "max_position_embeddings")
        return None


def open_folder(path: str | Path) -> ModelFolder:
    """The parts of a model's folder; reads JSON alone.

    Raises:
        DocumentError: no folder, or one of no model that emits a picture token by token; it names the file that says
            so.
    """
    require_path("model", path)
    folder = Path(path)
    pipeline, config = folder / "model_index.json", folder / "config.json"
    if is_file(pipeline):
        return _pipeline(folder, pipeline)
    if not is_file(config):
        raise DocumentError(
            f"expected a model's folder with config.json, got {shown(str(path), 300)} without one. Give the folder "
            f"that holds the weights and config.json of {_KNOWN}."
        )
    parts = read_json_object(config)
    if "_class_name" in parts:
        raise _no_tokens(config, f"diffusers' {shown(parts['_class_name'])}")
    return _folder(folder, folder, folder, parts)


def _pipeline(folder: Path, index: Path) -> ModelFolder:
    """A pipeline of diffusers: GLM-Image's holds a token model, no other does."""
    name = read_json_object(index).get("_class_name")
    if name != "GlmImagePipeline":
        raise _no_tokens(index, f"the pipeline {shown(name)}")
    model, processor = folder / "vision_language_encoder", folder / "processor"
    config = model / "config.json"
    if not is_file(config):
        raise DocumentError(f"expected GLM-Image's token model, got no {config}. Fetch the whole repository.")
    return _folder(folder, model, processor, read_json_object(config))


def _folder(folder: Path, model: Path, tokenizer: Path, config: Mapping[str, Any]) -> ModelFolder:
    kind = config.get("model_type")
    painter = "raster-llama" if is_file(model / "raster.json") else _TYPES.get(kind) if isinstance(kind, str) else None
    if painter is None:
        place = model / "config.json"
        if isinstance(kind, str) and kind in _ORIGINALS:
            raise DocumentError(f"expected a model that transformers reads, got {place} of {_ORIGINALS[kind]}")
        raise DocumentError(
            f"expected a model that emits pictures, got {place} with model_type={shown(kind)}, whose layout of picture "
            f"tokens is not known. Give the folder of {_KNOWN}."
        )
    generation = model / "generation_config.json"
    return ModelFolder(
        path=folder, painter=painter, model=model, tokenizer=tokenizer, config=config,
        generation=read_json_object(generation) if is_file(generation) else {},
    )  # fmt: skip


def _no_tokens(file: Path, what: str) -> DocumentError:
    return DocumentError(
        f"expected a model that emits a picture token by token, got {file} of {what}, which denoises all of it at "
        f"once. A decoding plan is of no use to it. Give the folder of {_KNOWN}."
    )


def read_json_object(path: Path) -> dict[str, Any]:
    """The object of a JSON file.

    Raises:
        DocumentError: it cannot be read, or holds something else.
    """
    data = read_bytes(path, _MOST)
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DocumentError(
            f"expected a JSON object in {path}, got a file that is none: {str(error)[:100]}. Fetch it again."
        ) from None
    if not isinstance(value, dict):
        raise DocumentError(f"expected a JSON object in {path}, got {shown(value)}. Fetch it again.")
    return value
