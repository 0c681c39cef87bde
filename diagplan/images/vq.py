"""Image decoders of transformers' own classes, loaded alone from a model's folder, and what they give as pixels."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.images.folder import ModelFolder
from diagplan.planner.arguments import is_file
from diagplan.planner.errors import DocumentError
from diagplan.planner.shown import shown
from diagplan.schemas.json_objects import read_json_object

__all__ = ["Decoder", "as_pixels", "image_statistics", "load_vq", "on_device", "require_vq"]

#: Ids int64 [B, rows, cols] of a grid, as a model chooses them, to pictures uint8 [B, height, width, 3].
Decoder = Callable[[NDArray[np.int64]], NDArray[np.uint8]]

#: What stands before the names of a decoder's tensors, wherever a checkpoint keeps it.
_PREFIX = "vqmodel."


def load_vq(folder: ModelFolder, kind: Any, config: Any, device: str) -> Any:
    """The image tokenizer of a model's folder, in float32; no other tensor of the folder is read.

    Args:
        folder: with the weights of the whole model.
        kind: the class of the tokenizer in transformers.
        config: the class of the whole model's configuration.
        device: where it runs.

    Raises:
        DocumentError: the weights lack it, or are of another one.
    """
    import torch

    checkpoint, names = _tensors(folder)
    try:
        sizes = config.from_dict(dict(folder.config)).vq_config
        vq = kind(sizes)
    except Exception as error:  # whatever sizes that fit nothing make the library raise
        raise DocumentError(
            f"expected vq_config in {folder.model / 'config.json'} to describe an image decoder, got "
            f"{type(error).__name__}: {' '.join(str(error).split())[:200]}. Fetch the file again."
        ) from error
    wanted = {name: tuple(value.shape) for name, value in vq.state_dict().items()}
    wrong = [
        name for name, shape in wanted.items() if name not in names or checkpoint.headers[names[name]].shape != shape
    ]
    if wrong:
        raise DocumentError(
            f"expected the tensors of {kind.__name__} in {folder.model}, got {len(wrong)} missing or of another shape, "
            f"the first {shown(wrong[0])}. config.json and weights are of different models: fetch both again."
        )
    tensors = {name: checkpoint.read(names[name], dtype=_dtype(torch, vq, name)) for name in wanted}
    vq.load_state_dict(tensors, assign=True)
    return vq.to(device).eval().requires_grad_(False)


def require_vq(folder: ModelFolder) -> None:
    """Raise ``DocumentError`` unless a folder's weights hold an image decoder; reads headers alone."""
    _tensors(folder)


def _tensors(folder: ModelFolder) -> tuple[Any, dict[str, str]]:
    """The folder's checkpoint, and name in the image tokenizer -> name there."""
    from diagplan.adapters.weights import open_checkpoint

    checkpoint = open_checkpoint(folder.model)
    names = {name.rpartition(_PREFIX)[2]: name for name in checkpoint.headers if _PREFIX in name}
    if not any(name.startswith("decoder.") for name in names):
        raise DocumentError(
            f"expected the image decoder's tensors ({_PREFIX}decoder.*) in {folder.model}, got none. These weights are "
            "of the language model alone: fetch the whole checkpoint, or write tokens alone."
        )
    return checkpoint, names


def _dtype(torch: Any, vq: Any, name: str) -> Any:
    """Float32 of weights; a count keeps its own dtype."""
    own = vq.state_dict()[name].dtype
    return torch.float32 if own.is_floating_point else own


def on_device(ids: NDArray[np.int64], device: str) -> Any:
    """Ids as a tensor, int64."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(ids)).to(device)


def as_pixels(values: Any, *, mean: float = 0.5, std: float = 0.5) -> NDArray[np.uint8]:
    """Pixels uint8 [B, height, width, 3] of a decoder's output [B, 3, height, width], about -1 to 1.

    ``(values x std + mean) x 255``, cut to 0 and 255, its fraction dropped, as the releases do.
    """
    levels = ((values.float() * std + mean) * 255).clamp(0, 255)
    whole = levels.permute(0, 2, 3, 1).contiguous().byte()
    array: NDArray[np.uint8] = whole.cpu().numpy()
    return array


def image_statistics(folder: ModelFolder, usual: float) -> tuple[float, float]:
    """Mean and deviation of preprocessor_config.json, one for all channels; ``usual`` where there is no such file.

    Raises:
        DocumentError: values that differ by channel, or that are none.
    """
    path = folder.tokenizer / "preprocessor_config.json"
    if not is_file(path):
        return usual, usual
    parts = read_json_object(path)
    pair = []
    for name in ("image_mean", "image_std"):
        values = parts.get(name, [usual] * 3)
        if not isinstance(values, list) or len(values) != 3 or not all(isinstance(v, int | float) for v in values):
            raise DocumentError(f"expected three numbers {name} in {path}, got {shown(values)}. Fetch it again.")
        if len(set(values)) != 1:
            raise DocumentError(
                f"expected one {name} for all channels in {path}, got {shown(values)}: those of CLIP, which this "
                "family's pictures do not have. Fetch the file of this model."
            )
        pair.append(float(values[0]))
    return pair[0], pair[1]
