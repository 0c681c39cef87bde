"""The pictures, read back: pixels from the PNG and GIF, rectangles from the SVG."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFont

from diagplan.drawing.colours import hex_code, ramp
from diagplan.drawing.panels import ACCENT, MISSING
from diagplan.drawing.pictures import GIF_FRAMES, PNG_SCALE, plan_scene, save_picture
from diagplan.drawing.readout import Sight, query, read_out, step_feeds
from diagplan.drawing.scene import Cells, Rect, Scene, Text
from diagplan.drawing.step_figure import KNOWN, SIGHTS
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import DocumentError, MissingExtraError, SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.masks import step_mask
from diagplan.planner.plan import Plan
from diagplan.planner.policy import BUNDLES, Policies
from diagplan.planner.schedule import Diagonal, Imported, NextToken, Schedule, ZipAR, cell_steps
from tests.support.damage import damaged_plans

COSMOS = Layout(frames=3, rows=40, cols=64, prompt_frames=2)
CASES: dict[str, tuple[Layout, Schedule]] = {
    "cosmos": (COSMOS, Diagonal(k=2, d=10)),
    "mc-ar": (Layout(frames=15, rows=14, cols=24, prompt_frames=1, between_frames=11), Diagonal(k=2)),
    "tiny": (Layout(frames=1, rows=4, cols=4, lead=1), Diagonal(k=1)),
    "overlap": (Layout(frames=4, rows=6, cols=8, prompt_frames=1, lead=1, between_frames=2), Diagonal(k=2, d=3)),
    "end-of-line": (Layout(frames=1, rows=48, cols=48, lead=64, between_rows=1), Diagonal(k=3)),
    "one-row": (Layout(frames=2, rows=1, cols=20, lead=1), Diagonal(k=1, d=2)),
    "one-column": (Layout(frames=3, rows=16, cols=1, lead=1), Diagonal(k=1, d=2)),
    "one-cell": (Layout(frames=1, rows=1, cols=1, lead=1), NextToken()),
    "many": (Layout(frames=60, rows=5, cols=7, lead=3, prompt_frames=9, between_frames=1), Diagonal(k=2)),
    "next-token": (Layout(frames=1, rows=32, cols=32, lead=120), NextToken()),
    "zipar": (Layout(frames=1, rows=24, cols=24, lead=1), ZipAR(window=8, variant="llamagen")),
    "crowded": (Layout(frames=1, rows=20, cols=200, lead=1), Diagonal(k=50)),
    "wide": (Layout(frames=2, rows=3, cols=1000, lead=1), Diagonal(k=5, d=5)),
}
SMALL = compile_plan(*CASES["overlap"])


def compiled(name: str) -> Plan:
    return compile_plan(*CASES[name])


def cells(scene: Scene, kind: str) -> Iterator[Cells]:
    for item in scene.items:
        if isinstance(item, Cells) and kind in item.kind.split():
            yield item


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


def test_crowded_lines_are_labelled_sparsely() -> None:
    labels = [item for item in plan_scene(compiled("crowded")).items if isinstance(item, Rect) and item.height == 12]
    assert 1 <= len(labels) < 5
    for a, b in itertools.combinations(labels, 2):
        assert abs(a.y - b.y) > 16 or a.x > b.x + b.width or b.x > a.x + a.width


def test_a_title_says_what_the_plan_saves() -> None:
    words = [item.text for item in plan_scene(compiled("cosmos")).items if isinstance(item, Text)]
    assert words[0] == "3 frames of 40 x 64 tokens in 162 steps instead of 7680"
    assert words[1] == "Diagonal decoding, k=2 d=10: 47.4 times fewer passes than one token at a time"
    assert "given: 2 prompt frames" in words
    assert "Tokens fed in each forward pass: 96 at most, 48.1 on average; the prompt's 5119 not counted" in words


def test_the_bars_are_the_widths_of_the_steps() -> None:
    widths = read_out(SMALL).widths
    bars = [item.height for item in plan_scene(SMALL).items if isinstance(item, Rect) and item.kind == "bar"]
    np.testing.assert_allclose(np.array(bars) / max(bars), widths / widths.max())
    expected = np.bincount(SMALL.feed_steps())
    expected[0] -= SMALL.layout.first_generated - 1
    np.testing.assert_array_equal(widths, expected)


def test_an_order_without_a_front_has_no_lines() -> None:
    order = np.random.default_rng(1).permutation(64 * 64).reshape(64, 64) // 8
    plan = compile_plan(
        Layout(frames=1, rows=64, cols=64, prompt_frames=1),
        Imported(steps=order, label="random"),
        Policies(proxy="prompt"),
    )
    words = [item.text for item in plan_scene(plan).items if isinstance(item, Text)]
    assert not [text for text in words if text.startswith("a line")]
    assert words[1].startswith("Order random: ")


@pytest.mark.parametrize("name", ["overlap", "tiny", "end-of-line", "cosmos"])
def test_a_step_picture_marks_exactly_the_emitted_cells(name: str, tmp_path: Path) -> None:
    plan, steps = compiled(name), cell_steps(CASES[name][1], CASES[name][0])
    for step in (0, plan.steps // 2, plan.steps - 1):
        scene = plan_scene(plan, step=step)
        drawn = list(cells(scene, "does"))[plan.layout.prompt_frames :]
        for grid, frame in zip(drawn, steps, strict=True):
            np.testing.assert_array_equal((grid.colours == ACCENT).all(axis=2), frame == step)
            np.testing.assert_array_equal((grid.colours == KNOWN).all(axis=2), frame < step)
        save_picture(plan, tmp_path / "step.png", step=step)
        image = np.asarray(Image.open(tmp_path / "step.png").convert("RGB"))
        assert (image == ACCENT).all(axis=2).any()


def test_a_step_picture_joins_each_proxy_with_its_place() -> None:
    step = 9
    feeds = step_feeds(read_out(SMALL), step)
    assert len(feeds.which("proxy")) == 1
    scene = plan_scene(SMALL, step=step)
    grids = list(cells(scene, "does"))
    marks = [item for item in scene.items if isinstance(item, Rect) and item.kind == "mark"]
    pitch = grids[0].pitch
    places = {
        (frame, round((mark.y + 1 - grid.y) / pitch), round((mark.x + 1 - grid.x) / pitch))
        for mark in marks
        for frame, grid in enumerate(grids)
        if 0 <= mark.x + 1 - grid.x < 8 * pitch and 0 <= mark.y + 1 - grid.y < 6 * pitch
    }
    assert places == {(0, 2, 7), (2, 2, 7)}  # prompt frame 0 stands in at the same cell of frame 1


@pytest.mark.parametrize("bundle", ["default", "mineworld-video", "zipar-llamagen"])
def test_the_mask_row_in_the_picture_is_the_row_of_the_feed(bundle: str) -> None:
    plan = compile_plan(CASES["overlap"][0], Diagonal(k=2, d=3), BUNDLES[bundle])
    for step in range(plan.steps):
        feeds = step_feeds(read_out(plan), step)
        for feed in (0, len(feeds.source) - 1):
            row = step_mask(plan, step)[feed]  # cache slots are positions
            written = np.zeros(plan.positions, dtype=np.bool_)
            written[plan.position[: plan.step_offsets[step + 1]]] = True
            expected = np.where(row, np.where(written, Sight.SEEN, Sight.ZEROS), np.where(written, Sight.UNSEEN, 0))
            np.testing.assert_array_equal(query(plan, feeds, step, feed).sight, expected)
            scene = plan_scene(plan, step=step, feed=feed)
            slots = plan.layout.cell_slots(prompt=True)
            for grid, frame in zip(cells(scene, "sees"), slots, strict=True):
                colours = np.array([SIGHTS[sight] for sight in Sight])[expected[frame]]
                np.testing.assert_array_equal(grid.colours, colours)


def test_the_order_of_the_cache_slots_does_not_change_what_a_query_sees() -> None:
    layout, schedule = CASES["overlap"]
    for policies in (Policies(), Policies(proxy="latest", proxy_kv="visible"), Policies(row_end="keep")):
        plain = compile_plan(layout, schedule, policies)
        packed = compile_plan(layout, schedule, policies, slots="step-order", pad=(4, 16))
        for step in range(plain.steps):
            a, b = (step_feeds(read_out(plan), step) for plan in (plain, packed))
            for feed in range(len(a.source)):
                row = query(packed, b, step, feed).sight
                np.testing.assert_array_equal(query(plain, a, step, feed).sight, row)


def test_a_slot_that_was_written_over_no_longer_holds_its_position() -> None:
    plan = compile_plan(Layout(frames=1, rows=1, cols=6, lead=1), NextToken())
    reused = replace(plan, slot=np.where(plan.position == 3, 1, plan.slot))  # position 3 takes the slot of position 1
    sight = query(reused, step_feeds(read_out(reused), 4), 4, 0).sight
    assert sight.tolist() == [Sight.SEEN, Sight.UNWRITTEN, *[Sight.SEEN] * 3, Sight.UNWRITTEN, Sight.UNWRITTEN]


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


def test_valid_plans_have_no_problems() -> None:
    for layout, schedule in CASES.values():
        for slots, pad in (("position", None), ("step-order", (8, 64))):
            plan = compile_plan(layout, schedule, slots=slots, pad=pad)  # type: ignore[arg-type]
            assert read_out(plan).problems == ()
            np.testing.assert_array_equal(read_out(plan).steps, cell_steps(schedule, layout))
