"""The drawing call: it holds what was chosen, saves what ``save_picture`` draws, and a notebook shows the same."""

import re
from base64 import b64decode
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import diagplan
from diagplan.drawing.draw import Drawing, draw
from diagplan.drawing.pictures import save_picture
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Diagonal

PLAN = compile_plan(Layout(frames=3, rows=4, cols=5, prompt_frames=1), Diagonal(k=2, d=3))
CHOICES: list[dict[str, Any]] = [{}, {"frames": [2, 0]}, {"step": 4}, {"step": 4, "feed": 1, "frames": [1]}]


@pytest.mark.parametrize("chosen", CHOICES, ids=str)
@pytest.mark.parametrize("ending", ["svg", "png"])
def test_a_drawing_is_saved_as_the_picture_of_what_was_chosen(
    chosen: dict[str, Any], ending: str, tmp_path: Path
) -> None:
    if ending == "png":
        pytest.importorskip("PIL")
    save_picture(PLAN, tmp_path / f"expected.{ending}", **chosen)
    draw(PLAN, **chosen).save(tmp_path / f"drawn.{ending}")
    assert (tmp_path / f"drawn.{ending}").read_bytes() == (tmp_path / f"expected.{ending}").read_bytes()
    draw(PLAN, step=9).save(tmp_path / f"other.{ending}")
    assert (tmp_path / f"other.{ending}").read_bytes() != (tmp_path / f"expected.{ending}").read_bytes()


def test_a_gif_shows_all_steps(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    draw(PLAN).save(tmp_path / "plan.GIF")
    assert (tmp_path / "plan.GIF").read_bytes().startswith(b"GIF89a")


@pytest.mark.parametrize("chosen", CHOICES, ids=str)
def test_the_text_and_what_a_notebook_shows_are_the_file(chosen: dict[str, Any], tmp_path: Path) -> None:
    drawing = draw(PLAN, **chosen)
    drawing.save(tmp_path / "plan.svg")
    saved = (tmp_path / "plan.svg").read_bytes()
    assert drawing.svg() == saved.decode().split("\n", 1)[1]
    html = ET.fromstring(drawing._repr_html_() + "</img>")
    title = ET.fromstring(saved).findtext("{http://www.w3.org/2000/svg}title")
    assert html.get("alt") == title
    address, _, data = html.attrib["src"].partition(",")
    assert (address, b64decode(data)) == ("data:image/svg+xml;base64", saved)


def test_a_drawing_holds_what_was_chosen() -> None:
    drawing = diagplan.draw(PLAN, step=np.int64(4), feed=np.int32(1), frames=np.array([0, 2]))  # type: ignore[arg-type]
    assert drawing == Drawing(plan=PLAN, step=4, feed=1, frames=(0, 2))
    assert type(drawing.step) is int
    with pytest.raises(AttributeError):
        drawing.step = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("plan", "chosen", "words"),
    [
        ("plan.json", {}, "expected a Plan, got plan='plan.json'. compile_plan and read_plan give one;"),
        (PLAN, {"feed": 1}, "expected a step for the feed, got feed=1 and no step. Give step as well."),
        (PLAN, {"step": 99}, "got step=99. The plan has"),
        (PLAN, {"step": "4"}, "expected whole numbers, got step='4'. They count from 0."),
        (PLAN, {"step": 4, "feed": 1.5}, "expected whole numbers, got feed=1.5."),
        (PLAN, {"step": 4, "feed": 99}, "got feed=99, at step 4."),
        (PLAN, {"frames": [3]}, "expected frames from 0 to 2, got frame=3."),
        (PLAN, {"frames": []}, "got none."),
        (PLAN, {"frames": [None]}, "expected whole numbers, got frames=None."),
        (PLAN, {"frames": 2}, "expected a list of frames, got frames=2. Name one as [2]."),
    ],
)
def test_what_cannot_be_drawn_is_refused_at_once(plan: Any, chosen: dict[str, Any], words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        draw(plan, **chosen)


def test_a_plan_too_large_for_a_picture_is_refused_at_once() -> None:
    large = compile_plan(Layout(frames=1, rows=3000, cols=2, lead=1), Diagonal(k=1))
    with pytest.raises(SpecError, match="expected a plan that fits one picture"):
        draw(large)


@pytest.mark.parametrize(
    ("name", "chosen", "words"),
    [
        ("plan.jpg", {}, "expected a path in .png, .svg or .gif, got path="),
        ("plan", {}, "Change its ending."),
        ("plan.gif", {"step": 4}, "expected no step for a .gif"),
    ],
)
def test_other_endings_are_refused(name: str, chosen: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        draw(PLAN, **chosen).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match="expected to write a file"):
        draw(PLAN).save(tmp_path / "missing" / "plan.svg")
