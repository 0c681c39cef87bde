"""Tiny random models of transformers, one of each family: the library's own classes; ``generate`` is the oracle."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from diagplan import Raster  # noqa: E402

#: How a picture may lie in the ids of the tiny Llama.
RASTER = Raster(ids=(40, 80), rows=5, cols=6, between_rows=(3,))
#: Sizes of the text part of each.
TEXT: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "max_position_embeddings": 512, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
}  # fmt: skip
#: Codes of each tiny codebook.
CODES = 40
#: Ids of Emu3's text; the visual ids follow.
EMU3_FIRST, EMU3_EOL = 60, 3


def filled(model: Any, seed: int = 0, *, dtype: Any = None, scale: float = 0.5) -> Any:
    """Matrices drawn anew: smaller ones make models that repeat one token."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and "norm" not in name:
            parameter.data.normal_(0, scale, generator=generator)
    model.generation_config.eos_token_id = None
    return (model if dtype is None else model.to(dtype)).eval()


def janus(*, positions: int = 512, **options: Any) -> Any:
    t = transformers
    config = t.JanusConfig(
        text_config=t.LlamaConfig(**_text(positions), num_key_value_heads=4, vocab_size=100),
        vision_config=t.JanusVisionConfig(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=96, patch_size=16,
            projection_dim=32, num_image_tokens=36,
        ),
        vq_config=t.JanusVQVAEConfig(
            embed_dim=8, num_embeddings=50, latent_channels=16, base_channels=32, channel_multiplier=[1, 1],
            num_res_blocks=1, projection_dim=32, image_token_embed_dim=32,
        ),
        image_token_id=5,
    )  # fmt: skip
    model = filled(t.JanusForConditionalGeneration(config), **options)
    held = model.generation_config
    held.pad_token_id, held.bos_token_id, held.eos_token_id = 0, 1, 2
    held.generation_kwargs = {"boi_token_id": 3}
    return model


def emu3(*, positions: int = 512, **options: Any) -> Any:
    t = transformers
    names = {"<image>": 8, "<|extra_200|>": EMU3_EOL, "<|extra_201|>": 4, "<|image end|>": 5}
    names |= {f"<|visual token {code:06d}|>": EMU3_FIRST + code for code in range(CODES)}
    config = t.Emu3Config(
        text_config=t.Emu3TextConfig(
            **_text(positions), num_key_value_heads=2, vocab_size=EMU3_FIRST + CODES, attention_dropout=0.1
        ),
        vq_config=t.Emu3VQVAEConfig(
            codebook_size=CODES, embed_dim=4, latent_channels=4, base_channels=32, channel_multiplier=[1, 1],
            num_res_blocks=1, attn_resolutions=[], hidden_size=32,
        ),
        vocabulary_map=names,
    )  # fmt: skip
    return filled(t.Emu3ForConditionalGeneration(config), **options)


def glm_image(*, positions: int = 512, **options: Any) -> Any:
    t = transformers
    if not hasattr(t, "GlmImageConfig"):
        pytest.skip("GLM-Image needs transformers 5")
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    config = t.GlmImageConfig(
        text_config=t.GlmImageTextConfig(
            **_text(positions), num_key_value_heads=2, vocab_size=100, vision_vocab_size=48, rope_parameters=rope
        ),
        vision_config=t.GlmImageVisionConfig(
            depth=1, hidden_size=32, num_heads=2, image_size=64, patch_size=16, intermediate_size=32
        ),
        vq_config=t.GlmImageVQVAEConfig(embed_dim=8, num_embeddings=CODES, latent_channels=32),
        image_start_token_id=40,
        image_end_token_id=41,
        image_token_id=46,
    )
    return filled(t.GlmImageForConditionalGeneration(config), **options)


def chameleon(*, swin_norm: bool = False, positions: int = 512, **options: Any) -> Any:
    t = transformers
    letters = ["".join(chr(ord("A") + int(digit)) for digit in str(code)) for code in range(CODES)]
    names = {f"IMGIMG{name}Z": 4 + code for code, name in enumerate(letters)}
    config = t.ChameleonConfig(
        **_text(positions),
        num_key_value_heads=4,
        vocab_size=100,
        swin_norm=swin_norm,
        vq_config={
            "embed_dim": 8, "num_embeddings": CODES, "latent_channels": 8, "resolution": 16, "base_channels": 32,
            "channel_multiplier": [1, 1], "num_res_blocks": 1,
        },
        vocabulary_map=names | {"<image>": 50},
    )  # fmt: skip
    return filled(t.ChameleonForConditionalGeneration(config), **options)


def llama(*, kind: str = "Llama", positions: int = 512, sizes: dict[str, Any] | None = None, **options: Any) -> Any:
    held = _text(positions) | {"num_key_value_heads": 2, "vocab_size": 100} | (sizes or {})
    config = getattr(transformers, f"{kind}Config")(**held)
    return filled(getattr(transformers, f"{kind}ForCausalLM")(config), **options)


def _text(positions: int) -> dict[str, Any]:
    return TEXT | {"max_position_embeddings": positions}


#: Family -> its tiny model.
BUILDERS: dict[str, Callable[..., Any]] = {
    "janus-pro": janus,
    "emu3": emu3,
    "glm-image": glm_image,
    "chameleon": chameleon,
    "anole": chameleon,
    "raster-llama": llama,
}


def prompts(lengths: list[int], *, low: int = 6, high: int = 40, seed: int = 0, pad: int = 0) -> tuple[Any, Any]:
    """Prompts of these lengths, padded on the left: ids and mask, int64 [B, longest]."""
    draw, longest = np.random.default_rng(seed), max(lengths)
    ids, mask = np.full((len(lengths), longest), pad), np.zeros((len(lengths), longest), dtype=np.int64)
    for row, length in enumerate(lengths):
        ids[row, longest - length :] = draw.integers(low, high, length)
        mask[row, longest - length :] = 1
    return torch.from_numpy(ids), torch.from_numpy(mask)


def rows_of(rows: int, cols: int, tokens: Any, between: int) -> list[int]:
    """A picture's tokens with an id between its rows."""
    lines = np.asarray(tokens).reshape(rows, cols).tolist()
    return list(itertools.chain(*([*line, between] for line in lines)))[:-1]


def require_varied(tokens: Any, least: int = 8) -> None:
    """A model that repeats itself proves nothing."""
    assert len(np.unique(np.asarray(tokens))) >= least, np.unique(np.asarray(tokens))
