"""`diagplan play`: what is refused before anything is loaded or served."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("websockets")

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
