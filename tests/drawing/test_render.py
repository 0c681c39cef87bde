"""The two writers of a scene: every kind of shape, as SVG and as pixels."""

import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from diagplan.drawing.colours import rgb
from diagplan.drawing.render import Painter, svg_bytes, svg_text
from diagplan.drawing.scene import Cells, Item, Polygon, Polyline, Rect, Scene, Strokes, Text
from diagplan.planner.errors import MissingExtraError

RED, BLUE, GREEN = rgb("ff0000"), rgb("0000ff"), rgb("00ff00")
SPACE = "{http://www.w3.org/2000/svg}"
GRID = np.array([[RED, BLUE], [GREEN, RED], [BLUE, GREEN]], dtype=np.uint8)
SHAPES: list[Item] = [
    Cells(x=10, y=10, pitch=8, gap=2, colours=GRID, kind="cells frame-0"),
    Rect(x=40, y=10, width=20, height=10, fill=RED, kind="bar"),
    Rect(x=40, y=30, width=20, height=10, stroke=BLUE, stroke_width=2),
    Strokes(lines=np.array([[70.0, 10, 70, 50], [80, 10, 80, 50]]), colour=RED, width=4),
    Polyline(points=((90.0, 10.0), (90.0, 50.0)), colour=BLUE, width=4),
    Polygon(points=((100.0, 10.0), (120.0, 10.0), (100.0, 50.0)), fill=GREEN),
    Text(x=60, y=70, text="<a & b>", size=12, colour=RED, anchor="middle"),
]
SCENE = Scene(width=140, height=80, title='a "plan" & more', items=SHAPES)


def test_the_svg_holds_every_shape() -> None:
    root = ET.fromstring(svg_bytes(SCENE))
    assert (root.get("width"), root.get("height"), root.get("viewBox")) == ("140", "80", "0 0 140 80")
    assert root.findtext(f"{SPACE}title") == 'a "plan" & more'
    cells = root.findall(f"{SPACE}g[@class='cells frame-0']/{SPACE}rect")
    assert [(cell.get("x"), cell.get("y"), cell.get("fill")) for cell in cells] == [
        ("10", "10", "#ff0000"), ("18", "10", "#0000ff"), ("10", "18", "#00ff00"),
        ("18", "18", "#ff0000"), ("10", "26", "#0000ff"), ("18", "26", "#00ff00"),
    ]  # fmt: skip
    assert {cell.get("width") for cell in cells} == {"6"}
    _, bar, frame = root.findall(f"{SPACE}rect")  # the first is the paper
    assert (bar.get("class"), bar.get("fill"), bar.get("width")) == ("bar", "#ff0000", "20")
    assert (frame.get("fill"), frame.get("x"), frame.get("width")) == ("none", "41", "18")  # the stroke is inside
    path = root.find(f"{SPACE}path")
    assert path is not None
    assert path.get("d") == "M70 10L70 50M80 10L80 50"
    text = root.find(f"{SPACE}text")
    assert text is not None
    assert (text.text, text.get("text-anchor")) == ("<a & b>", "middle")


def test_the_text_is_the_file_without_its_first_line() -> None:
    declaration, _, rest = svg_bytes(SCENE).decode().partition("\n")
    assert declaration == "<?xml version='1.0' encoding='utf-8'?>"
    assert svg_text(SCENE) == rest


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_the_pixels_hold_every_shape(scale: int) -> None:
    pytest.importorskip("PIL")
    image = np.asarray(Painter(scale).paint(SCENE)).astype(int)
    assert image.shape == (80 * scale, 140 * scale, 3)

    def pixel(x: float, y: float) -> tuple[int, ...]:
        return tuple(image[int(y * scale), int(x * scale)].tolist())

    for row, col in np.ndindex(3, 2):
        assert pixel(10 + 8 * col + 3, 10 + 8 * row + 3) == tuple(GRID[row, col].tolist())
        assert pixel(10 + 8 * col + 6.9, 10 + 8 * row + 6.9) == (255, 255, 255)  # the gap
    assert pixel(50, 15) == RED
    assert (pixel(50, 35), pixel(41, 35)) == ((255, 255, 255), BLUE)
    assert pixel(70, 30) == pixel(80, 30) == RED
    assert pixel(90, 30) == BLUE
    assert (pixel(103, 20), pixel(118, 45)) == (GREEN, (255, 255, 255))
    letters = image[58 * scale : 73 * scale, 30 * scale : 90 * scale]
    assert np.any((letters[..., 0] > 200) & (letters[..., 1] < 60))
    columns = np.flatnonzero((letters[..., 1] < 200).any(axis=0)) / scale + 30
    assert (columns[0] + columns[-1]) / 2 == pytest.approx(60, abs=1.5)  # the anchor


def test_a_large_scene_is_painted_at_its_own_size() -> None:
    """Above 40 million pixels lines are not smoothed: the size stays, and memory with it."""
    pytest.importorskip("PIL")
    scene = Scene(width=4000, height=3000, title="", items=[Rect(x=3990, y=2990, width=10, height=10, fill=RED)])
    image = Painter(1).paint(scene)
    assert image.size == (4000, 3000)
    assert image.getpixel((3999, 2999)) == RED


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"^expected pillow for .png and .gif pictures, got .*\.svg\.$"):
        Painter(1)
