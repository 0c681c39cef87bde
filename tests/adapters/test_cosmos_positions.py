"""Cosmos' position tables: the reference's own, and by the formula."""

import json
import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.cosmos import CONFIGS  # noqa: E402
from diagplan.adapters.cosmos_positions import FrequencyRescale, absolute_table, rotary_tables  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from tests.support.cosmos_golden import golden  # noqa: E402

CASES = pytest.mark.parametrize("name", ["a", "b"])


@CASES
def test_position_tables_are_the_references(name: str) -> None:
    case = golden(name)
    model, rows = case.model(), case.config.positions
    np.testing.assert_allclose(model.cos.numpy(), case.data["ref/rope_cos"][:rows], atol=1e-6)
    np.testing.assert_allclose(model.sin.numpy(), case.data["ref/rope_sin"][:rows], atol=1e-6)
    if model.absolute is None:
        assert "ref/abs_pos_emb" not in case.data
    else:
        np.testing.assert_array_equal(model.absolute.float().numpy(), case.data["ref/abs_pos_emb"][:rows])


def test_the_absolute_table_is_rounded_even_in_float32() -> None:
    case = golden("b")
    assert case.model().absolute is not None
    assert case.model().absolute.dtype == torch.bfloat16  # type: ignore[union-attr]


def test_rescaled_frequencies_are_those_of_12b_and_13b() -> None:
    frames, rows = FrequencyRescale(), 40
    time = 500_000.0 ** (-torch.arange(22) / 22)
    torch.testing.assert_close(frames(time, 3), time / 2)
    space = frames(500_000.0 ** (-torch.arange(21) / 21), rows)
    torch.testing.assert_close(space[:5], torch.tensor([1.0, 0.4825, 0.1827, 0.0767, 0.0411]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["cosmos-4b", "cosmos-13b-v2w"])
def test_rotary_tables_by_the_formula(name: str) -> None:
    """Cell by cell in plain Python; width takes the height's length."""
    config = CONFIGS[name]
    cos, sin = rotary_tables((3, 2, 4), 128, 500_000.0, rescale=config.rescale, lead=config.lead)

    def frequency(j: int, width: int, length: int) -> float:
        plain = math.pow(500_000, -2 * j / width)
        if config.rescale is None:
            return plain
        low, high = 2 * math.pi / length, 8 * math.pi / length
        kept = min(1.0, max(0.0, (plain - low) / (high - low)))
        return plain * ((1 - kept) / 2 + kept)

    for t, h, w in np.ndindex(3, 2, 4):
        angles = [t * frequency(j, 44, 3) for j in range(22)]
        angles += [at * frequency(j, 42, 40) for at in (h, w) for j in range(21)]
        row = config.lead + (t * 2 + h) * 4 + w
        np.testing.assert_allclose(cos[row], np.cos(angles * 2), atol=1e-6)
        np.testing.assert_allclose(sin[row], np.sin(angles * 2), atol=1e-6)


def test_tables_follow_the_grid() -> None:
    cos, sin = rotary_tables((2, 3, 4), 16, 500_000.0, lead=1)
    assert cos.shape == (25, 16)
    assert (cos[0] == 1).all()
    assert (sin[0] == 0).all()
    assert sin[1].equal(sin[0])  # begin-of-video and the first cell turn alike
    # 4 temporal, 2 and 2 spatial frequencies, twice; cell (1, 2, 3) is the last.
    first = torch.tensor([1.0, 2.0, 3.0]).sin()
    torch.testing.assert_close(sin[24][[0, 4, 6, 8, 12, 14]], first.repeat(2))
    table = absolute_table((2, 3, 4), 12, lead=1).float()
    assert (table[0] == 0).all()
    torch.testing.assert_close(table[1], torch.tensor([0.0, 0.0, 1.0, 1.0] * 3))


@pytest.mark.parametrize(
    "change",
    [
        {"scale": 0}, {"scale": 10**400}, {"frames": -1}, {"beta_fast": math.nan}, {"beta_slow": 4.0},
        {"scale": json.loads("[" * 900 + "]" * 900)},
    ],
)  # fmt: skip
def test_rescales_that_are_none(change: dict[str, Any]) -> None:
    with pytest.raises(SpecError, match=r"expected (positive numbers|beta_fast > beta_slow)"):
        FrequencyRescale(**change)
