"""`diagplan compare`: both runtimes side by side."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
pytest.importorskip("diffusers")
pytest.importorskip("av")

from diagplan import Diagonal, compile_plan  # noqa: E402
from diagplan.schemas.files import write_plan  # noqa: E402
from tests.support.cli import run  # noqa: E402
from tests.support.shallow import shallow_folder  # noqa: E402

MINI = shallow_folder()
CLIP = ["--video", str(MINI / "clip.mp4"), "--actions", str(MINI / "clip.jsonl")]


def test_compare(exported: Path, plan: Path) -> None:
    code, out, err = run("compare", plan, "--weights", MINI, "--onnx", exported, "--threads", "1")
    assert code == 0, out + err
    assert "the same tokens; logits differ by" in out
    code, out, _ = run("compare", plan, "--weights", MINI, "--onnx", exported, "--top-k", "20", "--json")
    said = json.loads(out)
    assert (code, said["same"], said["tokens"], said["different"]) == (0, True, 216, 0)
    assert said["largest_logit_difference"] < 1e-3
    assert set(said["seconds"]) == {"torch", "onnx"}


def test_compare_wants_the_same_weights_and_whole_prompts(exported: Path, plan: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = Path(shutil.copytree(MINI, tmp_path / "other"))
    weights = load_file(other / "model.safetensors")
    weights["model.norm.weight"] *= 1.5
    save_file(weights, other / "model.safetensors")
    code, _, err = run("compare", plan, "--weights", other, "--onnx", exported)
    assert code == 1
    assert "got one of other weights. Export it anew" in err
    blocks = tmp_path / "actions.npy"
    np.save(blocks, np.zeros((2, 3), int))
    code, _, err = run("compare", plan, "--weights", MINI, "--onnx", exported, "--actions", blocks)
    assert code == 1
    assert "expected a prompt (and actions) or all given ids" in err


def test_a_plan_of_another_grid(exported: Path, tmp_path: Path) -> None:
    from diagplan import Layout

    other = tmp_path / "other.json"
    write_plan(compile_plan(Layout(frames=1, rows=8, cols=12, prompt_frames=1, between_frames=3), Diagonal(k=2)), other)
    code, _, err = run("compare", other, "--weights", MINI, "--onnx", exported)
    assert code == 1
    assert "expected a plan of 9 x 12 tokens a frame and 3 between frames" in err
