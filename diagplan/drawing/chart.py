"""The width profile of a plan: feeds per step as bars in the colours of the steps, over a step axis."""

import numpy as np
from numpy.typing import NDArray

from diagplan.drawing.colours import ramp, rgb
from diagplan.drawing.panels import BLANK, GREY
from diagplan.drawing.readout import Readout
from diagplan.drawing.scene import Item, Rect, Strokes, Text, text_width

__all__ = ["binned", "nice", "profile_chart"]

_AXIS = rgb("9aa1ad")
_GRID = rgb("e3e6eb")
_TICK = 11


def nice(size: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, 50, ... that is at least ``size``.

    >>> [nice(size) for size in (0.2, 3, 11, 50)]
    [1, 5, 20, 50]
    """
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= size:
                return factor * power
        power *= 10


def binned(widths: NDArray[np.int64], most: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The widths in at most ``most`` bins of neighbouring steps: the bins' edges [n + 1] and largest widths [n]."""
    number = min(len(widths), most)
    edges = np.arange(number + 1, dtype=np.int64) * len(widths) // max(1, number)
    return edges, np.maximum.reduceat(widths, edges[:-1]) if number else widths[:0]


def profile_chart(
    readout: Readout, x: int, y: int, width: int, height: int, *, until: int | None = None, mark: int | None = None
) -> list[Item]:
    """The chart with its axes in a box of ``width`` x ``height`` units.

    Args:
        readout: the plan.
        x: the left edge.
        y: the upper edge.
        width: the width of the box, y labels included.
        height: the height of the box, step labels included.
        until: steps after this one are grey.
        mark: a step to point at.
    """
    widths, items = readout.widths, list[Item]()
    steps = len(widths)
    top = max(1, int(widths.max())) if steps else 1
    left = x + 10 + int(max(text_width(str(top), _TICK), text_width("step", _TICK)))
    right, base = x + width, y + height - 34
    high = base - y
    every = nice(top * max(18, high / 8) / high)
    for value in range(0, top + 1, every):
        at = base - high * value / top
        items.append(Strokes(lines=np.array([[left, at, right, at]]), colour=_GRID))
        items.append(Text(x=left - 5, y=at + 4, text=str(value), size=_TICK, colour=GREY, anchor="end"))
    edges, tallest = binned(widths, right - left)
    place = left + (right - left) * edges / max(1, steps)
    colours = ramp((edges[:-1] + edges[1:] - 1) / 2, steps)
    space = min(3.0, 0.15 * (right - left) / steps) if steps and (right - left) / steps >= 5 else 0.0
    for j, value in enumerate(tallest.tolist()):
        bar = (float(place[j]), float(place[j + 1]) - space)
        later = until is not None and edges[j] > until
        fill = BLANK if later else tuple(colours[j].tolist())
        tall = high * value / top
        items.append(Rect(x=bar[0], y=base - tall, width=bar[1] - bar[0], height=tall, fill=fill, kind="bar"))
        items.append(Rect(x=bar[0], y=base + 2, width=float(place[j + 1]) - bar[0], height=6, fill=fill))
    items.append(Strokes(lines=np.array([[left, base, right, base]]), colour=_AXIS))
    if steps:
        items.append(Text(x=left - 5, y=base + 22, text="step", size=_TICK, colour=GREY, anchor="end"))
        items += _step_axis(left, right, base, steps)
    if mark is not None and steps:
        at = left + (right - left) * (mark + 0.5) / steps
        items.append(Strokes(lines=np.array([[at, y - 6, at, base + 8]]), colour=rgb("f4511e"), width=1.6))
    return items


def _step_axis(left: float, right: float, base: float, steps: int) -> list[Item]:
    items = list[Item]()
    label = text_width(str(steps - 1), _TICK)
    every = nice((label + 26) * steps / (right - left))
    last = min(left + (right - left) * (steps - 0.5) / steps, right - label / 2)
    places = [(step, left + (right - left) * (step + 0.5) / steps) for step in range(0, steps, every)]
    places = [(step, at) for step, at in places if last - at > label + 8] + [(steps - 1, last)]
    for step, at in places:
        tick = left + (right - left) * (step + 0.5) / steps
        items.append(Strokes(lines=np.array([[tick, base + 8, tick, base + 11]]), colour=_AXIS))
        items.append(Text(x=at, y=base + 22, text=str(step), size=_TICK, colour=GREY, anchor="middle"))
    return items
