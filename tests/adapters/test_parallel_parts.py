"""Which part of a model is a rank's: all of it once over the ranks, and heads that ranks cannot share."""

import re
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("torch")

from diagplan.adapters.cosmos_config import CONFIGS as COSMOS
from diagplan.adapters.mc_ar_config import CONFIGS as MC_AR
from diagplan.adapters.parallel_cuts import Part, cut_shapes
from diagplan.adapters.parallel_parts import cosmos_part, mc_ar_part, wham_part
from diagplan.adapters.wham_config import CONFIGS as WHAM
from diagplan.planner.errors import SpecError

PARTS: list[tuple[Callable[[Any, Any], Part], Any]] = [
    *((mc_ar_part, config) for config in MC_AR.values()),
    *((cosmos_part, config) for config in COSMOS.values()),
    *((wham_part, config) for config in WHAM.values()),
]


def ranks(rank: int, world: int) -> Any:
    return SimpleNamespace(rank=rank, world=world)


@pytest.mark.parametrize(("part", "config"), PARTS)
def test_ranks_have_every_row_and_column_once(part: Callable[[Any, Any], Part], config: Any) -> None:
    parts = [part(config, ranks(rank, 2)) for rank in range(2)]
    for name, shape in config.shapes().items():
        if name not in parts[0].cuts:
            assert len(shape) == 1 or "wpe" in name, name
            continue
        cuts = [one.cuts[name] for one in parts]
        held = sorted(at for cut in cuts for begin, end in cut.ranges for at in range(begin, end))
        assert held == list(range(shape[cuts[0].axis])), name
    assert sum(one.heads for one in parts) == config.widths.heads
    assert sum(one.kv_heads for one in parts) == config.widths.kv_heads
    assert sum(one.widths(config.widths).mlp for one in parts) == config.widths.mlp


@pytest.mark.parametrize(("part", "config"), PARTS)
def test_without_ranks_all_is_whole(part: Callable[[Any, Any], Part], config: Any) -> None:
    whole = part(config, None)
    assert not whole.cuts
    assert whole.cache_shapes(config.cache_shapes) == config.cache_shapes
    assert whole.widths(config.widths) == config.widths


def test_more_ranks_than_key_value_heads_share_them() -> None:
    config = MC_AR["300M_16f"]  # 16 heads, 4 of keys and values, 64 wide
    parts = [mc_ar_part(config, ranks(rank, 8)) for rank in range(8)]
    assert [part.heads for part in parts] == [2] * 8
    assert [part.kv_heads for part in parts] == [1] * 8
    name = "model.layers.3.self_attn.k_proj.weight"
    assert [part.cuts[name].ranges for part in parts] == [((64 * (i // 2), 64 * (i // 2) + 64),) for i in range(8)]
    shapes = cut_shapes(config.shapes(), parts[5].cuts)
    assert shapes["model.layers.0.self_attn.q_proj.weight"] == (128, 1024)
    assert shapes["model.layers.0.self_attn.o_proj.weight"] == (1024, 128)
    assert sum(cut_shapes(config.shapes(), part.cuts)["lm_head.weight"][0] for part in parts) == 8262


def test_queries_keys_and_values_of_wham_are_one_matrix() -> None:
    cut = wham_part(WHAM["wham-200m"], ranks(1, 4)).cuts["transformer.h.0.attn.c_attn.weight"]
    assert cut.ranges == ((256, 512), (1280, 1536), (2304, 2560))
    assert cut.shape((3072, 1024)) == (768, 1024)


@pytest.mark.parametrize(
    ("part", "config", "world", "message"),
    [
        (
            wham_part, WHAM["wham-1.6b"], 4,
            ("expected heads that 4 ranks can share, got 18 heads and 18 key-value heads. Each rank computes as many. "
            "Start 2 or 3 or 6 or 9 or 18 of them."),
        ),
        (cosmos_part, replace(COSMOS["cosmos-4b"], n_heads=12, n_kv_heads=6, head_dim=128), 4,
         "got 12 heads and 6 key-value heads. Each rank computes as many. Start 2 or 3 or 6 or 12 of them."),
        (mc_ar_part, replace(MC_AR["300M_16f"], num_attention_heads=1, num_key_value_heads=1), 2,
         "got 1 heads and 1 key-value heads. Each rank computes as many. Leave --tensor-parallel out."),
    ],
)  # fmt: skip
def test_heads_that_ranks_cannot_share(part: Any, config: Any, world: int, message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        part(config, ranks(0, world))
