"""Frechet Video Distance with a user's I3D network as a TorchScript file.

What is computed is what the StyleGAN-V authors showed to equal the original TensorFlow programme (their repository
universome/fvd-comparison): the 400 logits of an I3D trained on Kinetics-400, before the softmax. The file takes float
[B, 3, T, 224, 224] in [-1, 1] with ``rescale=False, resize=False, return_features=True``. Frames are scaled to
224 x 224, both sides independently, bilinear and without antialiasing, as that programme does.
"""

import hashlib
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.evaluation.frechet import frechet_distance
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.extras import missing_packages

__all__ = ["I3D", "MIN_FRAMES", "load_i3d", "video_distance"]

#: I3D halves time three times, rounding up, and then averages over 2: 9 frames are the fewest that leave 2.
MIN_FRAMES = 9
_SIDE = 224
_PUBLISHED = (
    "The file that papers use is i3d_torchscript.pt, linked by github.com/universome/fvd-comparison and mirrored as "
    "flateon/FVD-I3D-torchscript on Hugging Face"
)


class I3D:
    """An I3D network.

    Args:
        network: called as ``network(videos, rescale=False, resize=False, return_features=True)``.
        digest: SHA-256 of its file.
        device: where it computes.
    """

    def __init__(self, network: Callable[..., Any], digest: str, device: str = "cpu") -> None:
        self.network, self.digest, self.device = network, digest, device

    def features(self, videos: NDArray[np.uint8], *, batch: int = 4) -> NDArray[np.float64]:
        """Features [N, D] of videos uint8 [N, T, height, width, 3].

        Raises:
            SpecError: another shape, or fewer than ``MIN_FRAMES`` frames.
            DocumentError: a file that gives no features [B, D] of them.
        """
        import torch

        if videos.ndim != 5 or videos.shape[-1] != 3 or videos.dtype != np.uint8 or not len(videos):
            raise SpecError(f"expected videos uint8 [N, T, height, width, 3], got {videos.dtype} {videos.shape}.")
        if videos.shape[1] < MIN_FRAMES:
            raise SpecError(
                f"expected videos of at least {MIN_FRAMES} frames for the Frechet Video Distance, got "
                f"{videos.shape[1]}. I3D halves time three times. Take a model with a longer context."
            )
        parts = []
        with torch.inference_mode():
            for at in range(0, len(videos), batch):
                pixels = self.pixels(torch.from_numpy(videos[at : at + batch]).to(self.device))
                try:
                    features = self.network(pixels, rescale=False, resize=False, return_features=True)
                except (RuntimeError, TypeError) as error:
                    reason = " ".join(str(error).split())[-200:]
                    raise DocumentError(f"the I3D file cannot be run on videos ({reason}). {_PUBLISHED}.") from None
                if not isinstance(features, torch.Tensor) or features.ndim != 2 or len(features) != len(pixels):
                    raise DocumentError(
                        f"expected features [videos, width] from the I3D file, got others. {_PUBLISHED}."
                    )
                parts.append(features.double().cpu().numpy())
        return np.concatenate(parts)

    @staticmethod
    def pixels(videos: Any) -> Any:
        """What the network takes, float32 [B, 3, T, 224, 224] in [-1, 1], of uint8 [B, T, height, width, 3]."""
        from torch.nn.functional import interpolate

        b, t = videos.shape[:2]
        frames = videos.flatten(0, 1).permute(0, 3, 1, 2).float() / 127.5 - 1
        if frames.shape[2:] != (_SIDE, _SIDE):
            frames = interpolate(frames, size=(_SIDE, _SIDE), mode="bilinear", align_corners=False)
        return frames.view(b, t, 3, _SIDE, _SIDE).transpose(1, 2).contiguous()


def load_i3d(path: str | Path, *, device: str = "cpu") -> I3D:
    """Load an I3D network from a TorchScript file. Such a file is a program: take one that you trust.

    Raises:
        DocumentError: no such file, or none that torch can load.
        MissingExtraError: torch is not installed.
    """
    if not Path(path).is_file():
        raise DocumentError(f"weights needed: {path}. {_PUBLISHED}.")
    try:
        import torch
    except ImportError:
        raise missing_packages("I3D", ["torch"]) from None
    try:
        with Path(path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with (
            warnings.catch_warnings()
        ):  # torch 2.13 calls TorchScript deprecated; the published file is in no other form
            warnings.simplefilter("ignore", DeprecationWarning)
            network = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DocumentError(f"expected a TorchScript file of I3D, got {path} ({reason}). {_PUBLISHED}.") from None
    return I3D(network, digest, device)


def video_distance(i3d: I3D, videos: NDArray[np.uint8], others: NDArray[np.uint8], *, batch: int = 4) -> float:
    """The Frechet Video Distance of two sets of videos, uint8 [N, T, height, width, 3].

    Raises:
        SpecError, DocumentError: as ``I3D.features`` and ``frechet_distance``.
    """
    return frechet_distance(i3d.features(videos, batch=batch), i3d.features(others, batch=batch))
