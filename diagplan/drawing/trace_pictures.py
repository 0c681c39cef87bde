"""Pictures of a speculative replay as files: ``.png``, ``.svg`` and, pass by pass, ``.gif``."""

import os
from collections.abc import Sequence

import numpy as np

from diagplan.drawing.pictures import GIF_FRAMES, gif_bytes, png_bytes
from diagplan.drawing.readout import check_frames
from diagplan.drawing.render import svg_bytes
from diagplan.drawing.trace_figure import trace_figure
from diagplan.drawing.trace_readout import TraceReadout
from diagplan.planner.errors import SpecError
from diagplan.schemas.atomic import write_atomically

__all__ = ["save_trace_picture"]

_PASS_MS = 350  # of a GIF's pictures


def save_trace_picture(
    readout: TraceReadout, path: str | os.PathLike[str], *, frames: Sequence[int] | None = None
) -> None:
    """Draw one sample of a trace to a file; the path's ending chooses the format.

    Args:
        readout: from ``read_trace_out``.
        path: a path that ends in ``.png``, ``.svg`` or ``.gif``; an existing file is replaced.
        frames: the generated frames to show; ``None``: all that fit.

    Raises:
        SpecError: the ending is unknown, or there is no such frame.
        MissingExtraError: Pillow is needed and not installed.
        DocumentError: the file cannot be written.
    """
    shown = check_frames(readout.plan.layout, frames)
    match os.path.splitext(os.fspath(path))[1].lower():  # noqa: PTH122 - a suffix only
        case ".svg":
            data = svg_bytes(trace_figure(readout, shown))
        case ".png":
            data = png_bytes(trace_figure(readout, shown))
        case ".gif":
            count = max(1, readout.count)
            passes = np.unique(np.linspace(0, count - 1, min(count, GIF_FRAMES - 1)).round().astype(int)).tolist()
            data = gif_bytes(
                [trace_figure(readout, shown, until=number) for number in (*passes, count)], frame_ms=_PASS_MS
            )
        case _:
            raise SpecError(f"expected a path in .png, .svg or .gif, got path={os.fspath(path)!r}. Change its ending.")
    write_atomically(path, data)
