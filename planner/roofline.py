"""A cost curve without a machine: what a pass must read and compute, over what a device can, at best.

An estimate from below, and marked as one: kernels reach a part of the peak figures, and launching them costs too.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from diagplan.planner.arguments import require_kind, require_number
from diagplan.planner.cost import CostCurve
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import require_int
from diagplan.planner.rounding import rounded_up
from diagplan.planner.shown import shown

__all__ = ["DEVICES", "Device", "PassWork", "device_named", "roofline_curve"]


class Device(NamedTuple):
    """What a device can do at best.

    Attributes:
        name: for people.
        bytes_per_second: of reading memory.
        flops: bfloat16 multiplications and additions a second, without sparsity.
        source: of the figures.
    """

    name: str
    bytes_per_second: float
    flops: float
    source: str


#: Peak figures by name, as their makers print them: dense bfloat16 with float32 sums.
DEVICES: Mapping[str, Device] = MappingProxyType(
    {
        device.name: device
        for device in (
            Device("A100", 2.039e12, 312e12, "NVIDIA A100 80GB SXM, data sheet"),
            Device("H100", 3.35e12, 989e12, "NVIDIA H100 SXM, data sheet"),
            Device("H200", 4.8e12, 989e12, "NVIDIA H200 SXM, data sheet"),
            Device("L4", 0.3e12, 121e12, "NVIDIA L4, data sheet"),
            Device("L40S", 0.864e12, 362e12, "NVIDIA L40S, data sheet"),
            Device("MI300X", 5.3e12, 1307e12, "AMD Instinct MI300X, data sheet"),
            Device("RTX4090", 1.008e12, 165e12, "NVIDIA Ada GPU architecture white paper, GeForce RTX 4090"),
        )
    }
)

_UNITS = {"G": 1e9, "T": 1e12, "P": 1e15}
_OWN = re.compile(
    r"\s*(?P<name>[\w .+-]{1,60}?)\s*:\s*(?P<bytes>[0-9.]{1,12})\s*(?P<unit>[GTP])B/s\s*,\s*"
    r"(?P<flops>[0-9.]{1,12})\s*(?P<scale>[GTP])FLOP(?:S|/s)\s*"
)


def device_named(text: str) -> Device:
    """A device of the table by its name, or one's own figures: ``"NAME:4.3TB/s,790TFLOP/s"``.

    Raises:
        SpecError: neither.

    >>> device_named("H200:4.3TB/s,790TFLOP/s").bytes_per_second
    4300000000000.0
    """
    require_kind("roofline", text, str, "Give a device's name, or its figures.", what="a text")
    if text in DEVICES:
        return DEVICES[text]
    own = _OWN.fullmatch(text)
    try:
        figures = () if own is None else (float(own["bytes"]) * _UNITS[own["unit"]], float(own["flops"]))
    except ValueError:  # 1.2.3
        figures = ()
    if own is None or not figures or not all(np.isfinite(one) and one > 0 for one in figures):
        raise SpecError(
            f"expected a device out of {', '.join(DEVICES)}, or its figures, got roofline={shown(text)}. Write "
            "H200:4.3TB/s,790TFLOP/s."
        )
    return Device(own["name"], figures[0], figures[1] * _UNITS[own["scale"]], "given")


class PassWork(NamedTuple):
    """What a pass of a model reads and computes.

    Attributes:
        weight_bytes: read once a pass.
        slot_bytes: of one cache slot of one sample.
        feed_flops: of one feed but for attention: twice the weights that are multiplied.
        pair_flops: of one feed and one cache slot that it attends over.
    """

    weight_bytes: float
    slot_bytes: float
    feed_flops: float
    pair_flops: float


def roofline_curve(
    work: PassWork,
    device: Device,
    *,
    longest: int,
    widest: int = 512,
    batch: int = 1,
    length_step: int = 64,
    static_widths: tuple[int, ...] = (),
) -> CostCurve:
    """The curve that no pass can beat: the longer of reading the weights and the cache, and of computing.

    Args:
        work: of the model.
        device: that computes.
        longest: cache slots of the longest pass.
        widest: feeds of the widest pass.
        batch: rows of the model's batch.
        length_step: as for ``CostCurve``.
        static_widths: as for ``CostCurve``.

    Raises:
        SpecError: a number that is not positive.

    >>> work = PassWork(weight_bytes=6e8, slot_bytes=4e4, feed_flops=6e8, pair_flops=8e4)
    >>> curve = roofline_curve(work, DEVICES["H200"], longest=1024)
    >>> curve.estimate, f"{1e3 * curve.at(1, 1024):.3f} ms"
    (True, '0.134 ms')
    """
    require_kind("device", device, Device, 'Give device_named("H200").')
    for name, value in work._asdict().items():
        if require_number(name, value, "Give the model's sizes.", finite=True) <= 0:
            raise SpecError(f"expected {name} > 0, got {name}={shown(value)}. Give the model's sizes.")
    batch, step = require_int("batch", batch, 1), require_int("length_step", length_step, 1)
    last = rounded_up(require_int("longest", longest, 1), step)
    lengths = np.unique(rounded_up(np.linspace(step, last, 9).astype(np.int64), step))
    widths = np.unique(np.geomspace(1, require_int("widest", widest, 1), 64).astype(np.int64))  # the bend lies anywhere
    width, length = (grid.ravel() for grid in np.meshgrid(widths, lengths))
    reading = (work.weight_bytes + batch * work.slot_bytes * (length + width)) / device.bytes_per_second
    computing = batch * width * (work.feed_flops + work.pair_flops * length) / device.flops
    return CostCurve(
        width=width, length=length, seconds=np.maximum(reading, computing), batch=batch, length_step=step,
        static_widths=static_widths, chunk=widest, estimate=True,
    )  # fmt: skip
