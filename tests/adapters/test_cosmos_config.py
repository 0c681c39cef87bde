"""Cosmos' sizes: the released ones, ones that do not fit together, the given ids of a layout."""

import json
import math
import re
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import preset_layout  # noqa: E402
from diagplan.adapters.cosmos_config import CONFIGS, CosmosConfig, config_from_export  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from tests.support.cosmos import TINY, WORLD  # noqa: E402


@pytest.mark.parametrize(
    ("name", "total", "block", "rows", "positions"),
    [
        ("cosmos-4b", 4_014_088_192, 218_112_256, 64_000, 12_800),
        ("cosmos-5b-v2w", 4_584_845_312, 253_768_192, 64_064, 12_801),
        ("cosmos-12b", 11_560_975_360, 272_640_256, 64_000, 12_800),
        ("cosmos-13b-v2w", 13_323_125_760, 316_685_824, 64_064, 12_801),
    ],
)
def test_released_sizes(name: str, total: int, block: int, rows: int, positions: int) -> None:
    config = CONFIGS[name]
    shapes = config.shapes()
    assert sum(math.prod(shape) for shape in shapes.values()) == total
    assert sum(math.prod(shape) for key, shape in shapes.items() if key.startswith("layers.0.")) == block
    assert (config.embedding_rows, config.vocab_size, config.positions) == (rows, 64_000, positions)
    assert config.layout() == preset_layout("cosmos-video2world" if name.endswith("v2w") else "cosmos")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dim": 0}, "expected dim >= 1, got dim=0"),
        ({"n_layers": True}, "expected n_layers to be an integer"),
        ({"n_kv_heads": 3}, "expected key-value heads that divide the heads, got n_heads=4 and n_kv_heads=3"),
        ({"dim": 26}, "expected heads that divide the width, got dim=26 and n_heads=4. Give head_dim."),
        ({"head_dim": 5}, "expected an even head_dim for rotary positions, got head_dim=5"),
        ({"dim": 25, "head_dim": 6, "absolute": True}, "expected an even dim for absolute positions, got dim=25"),
        ({"video_latent_shape": (5, 40)}, "expected video_latent_shape as (frames, rows, columns), got (5, 40)"),
        ({"video_latent_shape": (5, 0, 64)}, "expected video_latent_shape >= 1"),
        ({"video_latent_shape": (1 << 20, 1 << 20, 1)}, "positions"),
        ({"norm_eps": 0.0}, "expected norm_eps to be a number above 0"),
        ({"rope_theta": math.inf}, "expected rope_theta to be a number above 0"),
        (
            {"rope_theta": 10**400},
            "expected rope_theta to be a number above 0, below 1e+30, got rope_theta=a number of 1329",
        ),
        ({"context_dim": 0}, "expected context_dim >= 1"),
    ],
)
def test_sizes_that_do_not_fit(change: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        replace(TINY, **change)


def test_given_tokens() -> None:
    prompt = np.arange(24).reshape(2, 3, 4)
    np.testing.assert_array_equal(WORLD.given(prompt), [[50, *range(24)]])
    np.testing.assert_array_equal(TINY.given(np.stack([prompt, prompt])), [[*range(24)]] * 2)
    for wrong in (prompt.reshape(2, 4, 3), prompt.astype(float), prompt[0]):
        with pytest.raises(SpecError, match=re.escape("expected prompt tokens int [F, 3, 4]")):
            TINY.given(wrong)


@pytest.mark.parametrize("config", [TINY, WORLD, *CONFIGS.values()], ids=lambda c: f"{c.dim}-{c.context_dim}")
def test_what_an_export_says_is_the_config(config: CosmosConfig) -> None:
    assert config_from_export(json.loads(json.dumps(asdict(config)))) == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dim": 0}, "expected dim >= 1, got dim=0"),
        ({"wings": 2}, "wings"),
        ({"rescale": {"beta_fast": 0.5}}, "expected beta_fast > beta_slow"),
        ({"rescale": {"wings": 2}}, "wings"),
        ({"video_latent_shape": [3, 4]}, "expected video_latent_shape as (frames, rows, columns)"),
        ({"video_latent_shape": "wide"}, "expected video_latent_shape as (frames, rows, columns)"),
    ],
    ids=str,
)
def test_exports_that_say_no_config(change: dict[str, Any], words: str) -> None:
    with pytest.raises(DocumentError, match="expected the sizes of a Cosmos model in the exported file") as caught:
        config_from_export(asdict(TINY) | change)
    assert words in str(caught.value)
