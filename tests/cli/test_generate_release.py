"""`diagplan generate` from the files of a MineWorld release."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan.video.files import read_video  # noqa: E402
from diagplan.worlds import SHIPPED  # noqa: E402
from tests.support.cli import run  # noqa: E402
from tests.support.mc_ar_release import write_release  # noqa: E402


def test_release_files_generate_too(tmp_path: Path) -> None:
    """A .ckpt, a config, a tokenizer's folder, actions as VPT records them."""
    files = write_release(tmp_path)
    options = ("--model", "mc-ar", "--weights", files / "tiny.ckpt", "--tokenizer", files / "vae", "--frames", 2)
    code, _, err = run(
        *("generate", "--video", SHIPPED["crafter-mini"] / "clip.mp4", "--actions", files / "scene.jsonl"),
        *("-o", tmp_path / "out.mp4", *options, "--k", 2, "--config", files / "config.json"),
    )
    assert code == 0, err
    assert "the image tokenizer gives the prompt back with" in err  # its weights are random
    assert read_video(tmp_path / "out.mp4").shape == (3, 224, 384, 3)
