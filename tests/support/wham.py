"""The golden data of WHAM: its transformer's and its image tokenizer's, and a model of the weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.wham import Wham, WhamConfig  # noqa: E402

GOLDEN = Path(__file__).parents[1] / "golden"
META: dict[str, Any] = json.loads((GOLDEN / "wham_gpt_v1_bias.json").read_text())
DATA = dict(np.load(GOLDEN / "wham_gpt_v1_bias.npz"))
PREFIX = "w/predictor.gpt_model."
#: The golden weights by the names of ``WhamConfig.shapes``.
WEIGHTS = {name.removeprefix(PREFIX): value for name, value in DATA.items() if name.startswith(PREFIX)}
CONFIG = WhamConfig(
    n_layer=2, n_head=4, n_embd=64, seq_len=4, rows=3, cols=4, image_codes=32, buttons=2, sticks=2
)  # fmt: skip
STEP = CONFIG.frame_tokens
#: The image tokenizer's.
TOKENIZER_SPEC: dict[str, Any] = json.loads((GOLDEN / "wham_vitvqgan.json").read_text())
TOKENIZER_DATA = dict(np.load(GOLDEN / "wham_vitvqgan.npz"))
FRAMES = np.ascontiguousarray(TOKENIZER_DATA["image_u8"].transpose(0, 2, 3, 1))
TOKENS = TOKENIZER_DATA["indices"].reshape(2, 3, 4)


def golden_model(**options: Any) -> Wham:
    return Wham(CONFIG, {name: torch.from_numpy(value.copy()) for name, value in WEIGHTS.items()}, **options)


def causal_logits(model: Wham, ids: np.ndarray) -> np.ndarray:
    """Logits of one causal pass over ids [B, n]."""
    slots = torch.arange(ids.shape[1])
    mask = torch.ones((len(slots), len(slots)), dtype=torch.bool).tril()
    with torch.inference_mode():
        logits = model.forward(torch.from_numpy(ids), slots, slots, mask, model.new_cache(len(ids), len(slots)))
    return np.asarray(logits.numpy())
