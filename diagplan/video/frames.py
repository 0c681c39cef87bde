"""Frames cut to a model's size, and sheets and captions for people. Frames are uint8 [height, width, 3]."""

import io
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import SpecError
from diagplan.planner.extras import missing_packages

__all__ = ["caption", "fit", "gif", "png", "sheet"]

Frame = NDArray[np.uint8]
_PAPER, _INK = (250, 249, 246), (38, 38, 44)


def _pillow(name: str) -> Any:
    try:
        return import_module(f"PIL.{name}")
    except ImportError:
        raise missing_packages("pictures", ["PIL"]) from None


def fit(frame: Frame, height: int, width: int) -> Frame:
    """Scale a frame until it covers ``height`` x ``width`` (bilinear, antialiased), then cut its middle out.

    A frame of that size is returned as it is.

    Raises:
        SpecError: a frame that is no picture.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise SpecError(f"expected a frame [height, width, 3], got {frame.shape}.")
    had_height, had_width = frame.shape[:2]
    if (had_height, had_width) == (height, width):
        return frame
    scale = max(height / had_height, width / had_width)
    size = (max(width, round(had_width * scale)), max(height, round(had_height * scale)))
    image = _pillow("Image")
    scaled = np.asarray(image.fromarray(np.ascontiguousarray(frame)).resize(size, image.Resampling.BILINEAR))
    top, left = (scaled.shape[0] - height) // 2, (scaled.shape[1] - width) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width])


def caption(text: str, width: int, height: int = 20, *, align: str = "left") -> Frame:
    """A strip with one line of text, as large as fits."""
    image, draw, font = _pillow("Image"), _pillow("ImageDraw"), _pillow("ImageFont")
    strip = image.new("RGB", (width, height), _PAPER)
    size = height * 0.7
    while size > 6 and font.load_default(size).getlength(text) > width - 4:
        size -= 0.5
    at, anchor = ((4, height / 2), "lm") if align == "left" else ((width / 2, height / 2), "mm")
    draw.Draw(strip).text(at, text, fill=_INK, font=font.load_default(size), anchor=anchor)
    return np.asarray(strip)


def sheet(rows: list[tuple[str, list[Frame]]], *, head: list[str], zoom: int = 1, label: int = 110) -> Frame:
    """A contact sheet: one row of frames each, its name on the left, ``head`` above the columns.

    Raises:
        SpecError: no rows, or rows of different lengths.
    """
    if not rows or len({len(frames) for _, frames in rows}) != 1 or len(rows[0][1]) != len(head):
        raise SpecError("expected rows of one length and a heading for each column.")
    height, width = (zoom * side for side in rows[0][1][0].shape[:2])
    gap = 4
    page = np.full(
        (24 + len(rows) * (height + gap), label + len(head) * (width + gap), 3), np.array(_PAPER, np.uint8), np.uint8
    )
    for column, text in enumerate(head):
        left = label + column * (width + gap)
        page[2:22, left : left + width] = caption(text, width, align="middle")
    for number, (name, frames) in enumerate(rows):
        top = 24 + number * (height + gap)
        lines = name.split("\n")
        for place, line in enumerate(lines):
            at = top + height // 2 - 10 * len(lines) + 20 * place
            page[at : at + 20, : label - 4] = caption(line, label - 4)
        for column, frame in enumerate(frames):
            left = label + column * (width + gap)
            page[top : top + height, left : left + width] = frame.repeat(zoom, 0).repeat(zoom, 1)
    return page


def png(frame: Frame) -> bytes:
    """A frame as a PNG file's bytes."""
    file = io.BytesIO()
    _pillow("Image").fromarray(np.ascontiguousarray(frame)).save(file, format="PNG", optimize=True)
    return file.getvalue()


def gif(frames: list[Frame], fps: int) -> bytes:
    """Frames as an endless GIF's bytes."""
    image = _pillow("Image")
    pages = [image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    file = io.BytesIO()
    pages[0].save(file, format="GIF", save_all=True, append_images=pages[1:], duration=round(1000 / fps), loop=0)
    return file.getvalue()
