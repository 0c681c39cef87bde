"""MC-AR's 3D rotary positions: the formula, and what may change the logits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.mc_ar import McArConfig, rotary_tables  # noqa: E402
from diagplan.adapters.mc_ar_files import load_mc_ar, read_mc_ar_config  # noqa: E402
from tests.support.checkpoints import write_torch  # noqa: E402
from tests.support.mc_ar import GOLDEN, GOLDEN_JSON, causal_logits, release_weights, write_json  # noqa: E402
from tests.support.mineworld import DATA  # noqa: E402

THREE = replace(GOLDEN, rope="3d", head_dim=16, rows=3, cols=5, action_tokens=2)


def angles_by_the_formula(config: McArConfig) -> np.ndarray[Any, Any]:
    """Angles of the first half of the head, [positions, D / 2], one number at a time."""
    size = config.head_size
    space = 2 * (size // 6)
    angles = []
    for slot in range(config.max_position_embeddings):
        t, inner = divmod(slot, config.rows * config.cols + config.action_tokens)
        y, x = divmod(inner, config.cols)
        if inner >= config.rows * config.cols:
            y, x = config.rows, inner - config.rows * config.cols
        row = []
        for coordinate, part in ((t, size - 2 * space), (y, space), (x, space)):
            row += [coordinate / config.rope_theta ** (2 * i / part) for i in range(part // 2)]
        angles.append(row)
    return np.array(angles)


@pytest.mark.parametrize("head_dim", [8, 16, 22, 64])
def test_3d_tables_follow_the_formula(head_dim: int) -> None:
    config = replace(THREE, head_dim=head_dim)
    angles = angles_by_the_formula(config)
    assert angles.shape == (85, head_dim // 2)
    cos, sin = rotary_tables(config, torch.device("cpu"), torch.float64)
    np.testing.assert_allclose(cos.numpy(), np.cos(np.tile(angles, 2)), atol=1e-12)
    np.testing.assert_allclose(sin.numpy(), np.sin(np.tile(angles, 2)), atol=1e-12)


def test_3d_differs_from_1d_and_tells_coordinates_apart(tmp_path: Path) -> None:
    path = write_torch(release_weights(), tmp_path / "w.ckpt")
    keys = GOLDEN_JSON | {"rope": "3d", "rows": 3, "cols": 5, "action_tokens": 2}
    config = read_mc_ar_config(write_json(tmp_path, keys))
    assert config == THREE or config == replace(THREE, head_dim=None)
    model = load_mc_ar(path, config=config)
    flat = load_mc_ar(path, config=GOLDEN)
    ids = torch.from_numpy(DATA["causal/input_ids"])[None]
    three, one = causal_logits(model, ids), causal_logits(flat, ids)
    torch.testing.assert_close(three[:, 0], one[:, 0])  # slot 0 is turned by neither
    assert (three - one).abs().max() > 0.01
    distinct = torch.cat([model.cos, model.sin], dim=1).unique(dim=0)
    assert len(distinct) == config.max_position_embeddings


def test_3d_is_relative_in_each_coordinate() -> None:
    """What a query sees of a key depends on their differences in frame, row and column alone."""
    cos, sin = rotary_tables(THREE, torch.device("cpu"), torch.float64)
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 16, generator=generator, dtype=torch.float64)

    def turned(x: Any, slot: int) -> Any:
        half = torch.cat((-x[8:], x[:8]))
        return x * cos[slot] + half * sin[slot]

    def slot(t: int, y: int, x: int) -> int:
        return t * 17 + y * 5 + x

    def score(a: int, b: int) -> float:
        return float(turned(query, a) @ turned(key, b))

    near = score(slot(1, 1, 3), slot(0, 0, 1))
    assert score(slot(3, 2, 4), slot(2, 1, 2)) == pytest.approx(near)
    assert score(slot(1, 1, 3), slot(0, 0, 2)) != pytest.approx(near)
    # In 1D a neighbour across the end of a row is as near as one beside it; in 3D it is not.
    assert score(slot(0, 1, 0), slot(0, 0, 4)) != pytest.approx(score(slot(0, 1, 1), slot(0, 1, 0)))
