"""A tiny model of each family, with random weights."""

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.cosmos import Cosmos, CosmosConfig  # noqa: E402
from diagplan.adapters.llamagen import LlamaGen  # noqa: E402
from diagplan.adapters.llamagen_config import LlamaGenConfig  # noqa: E402
from diagplan.adapters.mc_ar import McAr, McArConfig  # noqa: E402
from diagplan.adapters.wham import Wham, WhamConfig  # noqa: E402
from diagplan.examples.image_model import ImageModel  # noqa: E402

LLAMA = McArConfig(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=40, max_position_embeddings=64,
)  # fmt: skip
GPT = WhamConfig(n_layer=2, n_head=4, n_embd=32, seq_len=4, rows=3, cols=4, image_codes=33, buttons=2, sticks=2)
WORLD = CosmosConfig(
    dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_hidden_size=40, vocab_size=40, video_latent_shape=(2, 3, 4),
    begin_of_video=True, context_dim=12,
)  # fmt: skip
IMAGE = LlamaGenConfig(n_layer=2, n_head=2, dim=32, vocab_size=40, num_classes=7, multiple_of=16, largest_side=8)
#: Name -> the model in a dtype.
MODELS: dict[str, Callable[[Any], Any]] = {
    "example": lambda dtype: ImageModel.random(32, dtype=dtype),
    "mc-ar": lambda dtype: McAr.random(LLAMA, dtype=dtype),
    "cosmos": lambda dtype: Cosmos.random(WORLD, dtype=dtype).with_context(torch.ones(3, 12)),
    "wham": lambda dtype: Wham.random(GPT, dtype=dtype),
    "llamagen": lambda dtype: LlamaGen.random(IMAGE, dtype=dtype),
}
