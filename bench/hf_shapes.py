"""Models of transformers of published shapes with random weights, for benchmarks; made in seconds.

The library draws a billion normal numbers in a minute; here one block of them is laid down again and again.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
import transformers as t

__all__ = ["BOI", "BOS", "PAD", "SHAPES", "random_model"]

BOI, BOS, PAD = 3, 1, 0
_BLOCK = 1 << 20


def _janus_pro_1b(layers: int) -> Any:
    """The text core and heads of Janus-Pro-1B; its encoder and decoder of pictures are tiny, for no pass reads them."""
    text = t.LlamaConfig(
        hidden_size=2048, intermediate_size=5632, num_hidden_layers=layers, num_attention_heads=16,
        num_key_value_heads=16, vocab_size=102400, max_position_embeddings=16384,
    )  # fmt: skip
    vision = t.JanusVisionConfig(
        hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=384, patch_size=16,
        projection_dim=2048, num_image_tokens=576,
    )  # fmt: skip
    codes = t.JanusVQVAEConfig(
        embed_dim=8, num_embeddings=16384, latent_channels=16, base_channels=32, channel_multiplier=[1, 1],
        num_res_blocks=1, projection_dim=2048, image_token_embed_dim=2048,
    )  # fmt: skip
    model = t.JanusForConditionalGeneration(
        t.JanusConfig(text_config=text, vision_config=vision, vq_config=codes, image_token_id=5)
    )
    held: Any = model.generation_config
    held.pad_token_id, held.bos_token_id, held.eos_token_id = PAD, BOS, None
    held.generation_kwargs = {"boi_token_id": BOI}
    return model


def _emu3(layers: int) -> Any:
    """The text core and head of Emu3-Gen."""
    text = t.Emu3TextConfig(num_hidden_layers=layers)
    names = {"<image>": 8, "<|extra_200|>": 3} | {f"<|visual token {c:06d}|>": 151854 + c for c in range(32768)}
    codes = t.Emu3VQVAEConfig(
        codebook_size=32768, embed_dim=4, latent_channels=4, base_channels=32, channel_multiplier=[1, 1],
        num_res_blocks=1, attn_resolutions=[], hidden_size=32,
    )  # fmt: skip
    model = t.Emu3ForConditionalGeneration(t.Emu3Config(text_config=text, vq_config=codes, vocabulary_map=names))
    model.generation_config.eos_token_id = None
    return model


#: Name -> a function of the number of layers, and that of the published model.
SHAPES: dict[str, tuple[Callable[[int], Any], int]] = {"janus-pro-1b": (_janus_pro_1b, 24), "emu3": (_emu3, 32)}


def random_model(shape: str, layers: int, dtype: torch.dtype) -> Any:
    """A model of a shape of ``SHAPES``."""
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with _undrawn():
            model = SHAPES[shape][0](layers).eval()
    finally:
        torch.set_default_dtype(default)
    block = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(0))
    for name, parameter in model.named_parameters():
        flat = parameter.data.view(-1)
        if "norm" in name or parameter.dim() < 2:
            flat.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
            continue
        noise = (block * parameter.shape[-1] ** -0.5).to(dtype)
        for at in range(0, len(flat), _BLOCK):
            part = flat[at : at + _BLOCK]
            part.copy_(noise[: len(part)])
    return model


@contextmanager
def _undrawn() -> Iterator[None]:
    """Nothing is drawn while a model is made."""

    def as_it_is(self: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return self

    with ExitStack() as held:
        for name in ("normal_", "uniform_"):
            held.enter_context(mock.patch.object(torch.Tensor, name, as_it_is))
        yield
