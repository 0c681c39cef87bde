"""Files that several tests of the command line begin with."""

from pathlib import Path
from typing import Any

import pytest

from diagplan import Diagonal, Layout, compile_plan, write_plan
from tests.support.cli import TINY, run, run_json
from tests.support.kept import made_once
from tests.support.shallow import shallow_folder


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A plan of six steps."""
    path = tmp_path / "tiny.json"
    assert run("compile", *TINY, "-o", path)[0] == 0
    return path


@pytest.fixture(scope="session")
def recorded() -> Path:
    """A recording, ``clips``, and a tokenizer of four codes, ``tokenizer``, by commands; never to be changed."""
    for needed in ("torch", "av", "diffusers", "matplotlib", "crafter"):
        pytest.importorskip(needed)

    def make(folder: Path) -> None:
        size = ("--rows", 6, "--cols", 6, "--frames", 4, "--train", 2, "--validation", 1, "--test", 0, "--workers", 1)
        assert run("record", "-o", folder / "clips", *size, "--json")[0] == 0
        few = ("--steps", 3, "--batch", 2, "--whole-steps", 1, "--codes", 4)
        assert run("train", "tokenizer", "--clips", folder / "clips", "-o", folder / "tokenizer", *few)[0] == 0

    return made_once("recorded", make)


@pytest.fixture(scope="session")
def exported() -> Path:
    """The quick world on ONNX Runtime; never to be changed. docs/onnx.md exports the shipped one."""
    for needed in ("torch", "onnxscript", "diffusers", "av"):
        pytest.importorskip(needed)
    said: dict[str, Any] = {}

    def export(folder: Path) -> None:
        said.update(run_json("export-onnx", "--model", shallow_folder(), "-o", folder))

    folder = made_once("exported", export)
    if not said:  # another process of this run has exported it, and looked
        return folder
    assert (said["family"], said["dtype"], said["opset"]) == ("mc-ar", "float32", 23)
    assert said["largest_logit_difference"] < 1e-4 * said["largest_logit"]
    assert {path: (folder / path).stat().st_size for path in said["files"]} == said["files"]
    names = [f"tokenizer/{half}.onnx{end}" for half in ("decoder", "encoder") for end in ("", ".data")]
    assert sorted(said["files"]) == ["model.onnx", "model.onnx.data", *names, "world.json"]
    return folder


@pytest.fixture(scope="session")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of two frames of the shipped world, and of the quick one."""
    path = tmp_path_factory.mktemp("plan") / "plan.json"
    write_plan(compile_plan(Layout(frames=2, rows=9, cols=12, prompt_frames=1, between_frames=3), Diagonal(k=2)), path)
    return path
