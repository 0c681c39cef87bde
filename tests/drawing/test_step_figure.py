"""The picture of one step: what it generates, its proxies, and the mask row of a query."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diagplan.drawing.panels import ACCENT
from diagplan.drawing.pictures import plan_scene, save_picture
from diagplan.drawing.readout import Sight, query, read_out, step_feeds
from diagplan.drawing.scene import Rect
from diagplan.drawing.step_figure import KNOWN, SIGHTS
from diagplan.planner.compiler import compile_plan
from diagplan.planner.masks import step_mask
from diagplan.planner.policy import BUNDLES
from diagplan.planner.schedule import Diagonal, cell_steps
from tests.support.pictured import CASES, SMALL, cells, compiled


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
