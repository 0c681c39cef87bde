"""Worlds whose image tokenizer works frame by frame: layouts, windows, tokens and back."""

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan.planner.errors import SpecError  # noqa: E402
from diagplan.planner.layout import Layout  # noqa: E402
from diagplan.video.files import read_video  # noqa: E402
from diagplan.worlds import SHIPPED, load_world  # noqa: E402
from diagplan.worlds.frame_world import LEAST_PSNR, FrameWorld  # noqa: E402

CLIP = SHIPPED["crafter-mini"] / "clip.mp4"


@pytest.fixture(scope="module")
def frame_world() -> FrameWorld:
    world = load_world("crafter-mini", lazy=True)
    assert isinstance(world, FrameWorld)
    return world


def test_layouts_and_windows(frame_world: FrameWorld) -> None:
    layout = Layout(frames=3, rows=9, cols=12, prompt_frames=2, between_frames=3)
    assert frame_world.layout(3, 2) == layout
    assert frame_world.fits(layout)
    assert frame_world.fits(frame_world.example())
    assert frame_world.window(5) == frame_world.layout(3, 5)
    for other in ({"rows": 8}, {"between_frames": 0}, {"frames": 7}, {"prompt_frames": 0, "lead": 1}):
        assert not frame_world.fits(replace(layout, **other))
    assert [frame_world.pictures(n) for n in (1, 5)] == [1, 5]


def test_numbers_that_no_context_holds(frame_world: FrameWorld) -> None:
    with pytest.raises(SpecError, match=r"at most 8 frames, prompt included, got 2 \+ 7.*--frames 6; or .*--keep"):
        frame_world.layout(7, 2)
    for keep in (0, 8):
        with pytest.raises(SpecError, match=f"expected to keep 1 to 7 of 8 frames, got keep={keep}"):
            frame_world.window(keep)


def test_tokens_and_back(frame_world: FrameWorld) -> None:
    frames = read_video(CLIP, limit=2)
    tokens = frame_world.encode(frames)
    assert tokens.shape == (2, 9, 12)
    pictures = frame_world.reconstruct(frames)
    np.testing.assert_array_equal(pictures, frame_world.tokenizer.decode(tokens))
    decode = frame_world.decoding(tokens)
    np.testing.assert_array_equal(decode(tokens[1]), frame_world.tokenizer.decode(tokens[1:]))
    assert frame_world.least_psnr == LEAST_PSNR


def test_given_ids_lie_between_the_cells(frame_world: FrameWorld) -> None:
    layout, actions = frame_world.layout(1, 1), np.array([[256, 257, 258]])
    tokens = np.arange(108).reshape(1, 9, 12)
    np.testing.assert_array_equal(frame_world.given(layout, tokens, actions), [[*range(108), 256, 257, 258]])


def test_no_text_is_read(frame_world: FrameWorld) -> None:
    assert not frame_world.reads_text
    frame_world.require_text()
    with pytest.raises(SpecError, match="expected no text: crafter-mini reads none"):
        frame_world.with_text(np.zeros((1, 2)))
