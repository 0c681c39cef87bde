"""Whether an image tokenizer knows the pictures that it is given."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan.evaluation.pictures import psnr  # noqa: E402
from diagplan.video.files import read_video  # noqa: E402
from diagplan.worlds import SHIPPED, World, load_world  # noqa: E402
from diagplan.worlds.prompts import PromptCheck, check_prompt, cut_frames  # noqa: E402
from tests.support.cosmos_world import cosmos_world, write_cosmos_world  # noqa: E402

CLIP = SHIPPED["crafter-mini"] / "clip.mp4"


@pytest.fixture(scope="module")
def lazy() -> World:
    return load_world("crafter-mini", lazy=True)


def test_every_frame_of_its_own_game_is_known(lazy: World) -> None:
    frames = read_video(CLIP)
    for frame in frames:
        found = check_prompt(lazy, [frame])
        assert not found.unlike
        assert found.psnr > 33
    together = check_prompt(lazy, frames[:3])
    assert together.psnr == pytest.approx(psnr(frames[:3], lazy.tokenizer.decode(lazy.encode(frames[:3]))))
    assert (together.height, together.width, together.cut, together.least) == (144, 192, False, 25)


def test_pictures_of_another_kind_are_unlike(lazy: World) -> None:
    ramp = np.broadcast_to(np.linspace(0, 255, 192)[None, :, None], (144, 192, 3)).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (144, 192, 3), dtype=np.uint8)
    for picture in (ramp, noise):
        found = check_prompt(lazy, [picture])
        assert found.unlike
        assert found.psnr < 15


def test_frames_are_compared_as_they_are_cut(lazy: World) -> None:
    frame = read_video(CLIP, limit=1)[0]
    wide = np.concatenate([np.zeros((144, 40, 3), np.uint8), frame, np.zeros((144, 40, 3), np.uint8)], axis=1)
    found = check_prompt(lazy, [wide])
    assert (found.height, found.width, found.cut) == (144, 272, True)
    assert found.psnr == check_prompt(lazy, [frame]).psnr
    np.testing.assert_array_equal(cut_frames(lazy, [wide]), frame[None])


def test_clips_are_told_and_not_judged(tmp_path: Path) -> None:
    world = cosmos_world(write_cosmos_world(tmp_path), lazy=True)
    found = check_prompt(world, list(read_video(tmp_path / "video.mp4", limit=9)))
    assert 0 < found.psnr < 40
    assert not found.unlike
    assert found.least is None


def test_what_is_given_back_exactly_is_no_number_of_json() -> None:
    exact = PromptCheck(height=1, width=1, cut=False, psnr=float("inf"), least=25.0)
    assert not exact.unlike
    assert exact.finite_psnr is None
    assert exact._replace(psnr=24.994).finite_psnr == 24.99
    assert exact._replace(psnr=24.994).unlike
