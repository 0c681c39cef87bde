"""Image tokenizers of the MC-AR family: diffusers' ``VQModel``, frames to code indices and back.

Source: the release's vae.py and its config.json; pixels in [0, 1] are normalised with mean .5 and deviation .5, the
decoder's output is clamped to [-1, 1].
"""

import inspect
import json
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from diagplan.adapters.frame_tokenizer import FrameTokenizer
from diagplan.adapters.headers import check_weights, listed
from diagplan.adapters.one_class import class_of_module
from diagplan.adapters.weights import LazyWeights, open_checkpoint
from diagplan.planner.errors import DocumentError
from diagplan.planner.extras import missing_packages
from diagplan.planner.shown import shown

__all__ = ["ImageTokenizer", "empty_vq", "load_image_tokenizer", "tokenizer_bytes", "tokenizer_files", "vq_class"]

_WEIGHTS = ("diffusion_pytorch_model.safetensors", "vae.safetensors", "vae.ckpt", "diffusion_pytorch_model.bin")

#: Blocks of a tokenizer, layers of a block; sizes of any other kind.
_DEEPEST, _LARGEST = 32, 1 << 20
#: Packages of diffusers that import every model of their kind.
_DIFFUSERS = tuple(f"diffusers.models{name}" for name in ("", ".autoencoders", ".unets", ".transformers"))
#: What diffusers imports where it is installed: torch's compiler, and one class for pipelines.
_OPTIONAL = ("torch._dynamo", "transformers")


@cache
def vq_class() -> Any:
    """diffusers' ``VQModel``.

    Raises:
        MissingExtraError: diffusers is not installed.
    """
    try:
        return class_of_module(
            "diffusers.models.autoencoders.vq_model", "VQModel", packages=_DIFFUSERS, hidden=_OPTIONAL
        )
    except ImportError:
        raise missing_packages("image tokenizers", ["diffusers"]) from None


class _Undrawn(TorchFunctionMode):
    """Draw no first weights: checkpoints bring them, and on the "meta" device torch would import its compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func.__name__ in ("normal_", "uniform_"):
            return given["tensor"] if "tensor" in given else args[0]
        return func(*args, **given)


def empty_vq(**config: Any) -> Any:
    """A ``VQModel`` of these sizes without weights, on the device "meta".

    Raises:
        MissingExtraError: diffusers is not installed.
        Exception: almost any, for sizes that do not fit together.
    """
    with torch.device("meta"), _Undrawn():
        return vq_class()(**config)


class ImageTokenizer(FrameTokenizer):
    """A diffusers ``VQModel``.

    Args:
        model: it is put in evaluation mode.
    """

    def __init__(self, model: Any) -> None:
        self.model = model.eval().requires_grad_(False)
        super().__init__(model.config.num_vq_embeddings, 2 ** (len(model.config.block_out_channels) - 1))
        self._channels: int = model.config.vq_embed_dim or model.config.latent_channels

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        where: torch.device = self.model.quantize.embedding.weight.device
        return where

    @torch.inference_mode()
    def codes_of(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Tokens of a few frames."""
        tokens: NDArray[np.int64] = self.encoded(torch.from_numpy(frames).to(self.device)).cpu().numpy()
        return tokens

    @torch.inference_mode()
    def pictures_of(self, tokens: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures of a few frames of tokens."""
        pictures: NDArray[np.uint8] = self.decoded(torch.from_numpy(tokens).to(self.device)).cpu().numpy()
        return pictures

    def encoded(self, frames: Tensor) -> Tensor:
        """Tokens int64 [T, rows, cols] of frames uint8 [T, height, width, 3]."""
        latents = self.model.encode(self.pixels(frames)).latents
        _, _, (_, _, ids) = self.model.quantize(latents)
        tokens: Tensor = ids.view(latents.shape[0], *latents.shape[2:])
        return tokens

    def decoded(self, tokens: Tensor) -> Tensor:
        """Frames uint8 [T, height, width, 3] of tokens int64 [T, rows, cols]."""
        codes = self.model.quantize.get_codebook_entry(tokens.flatten(), (*tokens.shape, self._channels))
        pixels = self.model.decode(codes, force_not_quantize=True).sample
        return self.shades(pixels.float().clamp(-1, 1)).permute(0, 2, 3, 1)

    def shades(self, pixels: Tensor) -> Tensor:
        """Pixels in [-1, 1] as uint8, rounded."""
        return ((pixels + 1) * 127.5).round().to(torch.uint8)

    def pixels(self, frames: Tensor) -> Tensor:
        """What the network takes: [T, 3, height, width] in [-1, 1]."""
        return frames.permute(0, 3, 1, 2).to(self.model.dtype) / 127.5 - 1


def load_image_tokenizer(folder: str | Path, *, device: str = "cpu") -> ImageTokenizer:
    """Load a tokenizer from a folder with diffusers' config.json and weights (safetensors, or the release's vae.ckpt).

    Computes in float32 whatever the file's dtype.

    Raises:
        DocumentError: a missing or broken file, or tensors that are not the config's.
        MissingExtraError: diffusers is not installed.
    """
    cls = vq_class()
    about, weights = tokenizer_files(folder)
    config = _read_config(about)
    known = {*inspect.signature(cls.__init__).parameters} - {"self"}
    unknown = sorted(key for key in config if key not in known and not key.startswith("_"))
    if unknown or config.get("_class_name", "VQModel") != "VQModel":
        raise DocumentError(
            f"expected the config of a diffusers VQModel, got {about} with "
            f"{listed(unknown) or 'the class ' + shown(config['_class_name'])}."
        )
    _require_sizes(config, about)
    try:
        model = empty_vq(**{key: value for key, value in config.items() if key in known})  # from_config imports it all
    except Exception as error:  # noqa: BLE001 - sizes that do not fit raise almost anything
        reason = " ".join(str(error).split())[:200]
        raise DocumentError(f"expected the config of a diffusers VQModel, got {about} ({reason}).") from None
    checkpoint = open_checkpoint(weights)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    names = check_weights(
        checkpoint.headers,
        shapes,
        source=checkpoint.path,
        prefixes=("tokenizer.model.", "model.", ""),
        ignored=("loss.*",),
    )
    lazy = LazyWeights(checkpoint, names, dtype=torch.float32, device=device)
    model.load_state_dict({name: lazy[name] for name in shapes}, assign=True)
    broken = [name for name, tensor in model.state_dict().items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise DocumentError(
            f"expected finite weights, got NaN or infinite ones in {broken[0]} of {weights}. Get another copy."
        )
    return ImageTokenizer(model)


def tokenizer_files(folder: str | Path) -> tuple[Path, Path]:
    """The two files of a tokenizer: its config and its weights.

    Raises:
        DocumentError: there are no weights.
    """
    place = Path(folder)
    weights = next((place / name for name in _WEIGHTS if (place / name).is_file()), None)
    if weights is None:
        raise DocumentError(
            f"expected the weights of an image tokenizer ({_WEIGHTS[0]} or vae.ckpt) in {place}, got none."
        )
    return place / "config.json", weights


def tokenizer_bytes(folder: str | Path) -> int:
    """Bytes of a tokenizer's weights as they are loaded, in float32, from headers.

    Raises:
        DocumentError: files that are missing or cannot be read.
    """
    headers = open_checkpoint(tokenizer_files(folder)[1]).headers
    return 4 * sum(math.prod(header.shape) for name, header in headers.items() if not name.startswith("loss."))


def _read_config(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > 1 << 20:
            raise DocumentError(f"expected a config of at most 1 MiB, got {path}.")
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DocumentError(f"cannot read the tokenizer's config {path}: {error.strerror}. Check the folder.") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, DocumentError):
            raise
        raise DocumentError(f"expected a JSON object, got {path}, which is not JSON.") from None
    if not isinstance(config, dict):
        raise DocumentError(f"expected a JSON object, got {path}.")
    return config


def _require_sizes(config: dict[str, Any], path: Path) -> None:
    """Refuse what would take diffusers for ever to build, even without memory."""
    counts = [config.get("layers_per_block"), *(len(value) for value in config.values() if isinstance(value, list))]
    sizes = [part for value in config.values() for part in (value if isinstance(value, list) else [value])]
    for most, numbers in ((_DEEPEST, counts), (_LARGEST, sizes)):
        for number in numbers:
            if isinstance(number, int | float) and not number <= most:
                raise DocumentError(
                    f"expected sizes up to {_LARGEST} and at most {_DEEPEST} layers, got {path} with {shown(number)}."
                )
