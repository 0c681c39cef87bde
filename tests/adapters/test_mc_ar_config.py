"""The sizes of MC-AR: where they are found, and the bytes of a rank's part."""

from types import SimpleNamespace

import pytest

from diagplan.adapters.mc_ar_config import CONFIGS, McArConfig

SMALL = McArConfig(
    hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=10, max_position_embeddings=8,
)  # fmt: skip


def test_one_class_under_both_names() -> None:
    pytest.importorskip("torch")
    from diagplan.adapters import mc_ar

    assert (mc_ar.McArConfig, mc_ar.CONFIGS) == (McArConfig, CONFIGS)


def test_bytes_of_a_ranks_part() -> None:
    pytest.importorskip("torch")
    from diagplan.adapters.parallel_parts import mc_ar_part

    cuts = mc_ar_part(SMALL, SimpleNamespace(rank=1, world=2)).cuts
    whole, norms = SMALL.weight_bytes(4), 3 * 16 * 4
    assert SMALL.weight_bytes(4, cuts=cuts) == (whole - norms) // 2 + norms
