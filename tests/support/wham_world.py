"""A small WHAM as it is published, and a recording of its sample data's form."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
pytest.importorskip("av")

from diagplan.adapters.wham import WhamConfig, random_weights  # noqa: E402
from diagplan.adapters.wham_tokenizer import WhamTokenizerConfig  # noqa: E402
from tests.support.wham_files import write_lightning  # noqa: E402

__all__ = ["SIZE", "TINY", "VISION", "WhamFiles", "vision_weights", "wham_arguments", "write_wham_world"]

#: A grid of 3 x 4 tokens and a window of four frames.
TINY = WhamConfig(n_layer=1, n_head=16, n_embd=32, seq_len=4, rows=3, cols=4, image_codes=64)
VISION = WhamTokenizerConfig(
    rows=3, cols=4, width=32, encoder_layers=1, decoder_layers=1, code_dim=4, codes=64, head_size=16
)
#: At 10 pixels a token.
SIZE = (30, 40)
AXES = {"image_size_per_x_axis": SIZE[1], "image_size_per_y_axis": SIZE[0]}
#: A checkpoint and a recording.
WhamFiles = tuple[Path, Path]


def vision_weights() -> dict[str, Any]:
    """Of the image tokenizer, by their published names."""
    generator = torch.Generator().manual_seed(1)
    return {f"context_encoders.images.{n}": torch.randn(s, generator=generator) for n, s in VISION.shapes().items()}


def write_wham_world(folder: Path, monkeypatch: pytest.MonkeyPatch) -> WhamFiles:
    """A checkpoint as it is published, and a recording of the sample data's form: 12 frames, 12 actions."""
    weights = {f"predictor.gpt_model.{name}": w.clone() for name, w in random_weights(TINY).items()}
    checkpoint = write_lightning(folder / "tiny.ckpt", monkeypatch, weights | vision_weights(), **AXES)
    random = np.random.default_rng(0)
    actions = np.concatenate([random.integers(0, 2, (12, 12)), random.integers(0, 11, (12, 4))], axis=1)
    np.savez(
        folder / "play.npz",
        images=random.integers(0, 256, (12, 3, *SIZE)).astype(np.uint8),
        actions=actions.astype(np.float32),
    )
    return checkpoint, folder / "play.npz"


def wham_arguments(files: WhamFiles, out: Path, *more: object) -> list[object]:
    """Of ``diagplan generate``."""
    checkpoint, play = files
    given = ["generate", "--model", "wham", "--weights", checkpoint, "--video", play, "--actions", play, "-o", out]
    return [*given, *more]
