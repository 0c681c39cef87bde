"""Where the panels of a picture stand, and the parts that all pictures share: captions, hatching, legends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diagplan.drawing.colours import Colour, on, rgb
from diagplan.drawing.scene import WHITE, Item, Rect, Strokes, Text, arrow, hatch, text_width
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout

__all__ = [
    "ACCENT",
    "BLANK",
    "CAPTION",
    "CONTENT",
    "GAP_X",
    "GREY",
    "HATCH_FILL",
    "HATCH_LINE",
    "INK",
    "MARGIN",
    "MISSING",
    "RED",
    "STRIP",
    "Entry",
    "Spread",
    "cell_numbers",
    "fitted",
    "given_block",
    "hatched",
    "legend",
    "numbers_fit",
    "spread",
    "wrapped",
]

INK: Colour = rgb("1b2030")
GREY: Colour = rgb("646c7a")
RED: Colour = rgb("b3261e")
ACCENT: Colour = rgb("f4511e")
BLANK: Colour = rgb("eceef2")
MISSING: Colour = rgb("f2a9a3")
HATCH_FILL: Colour = rgb("f1f2f5")
HATCH_LINE: Colour = rgb("bcc2cc")

MARGIN = 28  # around a picture, in units
CONTENT = 920  # the usual width between the margins
CAPTION = 20  # above every panel
GAP_X, GAP_Y = 18, 14  # between panels
STRIP = 5  # width of a strip of given tokens

_WIDEST = 2400
_TALLEST = 1600
_LARGEST_PITCH = 56
_MOST_CELLS = 250_000
_NARROWEST = 56  # a panel's box, so that its caption fits


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Equal panels in rows: panel i of ``count`` has its upper left cell at ``place(i)``.

    Args:
        pitch: side of a cell with its gap, in units.
        box: width of a panel's box; a narrow grid has a wider box than its cells need.
    """

    count: int
    per_row: int
    pitch: int
    box: int
    cols: int
    rows: int

    @property
    def panel_width(self) -> int:
        """Width of a panel's cells."""
        return self.cols * self.pitch

    @property
    def panel_height(self) -> int:
        """Height of a panel's cells."""
        return self.rows * self.pitch

    @property
    def width(self) -> int:
        """Width of all panels."""
        return self.per_row * (self.box + GAP_X) - GAP_X

    @property
    def height(self) -> int:
        """Height of all panels with their captions."""
        return -(-self.count // self.per_row) * (CAPTION + self.panel_height + GAP_Y) - GAP_Y

    @property
    def empty(self) -> int:
        """Places in the last row without a panel."""
        return -self.count % self.per_row

    @property
    def gap(self) -> int:
        """The gap between cells."""
        return 1 if self.pitch >= 8 else 0

    def place(self, index: int) -> tuple[int, int]:
        """The upper left corner of a panel's cells, relative to the spread."""
        row, col = divmod(index, self.per_row)
        return col * (self.box + GAP_X), row * (CAPTION + self.panel_height + GAP_Y) + CAPTION


def spread(count: int, rows: int, cols: int, *, width: int = CONTENT, height: int = 360) -> Spread:
    """The arrangement with the largest cells within ``width`` and about ``height`` units.

    Raises:
        SpecError: the grids are too many or too large for one picture.
    """
    if count * rows * cols <= _MOST_CELLS:
        for most_wide, most_high, least in ((width, height, 2), (width, _TALLEST, 1), (_WIDEST, _TALLEST, 1)):
            best: Spread | None = None
            for per_row in range(1, count + 1):
                lines = -(-count // per_row)
                pitch = min(
                    ((most_wide + GAP_X) // per_row - GAP_X) // cols,
                    ((most_high + GAP_Y) // lines - GAP_Y - CAPTION) // rows,
                    _LARGEST_PITCH,
                )
                box = max(_NARROWEST, cols * pitch)
                fits = pitch >= least and per_row * (box + GAP_X) - GAP_X <= most_wide
                candidate = Spread(count=count, per_row=per_row, pitch=pitch, box=box, cols=cols, rows=rows)
                if fits and (best is None or (pitch, -candidate.empty) >= (best.pitch, -best.empty)):
                    best = candidate
            if best is not None:
                return best
    raise SpecError(
        f"expected a plan that fits one picture ({_MOST_CELLS} cells, {_WIDEST} x {_TALLEST} units), got {count} "
        f"panels of {rows} x {cols} cells. " + ("Show fewer frames at a time." if count > 1 else "Use the text view.")
    )


def cell_numbers(steps: NDArray[np.int32], colours: NDArray[np.uint8], pitch: int, x: int, y: int) -> list[Item]:
    """The step numbers on the cells that have one (not below 0), in a colour that is readable on theirs."""
    digits = len(str(int(steps.max())))
    size = min(18.0, 0.5 * pitch, (pitch - 5) / (0.62 * digits))
    return [
        Text(
            x=x + (c + 0.5) * pitch - 0.5,
            y=y + (r + 0.5) * pitch - 0.5 + 0.36 * size,
            text=str(steps[r, c]),
            size=size,
            colour=on(colours[r, c]),
            anchor="middle",
        )
        for r, c in np.argwhere(steps >= 0).tolist()
    ]


def numbers_fit(steps: int, pitch: int) -> bool:
    """Whether a cell has room for the number of the last of ``steps`` steps."""
    return pitch >= text_width(str(max(1, steps) - 1), 10) + 5


def fitted(text: str, size: float, width: float, *, least: float = 9) -> tuple[str, float]:
    """The text in the largest size up to ``size`` that fits ``width``; cut short where even ``least`` does not fit."""
    while size > least and text_width(text, size) > width:
        size -= 1
    if text_width(text, size) > width:
        while text and text_width(text + "...", size) > width:
            text = text[:-1]
        text += "..."
    return text, size


def hatched(x: float, y: float, width: float, height: float) -> list[Item]:
    """The look of everything given."""
    return [
        Rect(x=x, y=y, width=width, height=height, fill=HATCH_FILL),
        hatch(x, y, width, height, HATCH_LINE),
        Rect(x=x, y=y, width=width, height=height, stroke=HATCH_LINE),
    ]


def given_block(x: int, y: int, height: int, layout: Layout, card: int) -> tuple[list[Item], int]:
    """The prompt as a strip for leading tokens and a stack of up to three cards for frames; the items and the width."""
    lead, prompt_frames = layout.lead, layout.prompt_frames
    items: list[Item] = []
    right = x
    if lead:
        items += hatched(right, y, 10, height)
        right += 14
    shown = min(prompt_frames, 3)
    back = min(7, height // 6)
    for index in range(shown):
        behind = shown - 1 - index
        items += hatched(right + back * behind, y + back * index, card, height - back * (shown - 1))
    if shown:
        right += card + back * (shown - 1)
        if layout.between_frames:
            items += hatched(right + STRIP, y, STRIP, height)
            right += 2 * STRIP
    return items, right - x


def wrapped(text: str, size: float, width: float) -> list[str]:
    """The text in lines of at most ``width`` units, cut between words; a word that is too long is cut short."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if text_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(fitted(word, size, width, least=size)[0])
    return lines if lines[0] else lines[1:]


Entry = tuple[Literal["fill", "hatch", "outline", "arrow", "lines", "note"], Colour, str]


def legend(entries: Sequence[Entry], x: float, y: float, width: float) -> tuple[list[Item], float]:
    """The entries side by side, in as many lines as they need; the items and the y below them."""
    items: list[Item] = []
    left, size = x, 12.5
    for look, colour, text in entries:
        sign = 0 if look == "note" else 18
        needs = sign + text_width(text, size)
        if left > x and left + needs > x + width:
            left, y = x, y + 19
        items += _swatch(look, colour, left, y)
        for index, part in enumerate(wrapped(text, size, width - sign)):
            y += 17 if index else 0
            items.append(Text(x=left + sign, y=y + 10, text=part, size=size, colour=colour if look == "note" else GREY))
        left += needs + 14
    return items, y + 19 if entries else y


def _swatch(look: str, colour: Colour, x: float, y: float) -> list[Item]:
    match look:
        case "fill":
            return [Rect(x=x, y=y, width=11, height=11, fill=colour)]
        case "hatch":
            return hatched(x, y, 11, 11)
        case "outline":
            return [Rect(x=x, y=y, width=11, height=11, stroke=colour, stroke_width=2)]
        case "arrow":
            return arrow((x, y + 9), (x + 13, y + 4), colour)
        case "lines":
            line = np.array([[x, y + 7.5, x + 11, y + 3.5]])
            return [Rect(x=x, y=y, width=11, height=11, fill=colour), Strokes(lines=line, colour=WHITE, width=1.4)]
        case _:
            return []
