"""Sheets of pictures with a label below each, for people."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import SpecError
from diagplan.planner.extras import missing_packages

__all__ = ["contact_sheet"]

#: Pixels: a small picture is enlarged to this side; between two; of a line of text.
_SIDE, _GAP, _LINE, _SIZE = 256, 12, 22, 16
_PAPER, _INK, _GREY = (250, 249, 246), (38, 38, 44), (110, 110, 118)


def contact_sheet(
    pictures: NDArray[np.uint8],
    labels: Sequence[str],
    *,
    columns: int | None = None,
    heads: Sequence[str] | None = None,
    titles: Sequence[str] | None = None,
) -> NDArray[np.uint8]:
    """Pictures in rows, each with its label below.

    Args:
        pictures: uint8 [B, height, width, 3].
        labels: of each picture; a text is broken into lines, three of which are shown at most unless it has more lines
            of its own.
        columns: pictures of a row; ``None``: as many as make the sheet about square.
        heads: above each column.
        titles: above each row, on a line of its own.

    Raises:
        SpecError: another number of labels than of pictures.
        MissingExtraError: pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise missing_packages("pictures", ["PIL"]) from None
    if len(labels) != len(pictures) or not len(pictures):
        raise SpecError(f"expected a label for each of {len(pictures)} pictures, got {len(labels)}.")
    font, bold = ImageFont.load_default(_SIZE), ImageFont.load_default(_SIZE + 2)
    height, width = pictures.shape[1:3]
    zoom = max(1, math.ceil(_SIDE / max(height, width)))
    height, width = height * zoom, width * zoom
    cell = max(width, _SIDE)
    count = columns or min(len(pictures), max(1, round(math.sqrt(len(pictures) * height / cell))))
    lines = [_broken(label, font, cell) for label in labels]
    rows = math.ceil(len(pictures) / count)
    below = [max(len(one) for one in lines[row * count : (row + 1) * count]) for row in range(rows)]
    top, above = _GAP + (_LINE + 6 if heads else 0), _LINE + 2 if titles else 0
    page = Image.new(
        "RGB",
        (_GAP + count * (cell + _GAP), top + sum(above + height + n * _LINE + _GAP + 4 for n in below)),
        _PAPER,
    )
    draw = ImageDraw.Draw(page)
    for column, head in enumerate(heads or ()):
        left = _GAP + column * (cell + _GAP)
        draw.text((left, _GAP), _cut(head, bold, cell), fill=_INK, font=bold)
    at = top
    for row in range(rows):
        if titles:
            draw.text((_GAP, at), _cut(titles[row], font, page.width - 2 * _GAP), fill=_INK, font=font)
            at += above
        for column, number in enumerate(range(row * count, min(len(pictures), (row + 1) * count))):
            left = _GAP + column * (cell + _GAP)
            picture = Image.fromarray(pictures[number]).resize((width, height), Image.Resampling.NEAREST)
            page.paste(picture, (left + (cell - width) // 2, at))
            for place, line in enumerate(lines[number]):
                draw.text(
                    (left, at + height + 4 + place * _LINE), line, fill=_GREY if titles or place else _INK, font=font
                )
        at += height + below[row] * _LINE + _GAP + 4
    return np.asarray(page)


def _broken(label: str, font: object, width: int) -> list[str]:
    """A label in lines that fit; what does not fit in three is cut."""
    own = label.split("\n")
    if len(own) > 1:
        return [_cut(line, font, width) for line in own]
    lines, words = [""], label.split()
    for word in words:
        longer = f"{lines[-1]} {word}".strip()
        if _length(longer, font) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > 3:
        lines = [*lines[:2], " ".join(lines[2:])]
    return [_cut(line, font, width) for line in lines]


def _cut(text: str, font: object, width: int) -> str:
    """A text as far as it fits."""
    if _length(text, font) <= width:
        return text
    while text and _length(text + " ...", font) > width:
        text = text[:-1]
    return text + " ..."


def _length(text: str, font: object) -> float:
    return float(font.getlength(text))  # type: ignore[attr-defined]
