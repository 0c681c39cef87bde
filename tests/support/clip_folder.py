"""A tiny CLIP as a hub has it: random weights of transformers' own class, a tokenizer, rules for pictures."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests.support.image_folders import tokenizer  # noqa: E402

__all__ = ["write_clip"]


def write_clip(folder: Path, seed: int = 4) -> Path:
    """The folder of a CLIP for pictures of 16 x 16 pixels and texts of at most 12 characters."""
    t = transformers
    texts = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "vocab_size": 256, "max_position_embeddings": 12, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0,
    }  # fmt: skip
    pictures = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 16, "patch_size": 8,
    }  # fmt: skip
    torch.manual_seed(seed)
    config = t.CLIPConfig(text_config=texts, vision_config=pictures, projection_dim=8)
    t.CLIPModel(config).save_pretrained(folder)
    tokenizer({"<pad>": 0, "<bos>": 1, "<eos>": 2}, adds="<bos>", eos_token="<eos>", pad_token="<pad>").save_pretrained(
        folder
    )
    kind = getattr(t, "CLIPImageProcessorPil", t.CLIPImageProcessor)
    kind(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}).save_pretrained(folder)
    return folder
