"""`diagplan play`: what is refused before anything is loaded or served."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

from diagplan import Diagonal, Layout, compile_plan, write_plan
from diagplan.cli.shared.requests import layout_from_options
from tests.support.cli import run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--host", "0.0.0.0"], "expected a token with --host 0.0.0.0"),
        (["--host", "0.0.0.0", "--token", "short"], "expected a token of 16 letters"),
        (["--k", "one"], "expected row delays with commas, such as 1,2,4, got --k one"),
        (["--k", "0"], "expected row delays with commas"),
        (["--at", "9999"], "expected a frame from 0 to"),
        (["--keep", "8"], "expected to keep 1 to 7 of 8 frames"),
        (["--model", "nowhere"], "nowhere"),
    ],
)
def test_what_is_refused(arguments: list[str], message: str) -> None:
    code, out, err = run("play", "--no-open", *arguments)
    assert (code in (1, 2), out) == (True, "")
    assert message in " ".join(err.split())


def test_frames_that_are_not_there(tmp_path: Path) -> None:
    code, _, err = run("play", "--no-open", "--start", tmp_path)
    assert code == 1
    assert "expected videos in" in err


def test_plan_files_that_do_not_fit(tmp_path: Path) -> None:
    layout = Layout(frames=2, rows=3, cols=4, prompt_frames=1)
    write_plan(compile_plan(layout, Diagonal(k=1)), tmp_path / "small.json")
    code, _, err = run("play", "--no-open", "--plan", tmp_path / "small.json")
    assert code == 1
    assert "expected a plan for crafter-mini's layout" in " ".join(err.split())
    code, _, err = run("play", "--no-open", "--plan", tmp_path / "none.json")
    assert code == 1
    assert "none.json" in err
    overlapping = compile_plan(layout_from_options("crafter-mini"), Diagonal(k=1, d=4))
    write_plan(overlapping, tmp_path / "wave.json")
    code, _, err = run("play", "--no-open", "--plan", tmp_path / "wave.json")
    assert code == 2
    assert "expected frames one after the other" in " ".join(err.split())
