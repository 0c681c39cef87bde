"""Samplers as data: what is refused, and what no temperature means."""

import re
from typing import Any

import numpy as np
import pytest

from diagplan.adapters.samplers import Greedy, Sample, plain_sampler
from diagplan.planner.errors import SpecError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, "expected temperature > 0, got temperature=0.0. For no noise use greedy."),
        ({"temperature": float("nan")}, "expected temperature > 0, got temperature=nan."),
        ({"temperature": float("inf")}, "expected temperature > 0, got temperature=inf."),
        ({"temperature": 1e-310}, "expected temperature >= 1e-06, got temperature=1e-310."),
        ({"temperature": "hot"}, "expected temperature to be a number, got temperature='hot'."),
        ({"top_p": True}, "expected top_p to be a number, got top_p=True."),
        ({"top_k": 1.5}, "expected top_k to be an integer, got top_k=1.5."),
        ({"temperature": None}, "expected temperature to be a number, got temperature=None."),
        ({"temperature": True}, "expected temperature to be a number, got temperature=True."),
        ({"temperature": 10**400}, "expected temperature to be a number, got temperature=a number of 1329 bits."),
        ({"top_p": float("nan")}, "expected 0 < top_p <= 1, got top_p=nan."),
        ({"top_p": 10**400}, "expected top_p to be a number, got top_p=a number of 1329 bits."),
        ({"top_k": True}, "expected top_k to be an integer, got top_k=True."),
        (
            {"crossing": np.array(["keep", "drop"])},
            "expected crossing to be 'keep' or 'drop', got crossing=a ndarray.",
        ),
        ({"top_k": 0}, "expected top_k >= 1, got top_k=0."),
        ({"top_p": 0.0}, "expected 0 < top_p <= 1, got top_p=0.0."),
        ({"top_p": 1.5}, "expected 0 < top_p <= 1, got top_p=1.5."),
        ({"min_p": 0}, "expected 0 < min_p <= 1, got min_p=0."),
        ({"min_p": "a"}, "expected min_p to be a number, got min_p='a'."),
        ({"crossing": "split"}, "expected crossing to be 'keep' or 'drop', got crossing='split'."),
    ],
)
def test_bad_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        Sample(**options)


def test_a_plain_sampler() -> None:
    assert plain_sampler(None, None, None) == Sample(temperature=1.0)
    assert plain_sampler(0.7, 5, None) == Sample(temperature=0.7, top_k=5)
    assert plain_sampler(0, 5, None) == plain_sampler(-0.0, None, 0.5) == Greedy()


@pytest.mark.parametrize("temperature", [-1.0, -1, float("nan")])
def test_a_temperature_below_greedy(temperature: float) -> None:
    message = f"expected temperature >= 0, got temperature={temperature}. 0 is greedy, 1 as the model says."
    with pytest.raises(SpecError, match=f"^{re.escape(message)}$"):
        plain_sampler(temperature, None, None)
