"""Folders of transformers' models: config.json and safetensors, read from the disk alone.

Nothing is fetched, no code of a folder is run, no pickle is opened. What cannot be a model of image tokens is refused
before a tensor is read: a diffusion pipeline, a language model without a raster, other publishers' own formats.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from diagplan.adapters.contract import Widths
from diagplan.adapters.devices import require_device
from diagplan.adapters.families import Opened
from diagplan.adapters.headers import listed
from diagplan.adapters.hf_checks import widths_of_text
from diagplan.adapters.hf_kinds import ANY, KINDS, family_of_kind
from diagplan.adapters.options import LoadOptions
from diagplan.adapters.raster import Raster
from diagplan.adapters.transformers import TransformersModel
from diagplan.adapters.weights import Checkpoint, open_checkpoint
from diagplan.planner.arguments import is_file
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.extras import missing_packages
from diagplan.planner.shown import shown
from diagplan.schemas.json_objects import read_json_object

__all__ = ["Folder", "FolderConfig", "load_folder", "open_folder", "read_folder"]

_CONFIG, _INDEX, _RASTER = "config.json", "model_index.json", "raster.json"
#: Where the token model lies in the folder of a pipeline.
_INNER = "vision_language_encoder"
_CLASSES = {
    "janus": "JanusForConditionalGeneration",
    "emu3": "Emu3ForConditionalGeneration",
    "glm_image": "GlmImageForConditionalGeneration",
    "chameleon": "ChameleonForConditionalGeneration",
}
#: The same models in their publishers' own formats, whose code would have to be run.
_OTHER_FORMATS = {
    "multi_modality": "deepseek-community/Janus-Pro-1B",
    "Emu3": "Emu3-community/Emu3-Gen-hf",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderConfig:
    """A model's sizes, as its files tell them; see ``diagplan.adapters.contract.Config``.

    Attributes:
        model_type: of its config.json.
        tensors: name -> shape of every tensor of the files; all of them are loaded.
    """

    model_type: str
    cache_shapes: tuple[tuple[int, int], ...]
    widths: Widths | None
    tensors: Mapping[str, tuple[int, ...]]

    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The name and shape of every tensor."""
        return self.tensors

    def weight_bytes(self, itemsize: int, quantize: Any = None, *, packed: bool = False, text_tokens: int = 0) -> int:
        """As in ``diagplan.adapters.contract.Config``; nothing is quantised or packed, and no text is bound."""
        del quantize, packed, text_tokens
        return itemsize * sum(math.prod(shape) for shape in self.tensors.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder that may be a model of image tokens; its config.json has been read, no tensor has.

    Attributes:
        path: where config.json and the weights lie.
        family: a name of ``diagplan.adapters.hf_kinds.KINDS``.
        model_type: of its config.json.
        config: what config.json holds.
        raster: for a family whose models need one, or what is to be taken instead of the model's own.
    """

    path: Path
    family: str
    model_type: str
    config: Mapping[str, Any]
    raster: Raster | None


def read_folder(weights: str | Path, family: str | None = None, raster: Any = None) -> Folder:
    """Which model a folder holds.

    Args:
        weights: the folder; of a pipeline of GLM-Image, the pipeline's or that of its token model.
        family: which it must be; ``None``: the folder tells.
        raster: a ``Raster``, or a JSON file of its fields; ``None``: raster.json in the folder, where there is one.

    Raises:
        DocumentError: no such folder, or none of a model of image tokens.
        SpecError: a model of another family, or one that needs a raster.
    """
    path = _inner_folder(Path(weights))
    config = read_json_object(path / _CONFIG)
    kind = config.get("model_type")
    if kind in _OTHER_FORMATS:
        raise DocumentError(
            f"expected a model in the format of transformers, got {path / _CONFIG} with model_type={shown(kind)}, its "
            f"publisher's own, which would need code from its folder. Take {_OTHER_FORMATS[kind]}."
        )
    if not isinstance(kind, str):
        other = config.get("_class_name")  # diffusers' own
        got = shown(kind) if other is None else f"_class_name={shown(other)}, a part of a diffusion pipeline"
        raise DocumentError(
            f"expected model_type in {path / _CONFIG}, got {got}. It names the model's class in transformers. "
            "Give the folder of such a model."
        )
    if config.get("quantization_config") is not None:
        raise SpecError(
            f"expected weights as they were trained, got {path / _CONFIG} with quantization_config. Load it with "
            "transformers, and hand it to diagplan.wrap."
        )
    held = _raster_for(path, raster)
    name = family_of_kind(kind) if family is None else family
    wanted = KINDS[name]
    if wanted is not None and wanted != kind:
        right = family_of_kind(kind)
        remedy = f"It is a model of the family {right}." if right != ANY else "Give another folder."
        raise SpecError(
            f"expected model_type {wanted} for the family {name}, got {shown(kind)} in {path / _CONFIG}. {remedy}"
        )
    if name == ANY and held is None:
        raise SpecError(
            f"expected a model of image tokens, got {path / _CONFIG} with model_type={shown(kind)}. Nothing tells "
            "which of its ids are a picture's, if any are. Give config=Raster(ids=(low, high), rows=, cols=), or put "
            f"{_RASTER} beside it."
        )
    return Folder(path=path, family=name, model_type=kind, config=config, raster=held)


def _inner_folder(path: Path) -> Path:
    if not path.is_dir():
        there = "a file" if path.exists() else "nothing"
        raise DocumentError(
            f"expected a folder with {_CONFIG} and safetensors, got {path}, where there is {there}. Give the folder "
            "that was fetched from the hub."
        )
    if is_file(path / _CONFIG):
        return path
    if is_file(path / _INNER / _CONFIG):
        return path / _INNER
    if is_file(path / _INDEX):
        raise DocumentError(
            f"expected a model of image tokens, got {path / _INDEX}, a diffusion pipeline without {_INNER}. Plans are "
            "for models that decode token by token. Give another folder."
        )
    raise DocumentError(
        f"expected {_CONFIG} in {path}, got {listed(sorted(one.name for one in path.iterdir()), 4) or 'nothing'}. It "
        "names the model and its sizes. Fetch the whole folder."
    )


def _raster_for(path: Path, raster: Any) -> Raster | None:
    if raster is None:
        return _raster_in(path / _RASTER) if is_file(path / _RASTER) else None
    if isinstance(raster, Raster):
        return raster
    if isinstance(raster, str | Path) and is_file(raster):
        return _raster_in(Path(raster))
    raise SpecError(
        f"expected config to be a Raster or a JSON file of one, got config={shown(raster)}. Sizes come from {_CONFIG}. "
        "Leave it out for a family that is known."
    )


def _raster_in(path: Path) -> Raster:
    held = read_json_object(path)
    try:
        return Raster.of(held)
    except SpecError as error:
        raise DocumentError(f"{path}: {error}") from None


def open_folder(folder: Folder) -> tuple[Checkpoint, Any, Opened]:
    """A folder's headers, the configuration of transformers, and what both tell; no tensor is read.

    Raises:
        DocumentError: missing shards, a damaged file, or sizes that transformers refuses.
        MissingExtraError: transformers is not installed, or too old for the model.
    """
    checkpoint = open_checkpoint(folder.path)
    library = _library(folder)
    with _quiet(), _one_line(folder.path / _CONFIG, "a configuration that transformers takes"):
        config = library.AutoConfig.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
        text = config.get_text_config(decoder=True)
        widths = widths_of_text(text)
        sizes = FolderConfig(
            model_type=folder.model_type,
            cache_shapes=((widths.kv_heads, widths.head),) * (2 * int(text.num_hidden_layers)),
            widths=widths,
            tensors={name: header.shape for name, header in checkpoint.headers.items()},
        )
        vocab = {"janus": lambda: config.vq_config.num_embeddings, "glm_image": lambda: text.vision_vocab_size}
        width = int(vocab.get(folder.model_type, lambda: text.vocab_size)())
    return checkpoint, config, Opened(config=sizes, vocab_size=width)


def load_folder(weights: str | Path, options: LoadOptions, family: str | None = None) -> TransformersModel:
    """Load a model.

    Args:
        weights: as for ``read_folder``.
        options: ``dtype``, ``device``; ``config`` is the raster; ``portable``: keep to the library's own layers.
        family: as for ``read_folder``.

    Raises:
        SpecError: a model of another family, or an option that this model has not.
        DocumentError: files that are missing, damaged, or do not belong together.
        MissingExtraError: transformers is not installed, or too old for the model.
    """
    if options.quantize is not None:
        raise SpecError(
            f"expected no quantize for a model of transformers, got quantize={shown(options.quantize)}. Quantise it "
            "with transformers, and hand it to diagplan.wrap."
        )
    device = require_device(options.device)
    folder = read_folder(weights, family, options.config)
    checkpoint, config, _ = open_folder(folder)
    library = _library(folder)
    kind = getattr(library, _CLASSES.get(folder.model_type, "AutoModelForCausalLM"))
    with _quiet(), _one_line(folder.path, "the weights of its config.json"):
        module, told = kind.from_pretrained(
            folder.path,
            config=config,
            dtype=getattr(torch, options.dtype),
            attn_implementation="sdpa",
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    _require_whole(checkpoint, told)
    return TransformersModel(
        module.to(device), family=folder.family, raster=folder.raster, fast=not options.portable, consume=True
    )


def _require_whole(checkpoint: Checkpoint, told: Mapping[str, Any]) -> None:
    """transformers fills what a file lacks with noise, and says so in a log."""
    missing = sorted(map(str, told.get("missing_keys") or ()))
    misshaped = sorted(str(one[0]) for one in told.get("mismatched_keys") or ())
    if missing or misshaped:
        kinds = {"missing": missing, "of another shape": misshaped}
        words = "; ".join(f"{len(names)} {kind}: {listed(names, 4)}" for kind, names in kinds.items() if names)
        raise DocumentError(
            f"expected all tensors of {checkpoint.path / _CONFIG}, got {checkpoint.path} with {words}. Weights and "
            "config must belong together. Fetch both from one place."
        )


def _library(folder: Folder) -> Any:
    try:
        library = import_module("transformers")
    except ImportError:
        raise missing_packages("models of transformers", ["transformers"]) from None
    name = _CLASSES.get(folder.model_type)
    if name is not None and not hasattr(library, name):
        raise SpecError(
            f"expected a transformers with {name}, got version {library.__version__}. {folder.family} came later. "
            "Install a newer one: pip install -U transformers."
        )
    return library


@contextmanager
def _one_line(path: Path, what: str) -> Iterator[None]:
    """Whatever a reader of transformers raises as one error that names the file."""
    try:
        yield
    except (DocumentError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DocumentError(
            f"expected {what}, got {path}, at which transformers says {type(error).__name__}: {reason}. The files are "
            "damaged or do not belong together. Fetch them again."
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bars and warnings; what matters of them is an error here."""
    logging = import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
