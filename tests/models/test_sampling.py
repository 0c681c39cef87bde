"""WHAM's own way of sampling: its golden filters, its floor of the temperature, its defaults."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagplan.backends.sampling import Greedy, Sample, Sampler, keys_for, numpy_choose
from diagplan.models.sampling import sampler_for
from diagplan.planner.errors import SpecError

DATA = dict(np.load(Path(__file__).parents[1] / "golden" / "wham_sampling.npz"))
DRAWS = 60_000


def drawn(logits: np.ndarray, sampler: Sampler) -> np.ndarray:
    """How often each id is chosen, as shares [V]."""
    share = np.zeros(len(logits))
    for at in range(0, DRAWS, 10_000):
        keys = keys_for(np.array([3]), np.array([0]), np.arange(at, at + 10_000))
        chosen = numpy_choose(np.broadcast_to(logits, (1, 10_000, len(logits))), sampler, keys, (0, len(logits)))
        share += np.bincount(chosen[0], minlength=len(logits)) / DRAWS
    return share


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("top_k5", {"top_k": 5}),
        ("top_p90", {"top_p": 0.9}),
        ("top_p30", {"top_p": 0.3}),
        ("top_p0", {"top_p": 0.0}),
        ("top_p100", {"top_p": 1.0}),
    ],
)
def test_golden_filters(name: str, options: dict[str, Any]) -> None:
    """Exactly the kept ids are drawn, as often as their softmax says."""
    sampler = sampler_for("wham", temperature=1.0, **options)
    for logits, kept in zip(DATA["logits"], DATA[name], strict=True):
        share = drawn(logits, sampler)
        want = np.exp(kept.astype(np.float64) - kept.max())
        want /= want.sum()
        assert (share[np.isneginf(kept)] == 0).all()
        assert (share[want > 20 / DRAWS] > 0).all()
        np.testing.assert_allclose(share, want, atol=0.01)


def test_top_p_drops_the_id_that_crosses() -> None:
    """Others keep it: the golden filters tell the two rules apart."""
    kept = np.isfinite(DATA["top_p90"][0])
    share = drawn(DATA["logits"][0], sampler_for("mc-ar", top_p=0.9))
    assert (share > 0).sum() == kept.sum() + 1


def temperature_of(family: str, temperature: float | None = None) -> float:
    sampler = sampler_for(family, temperature=temperature)
    assert isinstance(sampler, Sample)
    return sampler.temperature


def test_no_temperature_is_greedy() -> None:
    """But for WHAM, whose release lets none below 0.1 through."""
    assert sampler_for("mc-ar", temperature=0.0) == sampler_for("cosmos", temperature=0, top_k=3) == Greedy()


def test_temperature() -> None:
    assert temperature_of("wham") == 0.9
    assert temperature_of("mc-ar") == 1.0
    for cold in (0.0, 0.05, 0.1):
        assert temperature_of("wham", cold) == 0.1
    assert temperature_of("wham", 2.0) == 2.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "expected temperature >= 0, got temperature=-1.0."),
        ({"temperature": float("nan")}, "expected temperature >= 0, got temperature=nan."),
        ({"temperature": float("inf")}, "expected temperature > 0, got temperature=inf."),
        ({"top_p": 1.5}, "expected 0 <= top_p <= 1, got top_p=1.5."),
        ({"min_p": 2.0}, "expected 0 < min_p <= 1, got min_p=2.0."),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        sampler_for("wham", **options)
