"""The Frechet distance against closed forms; FVD with a stand-in network; VBench with a stand-in package."""

import json
import re
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from diagplan.evaluation.frechet import (
    Gaussian,
    fit_gaussian,
    frechet_distance,
    frechet_gaussians,
    frechet_tokenizer,
    latent_features,
)
from diagplan.evaluation.vbench import DIMENSIONS, require_weights, vbench_scores
from diagplan.planner.errors import DocumentError, MissingExtraError, SpecError

RANDOM = np.random.default_rng(0)


def covariance(width: int, seed: int) -> Any:
    a = np.random.default_rng(seed).normal(size=(width, width))
    return a @ a.T


def test_shifted_means() -> None:
    c = covariance(5, 0)
    shift = np.arange(5.0)
    assert frechet_gaussians(Gaussian(np.zeros(5), c), Gaussian(shift, c)) == pytest.approx(float(shift @ shift))


def test_scaled_covariances() -> None:
    """tr(C + s² C - 2 s C) = (1 - s)² tr C."""
    c, s = covariance(4, 1), 3.0
    found = frechet_gaussians(Gaussian(np.zeros(4), c), Gaussian(np.zeros(4), s**2 * c))
    assert found == pytest.approx((1 - s) ** 2 * float(np.trace(c)))


def test_commuting_covariances() -> None:
    """Of one basis: the squared distance of the deviations along it."""
    basis, _ = np.linalg.qr(RANDOM.normal(size=(6, 6)))
    a, b = RANDOM.uniform(0, 4, 6), RANDOM.uniform(0, 4, 6)
    a[0] = 0  # singular
    one, other = (Gaussian(np.zeros(6), (basis * values) @ basis.T) for values in (a, b))
    assert frechet_gaussians(one, other) == pytest.approx(float(((np.sqrt(a) - np.sqrt(b)) ** 2).sum()))


def test_any_covariances_are_those_of_scipy() -> None:
    linalg = pytest.importorskip("scipy.linalg")
    a, b = covariance(7, 2), covariance(7, 3)
    expected = np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    found = frechet_gaussians(Gaussian(np.zeros(7), a), Gaussian(np.zeros(7), b))
    assert found == pytest.approx(expected)
    assert found == pytest.approx(frechet_gaussians(Gaussian(np.zeros(7), b), Gaussian(np.zeros(7), a)))


def test_samples_of_one_dimension() -> None:
    a, b = np.array([[0.0], [2.0]]), np.array([[1.0], [7.0]])  # variances 2 and 18 by N - 1
    assert frechet_distance(a, b) == pytest.approx(9 + (18**0.5 - 2**0.5) ** 2)


def test_fewer_samples_than_width() -> None:
    samples = RANDOM.normal(size=(5, 40))
    assert frechet_distance(samples, samples) == pytest.approx(0, abs=1e-6)
    assert frechet_distance(samples, samples + 1) == pytest.approx(40)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (np.zeros((1, 3)), "at least 2 samples"),
        (np.zeros(3), "[samples, width]"),
        (np.array([[0.0], [np.nan]]), "finite"),
        (np.zeros((3, 4)), "one width, got 4 and 2"),
    ],
)
def test_what_has_no_distance(features: Any, said: str) -> None:
    with pytest.raises(SpecError, match=re.escape(said)):
        frechet_distance(features, np.zeros((2, 2)))


def test_tokenizer_features_are_means_and_deviations_over_cells() -> None:
    latents = np.zeros((2, 3, 2, 2))
    latents[1, 0] = [[1, 3], [1, 3]]
    assert latent_features(latents).tolist() == [[0] * 6, [2, 0, 0, 1, 0, 0]]
    others = RANDOM.normal(size=(9, 3, 2, 2))
    assert frechet_tokenizer(others, others) == pytest.approx(0, abs=1e-9)
    assert frechet_tokenizer(others + 2, others) == pytest.approx(12)
    assert fit_gaussian(latent_features(others)).mean.shape == (6,)
    with pytest.raises(SpecError, match="expected latents"):
        latent_features(np.zeros((2, 3)))


# FVD


@pytest.fixture(scope="module")
def i3d_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of I3D's form: features are the mean colours of the first and the last frame."""
    pytest.importorskip("torch")
    from tests.support.i3d_stand_in import StandIn

    return script(StandIn(), tmp_path_factory.mktemp("i3d") / "i3d.pt")


def script(module: Any, path: Path) -> Path:
    import torch

    with warnings.catch_warnings():  # the published file is TorchScript, whatever torch calls it now
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(module).save(str(path))
    return path


def test_frames_are_scaled_and_brought_to_one() -> None:
    torch = pytest.importorskip("torch")
    from diagplan.evaluation.i3d import I3D

    video = torch.zeros(1, 2, 8, 12, 3, dtype=torch.uint8)
    video[0, 1] = 255
    video[0, 0, :, :, 2] = 51
    pixels = I3D.pixels(video)
    assert pixels.shape == (1, 3, 2, 224, 224)
    assert pixels[0, :, 0, 0, 0].tolist() == pytest.approx([-1, -1, -0.6])
    np.testing.assert_allclose(pixels[0, :, 1], 1, atol=1e-5)


def test_the_distance_of_videos_is_that_of_their_features(i3d_file: Path) -> None:
    from diagplan.evaluation.i3d import load_i3d, video_distance

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
    pytest.importorskip("torch")
    from diagplan.evaluation.i3d import load_i3d
    from tests.support.i3d_stand_in import OtherForm

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


# VBench


def weights(folder: Path) -> Path:
    for name in ("facebookresearch_dino_main/hubconf.py", "checkpoints/dino_vitbase16_pretrain.pth"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    for name in ("musiq_spaq_ckpt-358bb6af.pth", "raft-things.pth"):
        (folder / name).touch()
    return folder


def test_vbench_says_which_file_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DocumentError, match=r"weights needed: .*hubconf.py, for VBench's subject_consistency"):
        require_weights(tmp_path)
    monkeypatch.setitem(sys.modules, "vbench", None)
    with pytest.raises(MissingExtraError, match="pip install vbench"):
        require_weights(weights(tmp_path))


def test_vbench_is_given_the_users_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    folder, seen = weights(tmp_path / "w"), {}
    before = torch.hub.get_dir()
    for number, dimension in enumerate(DIMENSIONS):
        module = ModuleType(f"vbench.{dimension}")

        def compute(about: str, device: str, submodules: Any, key: str = dimension, score: float = number) -> Any:
            assert torch.hub.get_dir() == str(folder)  # where DINO's weights are looked for
            seen[key] = (json.loads(Path(about).read_text()), device, submodules)
            return score, []

        setattr(module, f"compute_{dimension}", compute)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, "vbench", ModuleType("vbench"))
    scores = vbench_scores([tmp_path / "a.mp4"], folder, device="cpu")
    assert scores == {"subject_consistency": 0, "imaging_quality": 1, "dynamic_degree": 2}
    assert torch.hub.get_dir() == before
    about, device, submodules = seen["dynamic_degree"]
    assert device == "cpu"
    assert about == [{"prompt_en": "a", "dimension": list(DIMENSIONS), "video_list": [str(tmp_path / "a.mp4")]}]
    assert submodules == {"model": str(folder / "raft-things.pth")}
    assert seen["subject_consistency"][2]["source"] == "local"
