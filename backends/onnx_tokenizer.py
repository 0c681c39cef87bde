"""An exported image tokenizer on ONNX Runtime: frames to tokens and back without torch."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.frame_tokenizer import FrameTokenizer
from diagplan.backends.onnx_files import read_about, read_exported
from diagplan.backends.onnx_runtime import open_session, require_signature, run
from diagplan.backends.threads import Threads
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.schemas.onnx_model import OnnxTokenizerDocument

__all__ = ["DECODER", "ENCODER", "OnnxImageTokenizer", "exported_tokenizer_bytes", "load_onnx_tokenizer"]

#: The files of an exported image tokenizer.
ENCODER, DECODER = "encoder.onnx", "decoder.onnx"


class OnnxImageTokenizer(FrameTokenizer):
    """Two sessions; frames of one size.

    Args:
        encoder, decoder: ``onnxruntime.InferenceSession``s.
        said: what the encoder's file says.
    """

    def __init__(self, encoder: Any, decoder: Any, document: OnnxTokenizerDocument) -> None:
        super().__init__(document.codes, document.factor)
        self.encoder, self.decoder = encoder, decoder
        self.rows, self.cols = document.rows, document.cols

    def codes_of(self, frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Tokens of a few frames."""
        self._require_size(frames.shape[1] // self.factor, frames.shape[2] // self.factor)
        tokens: NDArray[np.int64] = run(self.encoder.run, ["tokens"], {"frames": frames})[0]
        return tokens

    def pictures_of(self, tokens: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Pictures of a few frames of tokens."""
        self._require_size(tokens.shape[1], tokens.shape[2])
        pictures: NDArray[np.uint8] = run(self.decoder.run, ["frames"], {"tokens": tokens})[0]
        return pictures

    def _require_size(self, rows: int, cols: int) -> None:
        if (rows, cols) != (self.rows, self.cols):
            raise SpecError(
                f"expected frames of {self.rows} x {self.cols} tokens, for which this tokenizer was exported, got "
                f"{rows} x {cols}."
            )


def load_onnx_tokenizer(folder: str | Path, *, device: str = "cpu", threads: Threads = None) -> OnnxImageTokenizer:
    """Load an exported image tokenizer.

    Raises:
        DocumentError: files that are missing, broken, or of two tokenizers.
        SpecError: a device that ONNX Runtime cannot use here.
        MissingExtraError: onnx or onnxruntime is not installed.
    """
    halves = [read_exported(Path(folder) / name, OnnxTokenizerDocument) for name in (ENCODER, DECODER)]
    encoder, decoder = (half.document for half in halves)
    alike = [(document.codes, document.factor, document.rows, document.cols) for document in (encoder, decoder)]
    if (encoder.kind, decoder.kind) != ("encoder", "decoder") or alike[0] != alike[1]:
        raise DocumentError(f"expected the two halves of one tokenizer in {folder}, got others. Export them again.")
    first, second = (open_session(half.path, device=device, threads=threads) for half in halves)
    size = (encoder.rows * encoder.factor, encoder.cols * encoder.factor)
    frames: dict[str, tuple[str, list[int | None]]] = {"frames": ("uint8", [None, *size, 3])}
    tokens: dict[str, tuple[str, list[int | None]]] = {"tokens": ("int64", [None, encoder.rows, encoder.cols])}
    require_signature(first, halves[0].path, frames, tokens)
    require_signature(second, halves[1].path, tokens, frames)
    return OnnxImageTokenizer(first, second, encoder)


def exported_tokenizer_bytes(folder: str | Path) -> int:
    """Bytes of an exported tokenizer's weights, from its files' metadata.

    Raises:
        DocumentError: files that are missing or broken.
    """
    halves = (read_about(Path(folder) / name, OnnxTokenizerDocument) for name in (ENCODER, DECODER))
    return sum(half.document.weights_bytes for half in halves)
