"""What tests that need a CUDA device share: the mark that skips them elsewhere, and a model of a real grid.

Their files are named ``test_<module>_cuda.py``; ``python -m bench.gpu --parts tests -o DIR`` runs them all.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Layout  # noqa: E402
from diagplan.adapters.mc_ar import McAr, McArConfig, random_weights  # noqa: E402

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

#: MineWorld's grid.
GRID = Layout(frames=2, rows=14, cols=24, prompt_frames=1, between_frames=11)
CONFIG = McArConfig(
    hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=120, image_vocab=100, max_position_embeddings=GRID.positions,
)  # fmt: skip


def grid_model(device: str = "cuda", *, dtype: Any = torch.float32) -> McAr:
    """A tiny MC-AR; large weights, so that no two logits are nearly equal."""
    weights = {name: 3 * weight if weight.ndim > 1 else weight for name, weight in random_weights(CONFIG).items()}
    return McAr(CONFIG, {name: weight.to(device, dtype) for name, weight in weights.items()}, portable=True)


def kernel_model() -> McAr:
    """A tiny MC-AR in bfloat16, of sizes that run in kernels of our own."""
    config = replace(CONFIG, hidden_size=128, intermediate_size=192)
    weights = {name: 2 * weight if weight.ndim > 1 else weight for name, weight in random_weights(config).items()}
    return McAr(config, {name: weight.to("cuda", torch.bfloat16) for name, weight in weights.items()})


def grid_ids(rows: int, *, layout: Layout = GRID) -> np.ndarray:
    """Ids of the given slots, int64 [rows, G]."""
    given = sum(end - start for start, end in layout.given_runs().tolist())
    return np.random.default_rng(0).integers(0, 100, (rows, given))
