"""Files of small Cosmos worlds: two models, a tokenizer, a video, text features."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("safetensors")

from safetensors.torch import save_file  # noqa: E402

from diagplan import load_world  # noqa: E402
from diagplan.adapters.cosmos import random_weights  # noqa: E402
from diagplan.adapters.cosmos_files import read_cosmos_config  # noqa: E402
from diagplan.video.files import VideoWriter  # noqa: E402
from diagplan.worlds.clip_world import ClipWorld  # noqa: E402
from tests.support.cosmos_files import Decoder, Encoder, save  # noqa: E402

__all__ = ["RELEASE", "cosmos_arguments", "cosmos_world", "write_cosmos_world"]

#: 33 frames of 48 x 64 pixels; the release's codes.
SIZES = {"dim": 24, "n_layers": 1, "n_heads": 4, "n_kv_heads": 2, "head_dim": 8, "ffn_hidden_size": 32}
RELEASE = {**SIZES, "video_latent_shape": [5, 3, 4], "training_type": "video_to_video"}
TEXT = {"training_type": "text_to_video", "insert_cross_attn": True, "context_dim": 24, "apply_abs_pos_emb": True}


def write_cosmos_world(place: Path) -> Path:
    """``base`` and ``text`` models, a tokenizer, a video of 12 frames of another size, text features."""
    for name, keys in (("base", RELEASE), ("text", RELEASE | TEXT)):
        (place / f"{name}.json").write_text(json.dumps(keys))
        save_file(random_weights(read_cosmos_config(place / f"{name}.json")), place / f"{name}.safetensors")
    (place / "tokenizer").mkdir()
    save(Encoder(), place / "tokenizer" / "encoder.jit")
    save(Decoder(), place / "tokenizer" / "decoder.jit")
    random = np.random.default_rng(0)
    with VideoWriter(place / "video.mp4", fps=25) as writer:
        for _ in range(12):
            writer.add(np.repeat(np.repeat(random.integers(0, 256, (9, 10, 3)), 8, 0), 8, 1).astype(np.uint8))
    np.save(place / "text.npy", random.normal(size=(6, 24)).astype(np.float32))
    return place


def cosmos_arguments(files: Path, out: Path, *more: object, model: str = "base") -> list[object]:
    """Of ``diagplan generate``."""
    paths = ["--weights", files / f"{model}.safetensors", "--config", files / f"{model}.json"]
    video = ["--video", files / "video.mp4", "--tokenizer", files / "tokenizer", "-o", out]
    return ["generate", "--model", "cosmos", *paths, *video, *more]


def cosmos_world(files: Path, model: str = "base", **more: Any) -> ClipWorld:
    """The world of one of the models."""
    world = load_world(
        "cosmos", weights=files / f"{model}.safetensors", config=files / f"{model}.json",
        tokenizer=files / "tokenizer", **more,
    )  # fmt: skip
    assert isinstance(world, ClipWorld)
    return world
