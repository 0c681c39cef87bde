"""A picture as a list of shapes. Two writers render it (``diagplan.drawing.render``), so that they never differ.

Lengths are in units of one CSS pixel, x to the right and y down; a text's y is its baseline.
"""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diagplan.drawing.colours import Colour, rgb

__all__ = [
    "WHITE",
    "Anchor",
    "Cells",
    "Item",
    "Polygon",
    "Polyline",
    "Rect",
    "Scene",
    "Strokes",
    "Text",
    "arrow",
    "hatch",
    "text_width",
]

Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]

WHITE: Colour = rgb("ffffff")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """A grid of coloured squares: cell (r, c) stands at ``(x + c pitch, y + r pitch)`` and is ``pitch - gap`` wide."""

    x: int
    y: int
    pitch: int
    gap: int
    colours: NDArray[np.uint8]  # [rows, cols, 3]
    kind: str = "cell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rect:
    """A rectangle; a stroke is drawn inside its edge."""

    x: float
    y: float
    width: float
    height: float
    fill: Colour | None = None
    stroke: Colour | None = None
    stroke_width: float = 1.0
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Strokes:
    """Separate straight lines of one colour, float64 [n, 4] as x1, y1, x2, y2."""

    lines: NDArray[np.float64]
    colour: Colour
    width: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Polyline:
    """One open line through points."""

    points: tuple[Point, ...]
    colour: Colour
    width: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Polygon:
    """A filled shape."""

    points: tuple[Point, ...]
    fill: Colour


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """One line of text; ``size`` is the height of the letters' box in units."""

    x: float
    y: float
    text: str
    size: float
    colour: Colour
    anchor: Anchor = "start"


Item = Cells | Rect | Strokes | Polyline | Polygon | Text


@dataclass(slots=True, kw_only=True)
class Scene:
    """A picture: its size in units, what it says in one sentence, and its shapes from back to front."""

    width: int
    height: int
    title: str
    items: list[Item] = field(default_factory=list)


_WIDTHS = {**dict.fromkeys(" !'|.,:;()[]{}/\\`fijlrtI-", 0.33), **dict.fromkeys("mwMW@%", 0.95)}  # in em


def text_width(text: str, size: float) -> float:
    """An upper estimate of a text's width in units, for the usual sans-serif fonts."""
    return size * sum(
        _WIDTHS.get(char) or (0.74 if char.isupper() else 0.6 if char.isascii() else 1.0) for char in text
    )


def hatch(x: float, y: float, width: float, height: float, colour: Colour, spacing: float = 6) -> Strokes:
    """Slanted lines that fill a rectangle."""
    start = np.arange(spacing / 2, width + height, spacing)  # where a line x + y = start cuts the rectangle's sides
    left, right = np.maximum(0, start - height), np.minimum(start, width)
    lines = np.stack([x + left, y + start - left, x + right, y + start - right], axis=1)
    return Strokes(lines=lines, colour=colour)


def arrow(start: Point, end: Point, colour: Colour, *, bend: float = 0.18, width: float = 1.4) -> list[Item]:
    """A bent arrow; ``bend`` is the height of the bow as a part of the length."""
    (x1, y1), (x2, y2) = start, end
    length = max(1e-6, float(np.hypot(x2 - x1, y2 - y1)))
    head = min(7.0, 0.5 * length)
    over = ((x1 + x2) / 2 + bend * (y2 - y1), (y1 + y2) / 2 - bend * (x2 - x1))
    along = (x2 - over[0], y2 - over[1])
    norm = max(1e-6, float(np.hypot(*along)))
    ux, uy = along[0] / norm, along[1] / norm
    base = (x2 - head * ux, y2 - head * uy)
    t = np.linspace(0, 1, 17)[:, None]
    curve = (1 - t) ** 2 * np.array(start) + 2 * t * (1 - t) * np.array(over) + t**2 * np.array(base)
    side = 0.4 * head
    points = (end, (base[0] - side * uy, base[1] + side * ux), (base[0] + side * uy, base[1] - side * ux))
    return [
        Polyline(points=tuple((float(x), float(y)) for x, y in curve), colour=colour, width=width),
        Polygon(points=points, fill=colour),
    ]
