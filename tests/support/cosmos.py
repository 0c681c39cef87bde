"""Small Cosmos models of both kinds, and a text for two samples."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from diagplan.adapters.cosmos import CosmosConfig
from diagplan.adapters.cosmos_positions import FrequencyRescale

TINY = CosmosConfig(
    dim=24, n_layers=2, n_heads=4, n_kv_heads=2, ffn_hidden_size=20, vocab_size=50, video_latent_shape=(3, 3, 4)
)
WORLD = replace(TINY, head_dim=16, absolute=True, begin_of_video=True, context_dim=12, rescale=FrequencyRescale())
TEXT = np.random.default_rng(0).normal(size=(2, 5, 12))
