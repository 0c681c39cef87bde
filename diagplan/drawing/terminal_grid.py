"""Grids of cells as terminal text: numbers where they fit, else one character for one or two cells.

With colours a cell is coloured, and half blocks put two rows of cells into one line; without (a pipe, a log file)
every cell is a number or a letter.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from rich.color import Color
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

from diagplan.drawing.colours import Colour, on

__all__ = ["GridPanel", "GridPanels", "Key", "coloured", "swatch"]

_LINES, _PLAIN_LINES = 72, 400  # lines of all panels together: a screen or two, and a file
_MOST_LINES = 200  # of one panel
_GAP = 2  # columns between panels


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GridPanel:
    """One grid of cells.

    Args:
        name: what to call it if it is not shown: the number of a generated frame, or words.
        title: the line above it.
        labels: the text of every cell, [h, w].
        glyphs: one character for every cell, [h, w].
        colours: uint8 [h, w, 3].
        rank: where one character stands for several cells, the one of the highest rank is shown, [h, w].
    """

    name: str
    title: str
    labels: NDArray[np.str_]
    glyphs: NDArray[np.str_]
    colours: NDArray[np.uint8]
    rank: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An entry of the explanation below the grids."""

    glyph: str
    colour: Colour
    text: str


@lru_cache(maxsize=4096)
def _style(front: Colour | None, back: Colour | None) -> Style:
    return Style(
        color=Color.from_rgb(*front) if front else None,
        bgcolor=Color.from_rgb(*back) if back else None,
    )


def swatch(text: str, colour: Colour) -> Segment:
    """Text on a coloured ground."""
    return Segment(text, _style(on(colour), colour))


def coloured(console: Console, options: ConsoleOptions) -> bool:
    """Whether the terminal shows colours and block characters."""
    return console.color_system is not None and not console.no_color and not options.ascii_only


def _colour(pixel: NDArray[np.uint8]) -> Colour:
    red, green, blue = pixel.tolist()
    return red, green, blue


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """How cells become characters: ``labels``, or one character for ``scale`` x ``scale`` cells or two of those."""

    kind: str  # "labels", "glyphs" or "halves"
    scale: int
    width: int  # of a panel, in columns
    lines: int  # of a panel, its title included


def _forms(panels: Sequence[GridPanel], width: int, colour: bool) -> list[_Form]:
    """The forms in which one panel fits, from the clearest to the densest."""
    rows, cols = panels[0].labels.shape
    digits = max(int(np.char.str_len(panel.labels).max()) for panel in panels)
    title = min(width, max(len(panel.title) for panel in panels))
    forms = []
    if cols * (digits + 1) <= width and rows < _MOST_LINES:
        forms.append(_Form(kind="labels", scale=1, width=max(title, cols * (digits + 1)), lines=rows + 1))
    high = 2 if colour else 1
    scale = max(1, -(-cols // width), -(-rows // (high * _MOST_LINES)))
    lines = math.ceil(math.ceil(rows / scale) / high) + 1
    kind = "halves" if colour else "glyphs"
    return [*forms, _Form(kind=kind, scale=scale, width=max(title, -(-cols // scale)), lines=lines)]


class GridPanels:
    """Panels side by side, as many as fit; a caption says what was left out or made smaller.

    Args:
        panels: grids of one shape, at least one.
        width: columns, at most; the console's width if that is smaller.
        keys: what glyphs and colours mean.
        glyph_words: what the glyphs mean where only they are shown.
    """

    def __init__(
        self,
        panels: Sequence[GridPanel],
        width: int,
        *,
        keys: Sequence[Key] = (),
        glyph_words: str = "",
    ) -> None:
        self.panels, self.width, self.keys = list(panels), width, list(keys)
        self.glyph_words = glyph_words

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The panels, then the captions."""
        colour = coloured(console, options)
        width = max(1, min(self.width, options.max_width))
        form, per_line, shown = self._choose(width, colour)
        blocks = [self._block(panel, form) for panel in self.panels[:shown]]
        for first in range(0, shown, per_line):
            group = blocks[first : first + per_line]
            for line in zip(*group, strict=True):
                yield from _joined(line, form.width)
                yield Segment.line()
            if first + per_line < shown:
                yield Segment.line()
        yield from self._captions(form, shown, colour, options.max_width)

    def _choose(self, width: int, colour: bool) -> tuple[_Form, int, int]:
        """The clearest form that shows every panel, else the densest: the form, panels side by side, panels shown."""
        most = _LINES if colour else _PLAIN_LINES
        forms = _forms(self.panels, width, colour)
        for form in forms:
            per_line = max(1, (width + _GAP) // (form.width + _GAP))
            if -(-len(self.panels) // per_line) * (form.lines + 1) <= most or len(self.panels) == 1:
                return form, per_line, len(self.panels)
        form = forms[-1]
        per_line = max(1, (width + _GAP) // (form.width + _GAP))
        return form, per_line, min(len(self.panels), per_line * max(1, most // (form.lines + 1)))

    def _block(self, panel: GridPanel, form: _Form) -> list[list[Segment]]:
        title = panel.title if len(panel.title) <= form.width else panel.title[: max(0, form.width - 3)] + "..."
        lines = [[Segment(title[: form.width], Style(bold=True))]]
        if form.kind == "labels":
            digits = int(np.char.str_len(panel.labels).max())
            for labels, colours in zip(panel.labels.tolist(), panel.colours, strict=True):
                lines.append(
                    [
                        swatch(f" {label:>{digits}}", _colour(colour))
                        for label, colour in zip(labels, colours, strict=True)
                    ]
                )
            return lines
        row, col = _blocks(panel.rank, form.scale)
        if form.kind == "glyphs":
            return lines + [[Segment("".join(line))] for line in panel.glyphs[row, col].tolist()]
        colours = panel.colours[row, col]
        for top in range(0, len(colours), 2):
            lower = colours[top + 1] if top + 1 < len(colours) else [None] * colours.shape[1]
            lines.append(
                [
                    Segment("\u2580", _style(_colour(upper), None if under is None else _colour(under)))
                    for upper, under in zip(colours[top], lower, strict=True)
                ]
            )
        return lines

    def _captions(self, form: _Form, shown: int, colour: bool, width: int) -> RenderResult:
        captions = []
        if form.kind == "glyphs" and self.glyph_words:
            captions.append(self.glyph_words)
        if form.scale > 1:
            every = "the most telling one" if any(panel.rank.any() for panel in self.panels) else "the first one"
            captions.append(f"each cell shown stands for {form.scale} x {form.scale} cells: {every} of them")
        if shown < len(self.panels):
            captions.append(_not_shown([panel.name for panel in self.panels[shown:]]))
        column = 0
        for key in self.keys:
            needs = len(key.glyph) + len(key.text) + 5
            if column and column + needs > width:
                yield Segment.line()
                column = 0
            yield swatch(f" {key.glyph} ", key.colour) if colour else Segment(f" {key.glyph} ")
            yield Segment(f" {key.text} "[: max(0, width - len(key.glyph) - 2)])
            column += needs
        if self.keys:
            yield Segment.line()
        for caption in captions:
            for line in _wrapped(caption, width):
                yield Segment(line, Style(dim=True))
                yield Segment.line()


def _blocks(rank: NDArray[np.int64], scale: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the cells of the highest rank in each block of ``scale`` x ``scale`` cells."""
    rows, cols = rank.shape
    down, across = -(-rows // scale), -(-cols // scale)
    padded = np.full((down * scale, across * scale), -1, dtype=np.int64)
    padded[:rows, :cols] = rank
    best = padded.reshape(down, scale, across, scale).swapaxes(1, 2).reshape(down, across, -1).argmax(axis=2)
    return np.arange(down)[:, None] * scale + best // scale, np.arange(across) * scale + best % scale


def _not_shown(names: list[str]) -> str:
    """Names that are numbers are those of generated frames, which a user can ask for."""
    if not names[-1].isdecimal():
        return "not shown: " + ", ".join(f"frame {name}" if name.isdecimal() else name for name in names)
    if len(names) == 1:
        return f"frame {names[0]} not shown; --frame {names[0]} shows it"
    return f"frames {names[0]}..{names[-1]} not shown; --frame N shows one"


def _joined(parts: Sequence[list[Segment]], width: int) -> RenderResult:
    for index, part in enumerate(parts):
        yield from part
        if index + 1 < len(parts):
            taken = sum(len(segment.text) for segment in part)
            yield Segment(" " * (width - taken + _GAP))


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] += f" {word}" if lines[-1] else word
    return lines
