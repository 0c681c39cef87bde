"""Sizes of models, small and large, whose loading is measured."""

import pytest

pytest.importorskip("torch")

from diagplan.adapters.cosmos import CosmosConfig
from diagplan.adapters.mc_ar import McArConfig

SMALL = McArConfig(
    hidden_size=64,
    intermediate_size=64,
    num_hidden_layers=1,
    num_attention_heads=8,
    num_key_value_heads=4,
    vocab_size=64,
    max_position_embeddings=64,
)
#: 207 MB in float32.
LARGE = McArConfig(
    hidden_size=512,
    intermediate_size=2048,
    num_hidden_layers=11,
    num_attention_heads=8,
    num_key_value_heads=4,
    vocab_size=8262,
    max_position_embeddings=512,
)


def cosmos_config(dim: int, layers: int) -> CosmosConfig:
    """With 512 and 9 about 200 MB in float32."""
    return CosmosConfig(
        dim=dim, n_layers=layers, n_heads=8, n_kv_heads=4, ffn_hidden_size=4 * dim, vocab_size=8000,
        video_latent_shape=(2, 2, 2), begin_of_video=True, absolute=True, context_dim=64,
    )  # fmt: skip
