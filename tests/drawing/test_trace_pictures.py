"""Pictures of traces as files."""

import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from diagplan.drawing.trace_pictures import save_trace_picture
from diagplan.drawing.trace_readout import read_trace_out
from diagplan.planner.errors import SpecError
from tests.support.invalid_traces import BASE, PLAN

READOUT = read_trace_out(PLAN, BASE)


def test_svg(tmp_path: Path) -> None:
    save_trace_picture(READOUT, tmp_path / "trace.svg")
    root = ET.fromstring((tmp_path / "trace.svg").read_text())
    assert root.findtext("{http://www.w3.org/2000/svg}title") == "One image of 2 x 3 tokens: 6 steps in 3 passes"


def test_png_and_gif(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for name in ("trace.png", "trace.GIF"):
        save_trace_picture(READOUT, tmp_path / name, frames=[0])
    png, gif = (image.open(io.BytesIO((tmp_path / name).read_bytes())) for name in ("trace.png", "trace.GIF"))
    assert gif.n_frames == 4  # three passes, and the end
    assert png.size == (2 * gif.width, 2 * gif.height)


def test_other_endings_and_frames(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=re.escape("expected a path in .png, .svg or .gif, got path=")):
        save_trace_picture(READOUT, tmp_path / "trace.pdf")
    with pytest.raises(SpecError, match="frame"):
        save_trace_picture(READOUT, tmp_path / "trace.svg", frames=[1])
