"""MC-AR's record: loading and opening through it."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from diagplan import LoadOptions  # noqa: E402
from diagplan.adapters.mc_ar import McArConfig, random_weights  # noqa: E402
from diagplan.adapters.mc_ar_family import FAMILY  # noqa: E402
from diagplan.adapters.weights import open_checkpoint  # noqa: E402
from tests.support.checkpoints import write_torch  # noqa: E402

CONFIG = McArConfig(
    hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
    vocab_size=40, max_position_embeddings=30, image_vocab=32,
)  # fmt: skip


def test_load_and_open_agree(tmp_path: Path) -> None:
    path = write_torch(random_weights(CONFIG), tmp_path / "w.ckpt")
    options = LoadOptions(config=CONFIG, dtype="float16")
    model = FAMILY.load(path, options)
    assert FAMILY.open is not None
    opened = FAMILY.open(path, options)
    assert (model.family, model.dtype) == (FAMILY.name, torch.float16)
    assert (opened.config, opened.vocab_size, opened.text_tokens) == (CONFIG, model.vocab_size, 0)
    assert opened.config.cache_shapes == model.cache_shapes
    assert FAMILY.testable(model) is model


def test_what_is_closest_to_a_checkpoint(tmp_path: Path) -> None:
    assert FAMILY.inspection is not None
    checkpoint = open_checkpoint(write_torch(random_weights(CONFIG), tmp_path / "w.ckpt"))
    ((names, comparison),) = FAMILY.inspection.closest(checkpoint)[0]
    assert names == "300M_16f"
    assert comparison.problems > 0
