"""Files in the forms of a MineWorld release, at small widths."""

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diagplan.adapters.image_tokenizer import vq_class  # noqa: E402
from diagplan.adapters.mc_ar import McArConfig, random_weights  # noqa: E402
from tests.support.checkpoints import write_torch  # noqa: E402

__all__ = ["write_release"]


def write_release(tmp_path: Path) -> Path:
    """``tiny.ckpt``, ``config.json``, the tokenizer ``vae`` and ``scene.jsonl``, two actions as VPT records them."""
    config = McArConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        vocab_size=8262, max_position_embeddings=3 * 347, image_vocab=8192,
    )  # fmt: skip
    weights = {f"transformer.{name}": tensor for name, tensor in random_weights(config).items()}
    write_torch(weights, tmp_path / "tiny.ckpt")
    keys = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
            "vocab_size", "max_position_embeddings")  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({key: getattr(config, key) for key in keys}))
    torch.manual_seed(0)
    channels = [4] * 5
    model = vq_class()(
        block_out_channels=channels, down_block_types=["DownEncoderBlock2D"] * 5,
        up_block_types=["UpDecoderBlock2D"] * 5, latent_channels=4, num_vq_embeddings=8192, vq_embed_dim=64,
        norm_num_groups=2,
    )  # fmt: skip
    vae = tmp_path / "vae"
    vae.mkdir()
    said = {key: value for key, value in dict(model.config).items() if not key.startswith("_")}
    (vae / "config.json").write_text(json.dumps(said))
    torch.save(model.state_dict(), vae / "vae.ckpt")
    press = {"keyboard": {"keys": ["key.keyboard.w"]}, "mouse": {"dx": 0, "dy": 0, "buttons": []}}
    (tmp_path / "scene.jsonl").write_text(f"{json.dumps(press)}\n" * 2)
    return tmp_path
