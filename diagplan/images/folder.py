"""A model's folder: which family it is of, by its own config.json, before any weight is read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagplan.planner.arguments import is_file, require_path
from diagplan.planner.errors import DocumentError
from diagplan.planner.extras import require_packages
from diagplan.planner.shown import shown
from diagplan.schemas.json_objects import read_json_object

if TYPE_CHECKING:
    from diagplan.adapters.raster import Raster

__all__ = ["ModelFolder", "open_folder"]

#: Where the tokenizer lies in the folder of a pipeline.
_PROCESSOR = "processor"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """Where the parts of a model lie.

    Attributes:
        path: as it was given.
        painter: name of the family, a key of ``diagplan.images.painters.PAINTERS``.
        model: of the token model: the folder itself, or ``vision_language_encoder`` in a pipeline's.
        tokenizer: of tokenizer.json.
        config: the token model's config.json.
        generation: its generation_config.json; empty where there is none.
        raster: what raster.json says, where there is one.
        vq: a file of the image decoder, where it is not in the folder.
    """

    path: Path
    painter: str
    model: Path
    tokenizer: Path
    config: Mapping[str, Any] = field(repr=False)
    generation: Mapping[str, Any] = field(repr=False)
    raster: "Raster | None" = None
    vq: Path | None = None

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
        held: Mapping[str, Any] = part
        return held

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


def open_folder(path: str | Path, vq: Path | None = None, config: Any = None) -> ModelFolder:
    """The parts of a model's folder; reads JSON alone, of LlamaGen the headers of its file.

    Args:
        path: a folder of transformers or a pipeline's; or a file of LlamaGen, such as ``c2i_B_256.pt``.
        vq: a file of the image decoder.
        config: as for ``load_model``: sizes of a LlamaGen that nobody published, or a file of a raster.

    Raises:
        DocumentError, SpecError: no folder, or one of no model that emits a picture token by token; it names the file
            that says so.
        MissingExtraError: torch or transformers is not installed.
    """
    require_path("model", path)
    given = Path(path)
    if is_file(given) or _only_weights(given):
        return _llamagen(given, vq, config)
    require_packages("models of transformers", "torch", "safetensors", "transformers")
    from diagplan.adapters.hf_files import read_folder

    held = read_folder(given, None, config)
    generation = held.path / "generation_config.json"
    return ModelFolder(
        path=given if held.path != given or not is_file(given.parent / "model_index.json") else given.parent,
        painter=held.family,
        model=held.path,
        tokenizer=_tokenizer(given, held.path),
        config=held.config,
        generation=read_json_object(generation) if is_file(generation) else {},
        raster=held.raster,
        vq=vq,
    )


def _only_weights(path: Path) -> bool:
    """Whether a folder holds weights and nothing that says of what: those of LlamaGen tell their sizes themselves."""
    return is_file(path / "model.safetensors") and not is_file(path / "config.json")


def _llamagen(path: Path, vq: Path | None, config: Any) -> ModelFolder:
    require_packages("LlamaGen", "torch", "safetensors")
    from diagplan.adapters.llamagen_files import open_llamagen

    sizes = open_llamagen(path, config)[1]
    painter = "llamagen" if sizes.model_type == "c2i" else "llamagen-t2i"
    return ModelFolder(
        path=path, painter=painter, model=path, tokenizer=path, config=asdict(sizes), generation={}, vq=vq
    )


def _tokenizer(given: Path, model: Path) -> Path:
    """Where the tokenizer lies: beside the weights, or in a pipeline's own folder for it."""
    if model != given:
        return given / _PROCESSOR
    beside = given.parent / _PROCESSOR
    return beside if is_file(beside / "tokenizer.json") and not is_file(given / "tokenizer.json") else given
