"""Estimates without a machine."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.planner.errors import SpecError
from diagplan.planner.roofline import DEVICES, Device, PassWork, device_named, roofline_curve

#: 300M parameters in bfloat16, by specs of the release: 20 layers of 1024.
WORK = PassWork(weight_bytes=6.25e8, slot_bytes=20480, feed_flops=6.25e8, pair_flops=81920)


def test_a_narrow_pass_reads_and_a_wide_one_computes() -> None:
    device = device_named("H200:4.3TB/s,790TFLOP/s")
    curve = roofline_curve(WORK, device, longest=5600)
    assert curve.estimate
    assert curve.at(1, 64) == pytest.approx((6.25e8 + 20480 * 65) / 4.3e12, rel=1e-3)
    assert curve.at(512, 5632) == pytest.approx(512 * (6.25e8 + 81920 * 5632) / 790e12, rel=1e-3)
    knee = np.argmax(curve.at(np.arange(1, 513), 64) > 1.02 * curve.at(1, 64))
    assert 150 < knee < 230  # where both take as long


@given(st.floats(1e6, 1e12), st.floats(1, 1e7), st.floats(1e6, 1e12), st.floats(1, 1e8), st.integers(1, 64))
def test_it_is_a_lower_bound_of_both(weights: float, slot: float, flops: float, pair: float, batch: int) -> None:
    work, device = PassWork(weights, slot, flops, pair), Device("x", 1e12, 1e14, "none")
    curve = roofline_curve(work, device, longest=1024, batch=batch)
    for width, length in ((1, 64), (7, 128), (100, 1024)):
        reading = (weights + batch * slot * (width + length)) / 1e12
        computing = batch * width * (flops + pair * length) / 1e14
        assert float(curve.at(width, length)) >= 0.999 * max(reading, computing)
        assert float(curve.at(width, length)) <= 1.15 * max(reading, computing)  # the bend is cut off a little


def test_the_table_names_its_sources() -> None:
    assert {"H200", "H100", "A100"} <= set(DEVICES)
    for name, device in DEVICES.items():
        assert device_named(name) is device
        assert device.name == name
        assert len(device.source) > 10
        assert 1e11 < device.bytes_per_second < device.flops


def test_own_figures() -> None:
    assert device_named(" my card : 900GB/s , 1.2PFLOPS ") == Device("my card", 9e11, 1.2e15, "given")


@pytest.mark.parametrize(
    "text", ["H300", "", "H200:4.3TB/s", "x:1.2.3TB/s,1TFLOP/s", "x:0TB/s,1TFLOP/s", "x:1,2", "x" * 999]
)
def test_other_devices_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match=re.escape("expected a device out of A100, H100, H200")):
        device_named(text)


def test_sizes_that_are_none_are_refused() -> None:
    wrong: Any = "H200"
    with pytest.raises(SpecError, match="expected weight_bytes > 0"):
        roofline_curve(WORK._replace(weight_bytes=0), DEVICES["H200"], longest=64)
    with pytest.raises(SpecError, match="expected device to be a Device"):
        roofline_curve(WORK, wrong, longest=64)
    with pytest.raises(SpecError, match="expected longest >= 1"):
        roofline_curve(WORK, DEVICES["H200"], longest=0)
