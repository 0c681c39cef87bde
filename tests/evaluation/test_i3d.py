"""The Frechet Video Distance with a stand-in network."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

from diagplan.evaluation.frechet import frechet_distance
from diagplan.evaluation.i3d import I3D, load_i3d, video_distance
from diagplan.planner.errors import DocumentError, SpecError
from tests.support.i3d_stand_in import OtherForm, StandIn, script


@pytest.fixture(scope="module")
def i3d_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of I3D's form: features are the mean colours of the first and the last frame."""
    return script(StandIn(), tmp_path_factory.mktemp("i3d") / "i3d.pt")


def test_frames_are_scaled_and_brought_to_one() -> None:
    import torch

    video = torch.zeros(1, 2, 8, 12, 3, dtype=torch.uint8)
    video[0, 1] = 255
    video[0, 0, :, :, 2] = 51
    pixels = I3D.pixels(video)
    assert pixels.shape == (1, 3, 2, 224, 224)
    assert pixels[0, :, 0, 0, 0].tolist() == pytest.approx([-1, -1, -0.6])
    np.testing.assert_allclose(pixels[0, :, 1], 1, atol=1e-5)


def test_the_distance_of_videos_is_that_of_their_features(i3d_file: Path) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (6, 2, 3), dtype=np.uint8)
    videos = np.zeros((6, 9, 16, 20, 3), np.uint8)
    videos[:, 0], videos[:, -1] = levels[:, 0, None, None], levels[:, 1, None, None]
    others = 255 - videos
    network = load_i3d(i3d_file)
    features = levels.reshape(6, 6) / 127.5 - 1
    np.testing.assert_allclose(network.features(videos), features, atol=1e-5)
    expected = frechet_distance(features, -features)
    assert expected > 0.1
    assert video_distance(network, videos, others, batch=4) == pytest.approx(expected, abs=1e-3)
    assert len(network.digest) == 64


def test_what_i3d_cannot_take(i3d_file: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DocumentError, match=r"weights needed: .*none\.pt\. The file that papers use is i3d_torchscript"
    ):
        load_i3d(tmp_path / "none.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(DocumentError, match="expected a TorchScript file of I3D"):
        load_i3d(tmp_path / "text.pt")
    with pytest.raises(SpecError, match="at least 9 frames for the Frechet Video Distance, got 8"):
        load_i3d(i3d_file).features(np.zeros((2, 8, 16, 16, 3), np.uint8))
    wrong: Any = np.zeros((2, 9, 16, 16, 3))
    with pytest.raises(SpecError, match="expected videos uint8"):
        load_i3d(i3d_file).features(wrong)
    script(OtherForm(), tmp_path / "other.pt")
    with pytest.raises(DocumentError, match="cannot be run on videos"):
        load_i3d(tmp_path / "other.pt").features(np.zeros((2, 9, 16, 16, 3), np.uint8))
