"""LlamaGen's sizes: the published ones, and what does not fit together."""

import math
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("torch")

from diagplan.adapters.llamagen_config import CONFIGS, LlamaGenConfig
from diagplan.planner.errors import SpecError
from tests.support.llamagen import CLASSES, TEXTS


@pytest.mark.parametrize(
    ("name", "millions", "mlp"),
    [("B", 111, 2048), ("L", 343, 2816), ("XL", 775, 3584), ("XXL", 1411, 4096), ("3B", 3096, 8704)],
)
def test_published_sizes(name: str, millions: int, mlp: int) -> None:
    """The release counts 111M, 343M, 775M, 1.4B and 3.1B parameters."""
    config = CONFIGS[name]
    assert config.mlp == mlp
    assert sum(math.prod(shape) for shape in config.shapes().values()) / 1e6 == pytest.approx(millions, abs=1)
    assert (config.input_vocab_size, config.lead, config.positions) == (17385, 1, 1025)
    assert config.head_size % 4 == 0


def test_a_text_leads_with_120_embeddings() -> None:
    config = CONFIGS["XL-t2i"]
    assert (config.lead, config.positions, config.input_vocab_size) == (120, 1144, 16384)
    assert config.shapes()["cls_embedding.cap_proj.fc1.weight"] == (1280, 2048)


def test_bytes() -> None:
    total = sum(math.prod(shape) for shape in CLASSES.shapes().values())
    layers = CLASSES.n_layer * (4 * 32 * 32 + 3 * 32 * CLASSES.mlp)
    assert CLASSES.weight_bytes(2) == 2 * total
    assert CLASSES.weight_bytes(4, "int8", packed=True, text_tokens=9) == 4 * (total - layers) + layers
    assert (CLASSES.widths.head, CLASSES.widths.mlp, len(CLASSES.cache_shapes)) == (16, 2 * CLASSES.mlp, 4)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "i2i"}, r"expected model_type to be 'c2i' or 't2i', got model_type='i2i'\."),
        ({"n_head": 5}, "expected heads whose width is a multiple of 4.* got dim=32 and n_head=5"),
        ({"n_head": 16}, "got dim=32 and n_head=16"),
        ({"dim": 0}, "expected dim >= 1"),
        ({"norm_eps": math.nan}, "expected norm_eps to be a number above 0, got norm_eps=nan"),
        ({"rope_base": 10**400}, "expected rope_base to be a number above 0, got rope_base="),
        ({"rope_base": True}, "expected rope_base to be a number above 0, got rope_base=True"),
        ({"cls_token_num": 2}, "expected cls_token_num=1 with model_type='c2i', got 2"),
        ({"largest_side": 257}, "expected largest_side <= 256, got largest_side=257"),
        ({"num_classes": "many"}, "expected num_classes to be an integer"),
    ],
)
def test_sizes_that_do_not_fit(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=words):
        replace(CLASSES, **changes)


def test_lengths_of_conditions() -> None:
    assert LlamaGenConfig(n_layer=1, n_head=1, dim=4, model_type="t2i").cls_token_num == 120
    assert TEXTS.lead == 7
