"""Cosmos' video tokenizer DV8x16x16: 33 frames of 640 x 1024 pixels to 5 x 40 x 64 tokens and back.

Source: cosmos-predict1, autoregressive/tokenizer; the networks are TorchScript files, ``encoder.jit`` and
``decoder.jit``. A token is the number of a code of finite scalar quantisation (FSQ), six digits of mixed radix, the
first channel fastest. TorchScript is a program: run files from a place you trust.
"""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diagplan.planner.arguments import is_file
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.shown import shown

__all__ = ["CODES", "LEVELS", "CosmosTokenizer", "fsq_codes", "fsq_indices", "load_cosmos_tokenizer"]

#: Values of each channel of a code.
LEVELS = (8, 8, 8, 5, 5, 5)
#: How many codes there are: 64,000.
CODES = math.prod(LEVELS)
#: The tokenizer's release.
REPOSITORY = "nvidia/Cosmos-Tokenize1-DV8x16x16-720p"
_FRAMES, _SIDE = 8, 16
_PROMPTS = {1: 1, 9: 2}


def fsq_codes(indices: Tensor) -> Tensor:
    """The codes of token ids: integers [...] from 0 to 63,999 -> float32 [..., 6], quarters and halves in [-1, 1]."""
    levels = torch.tensor(LEVELS, device=indices.device)
    half = levels // 2
    digits = indices.long()[..., None] // _basis(indices.device) % levels
    return (digits - half) / half


def fsq_indices(codes: Tensor) -> Tensor:
    """The token ids of codes: float [..., 6] -> int64 [...]. Exact for codes in bfloat16 too."""
    half = torch.tensor(LEVELS, device=codes.device) // 2
    digits = (codes.float() * half).round().long() + half
    return (digits * _basis(codes.device)).sum(-1)


def _basis(device: torch.device) -> Tensor:
    """1, 8, 64, 512, 2560, 12800."""
    return torch.tensor([math.prod(LEVELS[:i]) for i in range(len(LEVELS))], device=device)


class CosmosTokenizer:
    """Clips to tokens and back; a token stands for 16 x 16 pixels of 8 frames, in the first latent frame of one.

    Args:
        encoder: takes [1, 3, frames, height, width] in [-1, 1], returns (indices [1, t, h, w], codes [1, 6, t, h, w],
            ...).
        decoder: takes indices, returns the pixels.
        latent_shape: t, h, w of a clip.
    """

    def __init__(self, encoder: Any, decoder: Any, *, latent_shape: tuple[int, int, int] = (5, 40, 64)) -> None:
        self.encoder, self.decoder = encoder.eval(), decoder.eval()
        self.latent_shape = latent_shape
        self.codes = CODES
        frames, rows, cols = latent_shape
        #: Frames of pixels that a frame of tokens stands for, behind the first one.
        self.step = _FRAMES
        #: Frames that a clip may begin with -> their frames of tokens.
        self.prompts = {count: latents for count, latents in _PROMPTS.items() if latents < frames}
        #: Frames, height and width of a clip.
        self.clip = (1 + (frames - 1) * _FRAMES, rows * _SIDE, cols * _SIDE)
        first = next((p for p in self.encoder.parameters() if p.is_floating_point()), None)
        self.device = torch.device("cpu") if first is None else first.device
        self._dtype = torch.bfloat16 if first is None else first.dtype

    def encode(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Tokens int64 [t, h, w] of a whole clip, uint8 [frames, height, width, 3].

        Raises:
            SpecError: frames of another shape or dtype; ``diagplan.video.frames.fit`` cuts them to size.
            DocumentError: an encoder that is not DV8x16x16's.
        """
        self._require_frames(frames, self.clip[0])
        with torch.inference_mode():
            codes = _run(self.encoder, self._pixels(frames), "encoder.jit")
            if not isinstance(codes, tuple) or len(codes) < 2 or not all(isinstance(one, Tensor) for one in codes[:2]):
                raise DocumentError(_expected("encoder.jit", "indices and codes", type(codes).__name__))
            indices, codes = codes[:2]
            want = ((1, *self.latent_shape), (1, len(LEVELS), *self.latent_shape))
            if (tuple(indices.shape), tuple(codes.shape)) != want or indices.is_floating_point():
                got = f"{indices.dtype} {list(indices.shape)} and {list(codes.shape)}"
                raise DocumentError(
                    _expected("encoder.jit", f"integers {list(want[0])} and codes {list(want[1])}", got)
                )
            recomputed = fsq_indices(codes.movedim(1, -1))
            if not torch.equal(recomputed, indices.long()) or not 0 <= int(indices.min()) <= int(indices.max()) < CODES:
                raise DocumentError(
                    _expected("encoder.jit", f"the indices of its codes, levels {list(LEVELS)}", "others")
                )
        return np.asarray(indices[0].long().cpu().numpy())

    def encode_prompt(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Tokens of the frames that a video begins with: 1 frame gives int64 [1, h, w], 9 frames give [2, h, w].

        As in the release the clip is filled up with copies of the last frame, encoded whole, and the rest dropped.

        Raises:
            SpecError: another number of frames, or frames of another shape or dtype.
            DocumentError: an encoder that is not DV8x16x16's.
        """
        if frames.ndim != 4 or len(frames) not in self.prompts:
            raise SpecError(
                f"expected {' or '.join(map(str, self.prompts))} frames to begin with, got {list(frames.shape)}. "
                "Give the first frame, or the last 9."
            )
        self._require_frames(frames, len(frames))
        filler = np.repeat(frames[-1:], self.clip[0] - len(frames), axis=0)
        return self.encode(np.concatenate([frames, filler]))[: self.prompts[len(frames)]]

    def decode(self, tokens: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """A clip uint8 [frames, height, width, 3] of tokens [t, h, w].

        Raises:
            SpecError: tokens of another shape, or outside the codes.
            DocumentError: a decoder that is not DV8x16x16's.
        """
        if tokens.shape != self.latent_shape or not np.issubdtype(tokens.dtype, np.integer):
            raise SpecError(
                f"expected integer tokens {list(self.latent_shape)}, got {tokens.dtype} {list(tokens.shape)}."
            )
        if tokens.min() < 0 or tokens.max() >= CODES:
            raise SpecError(f"expected tokens from 0 to {CODES - 1}, got {tokens.min()} to {tokens.max()}.")
        ids = torch.from_numpy(np.ascontiguousarray(tokens, dtype=np.int32))[None].to(self.device)
        with torch.inference_mode():
            pixels = _run(self.decoder, ids, "decoder.jit")
            want = (1, 3, *self.clip)
            if not isinstance(pixels, Tensor) or tuple(pixels.shape) != want:
                got = list(pixels.shape) if isinstance(pixels, Tensor) else type(pixels).__name__
                raise DocumentError(_expected("decoder.jit", f"pixels {list(want)}", f"{got}"))
            if not bool(torch.isfinite(pixels).all()):
                raise DocumentError(_expected("decoder.jit", "finite pixels", "NaN or infinite ones"))
            shown = pixels[0].to(torch.float32, copy=True).mul_(0.5).add_(0.5).clamp_(0, 1)
            scaled = shown.mul_(255).round_().to(torch.uint8).permute(1, 2, 3, 0)
        return np.ascontiguousarray(scaled.cpu().numpy())

    def _pixels(self, frames: NDArray[np.uint8]) -> Tensor:
        """What the encoder takes: [1, 3, frames, height, width] in [-1, 1]."""
        moved = torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)[None].to(self.device)
        return (moved.float() / 127.5 - 1).to(self._dtype)

    def _require_frames(self, frames: NDArray[np.uint8], count: int) -> None:
        want = (count, *self.clip[1:], 3)
        if frames.shape != want or frames.dtype != np.uint8:
            raise SpecError(
                f"expected frames uint8 {list(want)}, got {frames.dtype} {list(frames.shape)}. "
                "diagplan.video.frames.fit scales and cuts a frame to size."
            )


def load_cosmos_tokenizer(
    folder: str | Path, *, latent_shape: tuple[int, int, int] = (5, 40, 64), device: str = "cpu"
) -> CosmosTokenizer:
    """Load a tokenizer from a folder with ``encoder.jit`` and ``decoder.jit``. Computes in the dtype of the files.

    Args:
        folder: where the two files lie.
        latent_shape: t, h, w of a clip, for another size than the release's.
        device: ``"cpu"``, ``"cuda"``, ...

    Raises:
        DocumentError: a file is missing, or is no TorchScript.
        SpecError: a latent shape that is none.
    """
    if min(latent_shape) < 1:
        raise SpecError(f"expected latent_shape as (frames, rows, columns), got {shown(latent_shape)}.")
    place = Path(folder)
    encoder, decoder = (_load(place / name, device) for name in ("encoder.jit", "decoder.jit"))
    return CosmosTokenizer(encoder, decoder, latent_shape=latent_shape)


def _load(path: Path, device: str) -> Any:
    if not is_file(path):
        raise DocumentError(
            f"expected the video tokenizer's {path.name}, got no file {path}. NVIDIA publishes it on Hugging Face, in "
            f"{REPOSITORY}. Fetch it, or check the folder."
        )
    try:
        with warnings.catch_warnings():
            # Deprecated by torch, and the form in which the tokenizer is published.
            warnings.simplefilter("ignore", DeprecationWarning)
            return torch.jit.load(str(path), map_location=device)  # type: ignore[no-untyped-call]
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise DocumentError(
            f"expected a TorchScript file, got {path}, which cannot be read ({reason}). "
            f"Fetch it again from {REPOSITORY}."
        ) from error


def _run(network: Any, given: Tensor, name: str) -> Any:
    try:
        return network(given)
    except Exception as error:
        reason = " ".join(str(error).split())[-200:]
        raise DocumentError(
            _expected(name, f"to take {given.dtype} {list(given.shape)}", f"an error ({reason})")
        ) from error


def _expected(name: str, wanted: str, got: str) -> str:
    return f"expected {name} of DV8x16x16: {wanted}; got {got}. Fetch it from {REPOSITORY}, or check the latent shape."
