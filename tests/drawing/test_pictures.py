"""The pictures, read back: pixels from the PNG and GIF, rectangles from the SVG."""

import itertools
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFont

from diagplan.drawing.colours import hex_code, ramp
from diagplan.drawing.panels import ACCENT, MISSING
from diagplan.drawing.pictures import GIF_FRAMES, PNG_SCALE, plan_scene, save_picture
from diagplan.drawing.readout import read_out, step_feeds
from diagplan.drawing.scene import Cells, Rect, Scene, Text
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import DocumentError, MissingExtraError, SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Diagonal, cell_steps
from tests.support.damage import damaged_plans
from tests.support.pictured import CASES, SMALL, cells, compiled


def sampled(image: NDArray[np.uint8], grid: Cells, scale: int) -> NDArray[np.uint8]:
    """The pixel of every cell near its upper left corner, clear of numbers and lines."""
    rows, cols = grid.colours.shape[:2]
    inset = min(2 * scale, grid.pitch * scale // 2)
    y = (grid.y + np.arange(rows) * grid.pitch) * scale + inset
    x = (grid.x + np.arange(cols) * grid.pitch) * scale + inset
    return image[y[:, None], x]


def labelled(scene: Scene, grid: Cells) -> NDArray[np.bool_]:
    """The cells under the label of a wavefront line."""
    rows, cols = grid.colours.shape[:2]
    x, y = grid.x + np.arange(cols) * grid.pitch, grid.y + np.arange(rows) * grid.pitch
    covered = np.zeros((rows, cols), dtype=np.bool_)
    for item in scene.items:
        if isinstance(item, Rect) and item.height == 12:
            across = (x + grid.pitch > item.x) & (x < item.x + item.width)
            covered |= ((y + grid.pitch > item.y) & (y < item.y + item.height))[:, None] & across
    return covered


@pytest.mark.parametrize("name", CASES)
def test_a_png_cell_has_the_colour_of_its_step(name: str, tmp_path: Path) -> None:
    plan, steps = compiled(name), cell_steps(CASES[name][1], CASES[name][0])
    save_picture(plan, tmp_path / "plan.png")
    image = np.asarray(Image.open(tmp_path / "plan.png").convert("RGB"))
    scene = plan_scene(plan)
    assert image.shape == (scene.height * PNG_SCALE, scene.width * PNG_SCALE, 3)
    grids = list(cells(scene, "cells"))
    assert [grid.kind for grid in grids] == [f"cells frame-{frame}" for frame in range(plan.layout.frames)]
    for grid, frame in zip(grids, steps, strict=True):
        free = ~labelled(scene, grid)
        assert free.mean() > 0.5
        np.testing.assert_array_equal(sampled(image, grid, PNG_SCALE)[free], ramp(frame, plan.steps)[free])


@pytest.mark.parametrize("name", CASES)
def test_the_svg_has_one_rectangle_for_each_generated_cell(name: str, tmp_path: Path) -> None:
    plan, steps = compiled(name), cell_steps(CASES[name][1], CASES[name][0])
    save_picture(plan, tmp_path / "plan.svg")
    root = ET.parse(tmp_path / "plan.svg").getroot()
    space = {"svg": "http://www.w3.org/2000/svg"}
    for number, frame in enumerate(steps):
        rects = root.findall(f"svg:g[@class='cells frame-{number}']/svg:rect", space)
        assert [rect.get("fill") for rect in rects] == [hex_code(colour) for colour in ramp(frame.ravel(), plan.steps)]
        assert len({(rect.get("x"), rect.get("y")) for rect in rects}) == frame.size
    assert len(root.findall("svg:g/svg:rect", space)) == plan.layout.tokens


@pytest.mark.parametrize("step", [None, 0, 5])
@pytest.mark.parametrize("name", [name for name in CASES if name != "one-cell"])
def test_no_text_overlaps_another_or_is_cut(name: str, step: int | None) -> None:
    scene = plan_scene(compiled(name), step=step)
    boxes = []
    for item in scene.items:
        if isinstance(item, Text) and item.text:
            font = ImageFont.load_default(item.size * 4)
            length = font.getlength(item.text) / 4
            left = item.x - {"start": 0.0, "middle": length / 2, "end": length}[item.anchor]
            boxes.append((left, item.y - 0.72 * item.size, left + length, item.y + 0.18 * item.size, item.text))
    for left, top, right, bottom, text in boxes:
        assert left >= 0, text
        assert top >= 0, text
        assert right <= scene.width, text
        assert bottom <= scene.height, text
    for a, b in itertools.combinations(boxes, 2):
        assert a[0] >= b[2] or b[0] >= a[2] or a[1] >= b[3] or b[1] >= a[3], (a, b)


def test_the_gif_shows_every_step_and_then_the_whole(tmp_path: Path) -> None:
    save_picture(compiled("tiny"), tmp_path / "tiny.gif")
    with Image.open(tmp_path / "tiny.gif") as image:
        assert getattr(image, "n_frames", 1) == 7 + 1
        grid = next(cells(plan_scene(compiled("tiny")), "cells"))
        steps = cell_steps(Diagonal(k=1), CASES["tiny"][0])[0]
        for step in range(8):
            image.seek(step)
            pixels = sampled(np.asarray(image.convert("RGB")), grid, 1).astype(np.int64)
            now = (np.abs(pixels - ACCENT).max(axis=2) < 12) & (steps == step)
            np.testing.assert_array_equal(now, steps == step)
            known = np.abs(pixels - ramp(steps, 7)).max(axis=2) < 12
            np.testing.assert_array_equal(known, steps < step)
        assert image.info["duration"] >= 2000


def test_a_long_gif_skips_steps_and_stays_small(tmp_path: Path) -> None:
    save_picture(compiled("cosmos"), tmp_path / "cosmos.gif")
    with Image.open(tmp_path / "cosmos.gif") as image:
        assert getattr(image, "n_frames", 1) == GIF_FRAMES
        assert image.convert("RGB").getpixel((3, 3)) == (255, 255, 255)
    assert (tmp_path / "cosmos.gif").stat().st_size < 3_000_000


def test_frames_choose_what_is_drawn() -> None:
    scene = plan_scene(compiled("mc-ar"), frames=[7, 2, 7])
    assert [grid.kind for grid in cells(scene, "cells")] == ["cells frame-2", "cells frame-7"]
    assert "13 of 15 frames not shown" in [item.text for item in scene.items if isinstance(item, Text)]
    scene = plan_scene(compiled("many"), step=40)
    shown = {int(grid.kind.split("-")[-1]) for grid in cells(scene, "cells")}
    assert 0 < len(shown) <= 8
    assert set(np.unique(np.argwhere(read_out(compiled("many")).steps == 40)[:, 0]).tolist()) <= shown


@pytest.mark.parametrize(
    ("name", "asked", "words"),
    [
        ("plan.jpg", {}, "in .png, .svg or .gif, got path="),
        ("plan.gif", {"step": 1}, "expected no step for a .gif"),
        ("plan.png", {"feed": 1}, "expected a step for the feed"),
        ("plan.png", {"step": 27}, "expected a step from 0 to 26, got step=27"),
        ("plan.svg", {"step": 3, "feed": 50}, "got feed=50, at step 3"),
        ("plan.svg", {"frames": [4]}, "expected frames from 0 to 3, got frame=4"),
    ],
)
def test_what_cannot_be_drawn_is_refused(name: str, asked: dict[str, object], words: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=words):
        save_picture(SMALL, tmp_path / name, **asked)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(1000, 16, 16), (1, 10, 5000), (1, 3000, 2), (1, 600, 600)])
def test_a_picture_without_limits_is_refused(shape: tuple[int, int, int]) -> None:
    plan = compile_plan(Layout(frames=shape[0], rows=shape[1], cols=shape[2], lead=1), Diagonal(k=1, d=1))
    with pytest.raises(SpecError, match="Show fewer frames" if shape[0] > 1 else "Use the text view"):
        plan_scene(plan)
    if shape[0] > 1:
        assert plan_scene(plan, frames=range(20)).height < 2000


@pytest.mark.parametrize("ending", ["png", "svg", "gif"])
def test_a_failed_write_leaves_no_file(ending: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in ("missing", "file"):
        with pytest.raises(DocumentError, match="expected to write a file"):
            save_picture(compiled("tiny"), tmp_path / folder / f"plan.{ending}")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_without_pillow_only_svg_is_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    for ending in ("png", "gif"):
        with pytest.raises(MissingExtraError, match=r"pip install 'diagplan\[pictures\]'"):
            save_picture(SMALL, tmp_path / f"plan.{ending}")
    save_picture(SMALL, tmp_path / "plan.svg", step=3)
    assert [path.name for path in tmp_path.iterdir()] == ["plan.svg"]


def test_the_module_does_not_load_pillow() -> None:
    code = "import sys, diagplan.drawing.pictures; sys.exit('PIL' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_damaged_plans_are_drawn_and_called_damaged(tmp_path: Path) -> None:
    for name, plan in damaged_plans(SMALL):
        scene = plan_scene(plan)
        words = " ".join(item.text for item in scene.items if isinstance(item, Text))
        save_picture(plan, tmp_path / "plan.png")
        save_picture(plan, tmp_path / "plan.svg")
        ET.parse(tmp_path / "plan.svg")
        for step in {0, plan.steps // 2, plan.steps - 1} & set(range(plan.steps)):
            for feed in (None, 0) if len(step_feeds(read_out(plan), step).source) else (None,):
                save_picture(plan, tmp_path / "step.svg", step=step, feed=feed)
                ET.parse(tmp_path / "step.svg")
        if name in ("nothing emitted", "all padding", "no steps", "offsets out of order", "target out of range"):
            assert "This plan is damaged" in words, name
        if name == "nothing emitted":
            assert all((grid.colours == MISSING).all() for grid in cells(scene, "cells"))
            assert "192 cells are never generated" in words
        if name == "one token emitted by all":
            assert "191 cells are never generated; 1 cell is generated more than once" in words
