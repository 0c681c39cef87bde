"""Frames cut to size, captions, sheets, and their files."""

import io
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

image_module = pytest.importorskip("PIL.Image")

from diagplan.planner.errors import MissingExtraError, SpecError  # noqa: E402
from diagplan.video.frames import caption, fit, gif, png, sheet  # noqa: E402


def noise(height: int, width: int, *, seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_a_frame_of_the_size_stays_as_it_is() -> None:
    frame = noise(20, 30)
    assert fit(frame, 20, 30) is frame


@pytest.mark.parametrize("size", [(40, 60), (10, 80), (33, 7), (1, 1)])
def test_a_frame_is_scaled_until_it_covers_and_its_middle_is_cut_out(size: tuple[int, int]) -> None:
    """Left half red, right half green, upper half blue: what is cut off is the same on both sides."""
    frame = np.zeros((50, 80, 3), np.uint8)
    frame[:, :40, 0] = frame[:, 40:, 1] = frame[:25, :, 2] = 255
    cut = fit(frame, *size)
    assert cut.shape == (*size, 3)
    assert cut.dtype == np.uint8
    if min(size) > 1:
        assert cut[:, 0, 0].min() > 200
        assert cut[:, -1, 1].min() > 200
        assert abs(int(np.count_nonzero(cut[0, :, 0] > cut[0, :, 1])) - size[1] / 2) <= 1
        assert abs(int(np.count_nonzero(cut[:, 0, 2] > 127)) - size[0] / 2) <= 1


def test_scaling_keeps_a_flat_colour() -> None:
    flat = np.full((33, 47, 3), 93, np.uint8)
    assert set(fit(flat, 20, 90).ravel().tolist()) == {93}


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 4), (0, 30, 3), (1, 20, 30, 3)])
def test_what_is_no_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(SpecError, match=r"expected a frame \[height, width, 3\], got"):
        fit(np.zeros(shape, np.uint8), 10, 10)


def ink(strip: Any) -> Any:
    """Columns with letters."""
    return np.flatnonzero((strip.astype(int).sum(axis=2) < 500).any(axis=0))


def test_a_caption_is_as_large_as_fits() -> None:
    empty, short, long = (caption(text, 120, 30) for text in ("", "k=2", "next-token prediction, 756 passes"))
    assert short.shape == long.shape == (30, 120, 3)
    assert not len(ink(empty))
    assert ink(short)[0] < 10
    assert ink(long)[-1] < 119
    rows = [int(np.count_nonzero((strip.astype(int).sum(axis=2) < 500).any(axis=1))) for strip in (short, long)]
    assert rows[0] > rows[1]
    middle = ink(caption("k=2", 120, 30, align="middle"))
    assert (middle[0] + middle[-1]) / 2 == pytest.approx(59.5, abs=2)


@pytest.mark.parametrize("zoom", [1, 3])
def test_a_sheet_has_every_frame_in_its_place(zoom: int) -> None:
    rows = [(name, [noise(12, 40, seed=10 * row + col) for col in range(3)]) for row, name in enumerate(("a\nb", "c"))]
    page = sheet(rows, head=["prompt", "1: noop", "2: do"], zoom=zoom, label=50)
    height, width = 12 * zoom, 40 * zoom
    assert page.shape == (24 + 2 * (height + 4), 50 + 3 * (width + 4), 3)
    for row, (_, frames) in enumerate(rows):
        for col, frame in enumerate(frames):
            top, left = 24 + row * (height + 4), 50 + col * (width + 4)
            np.testing.assert_array_equal(page[top : top + height : zoom, left : left + width : zoom], frame)
    assert len(ink(page[2:22, 50 : 50 + width]))


@pytest.mark.parametrize(
    ("lengths", "columns"), [([], 2), ([2, 3], 2), ([2, 2], 3)], ids=["no rows", "two lengths", "other heads"]
)
def test_rows_that_are_no_sheet(lengths: list[int], columns: int) -> None:
    rows = [("a", [noise(4, 4)] * length) for length in lengths]
    with pytest.raises(SpecError, match="expected rows of one length"):
        sheet(rows, head=["h"] * columns)


def test_a_png_gives_the_frame_back() -> None:
    frame = noise(9, 14)
    data = png(frame[:, ::2])  # not contiguous
    np.testing.assert_array_equal(np.asarray(image_module.open(io.BytesIO(data)).convert("RGB")), frame[:, ::2])


def test_a_gif_shows_the_frames_without_end() -> None:
    frames = [np.full((8, 8, 3), level, np.uint8) for level in (0, 100, 200)]
    with image_module.open(io.BytesIO(gif(frames, 4))) as moving:
        assert (moving.n_frames, moving.info["loop"], moving.info["duration"]) == (3, 0, 250)
        shown = []
        for number in range(3):
            moving.seek(number)
            shown.append(np.asarray(moving.convert("RGB")).mean())
    assert all(a < b for a, b in pairwise(shown))


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    for call in (lambda: png(noise(4, 4)), lambda: gif([noise(4, 4)], 2), lambda: fit(noise(4, 4), 2, 2)):
        with pytest.raises(MissingExtraError, match=r"diagplan\[pictures\]"):
            call()
