"""What is not installed is said at once, all of it, before a folder is made."""

import subprocess
import sys
from pathlib import Path

import pytest

from diagplan.backends.onnx_files import GRAPH
from diagplan.cli.shared.extras import require_for
from diagplan.planner.errors import SpecError

HIDE = """
import importlib.machinery
real = importlib.machinery.PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name in {hidden!r} else real(name, path, target)
importlib.machinery.PathFinder.find_spec = staticmethod(find_spec)
from diagplan.cli import app
app({arguments!r})
"""


def without(hidden: set[str], *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    code = HIDE.format(hidden=hidden, arguments=[str(argument) for argument in arguments])
    return subprocess.run([sys.executable, "-c", code], cwd=cwd, capture_output=True, text=True, check=False)


def test_the_files_say_which_backend_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr("diagplan.cli.shared.extras.require_packages", lambda *names: asked.append(names))
    (tmp_path / GRAPH).touch()
    require_for("videos", tmp_path, "torch", "av")
    require_for("videos", tmp_path / "nothing", "torch", "av")
    assert asked == [("videos", "onnx", "onnxruntime", "av"), ("videos", "torch", "safetensors", "av")]
    with pytest.raises(SpecError, match="expected backend to be one of torch, onnx"):
        require_for("videos", tmp_path, "tpu")


@pytest.mark.parametrize(
    ("command", "purpose", "wanted"),
    [
        (("demo",), "PyTorch and av for the demonstration", "torch,video"),
        (("record",), "av for recording", "video"),
        (("evaluate", "study", "--clips", "x"), "PyTorch and av for a study", "torch,video"),
        (("evaluate", "world", "--clips", "x"), "PyTorch and av for a report", "torch,video"),
        (("train", "tokenizer", "--clips", "x"), "PyTorch and av for training", "torch,video"),
        (("train", "model", "--clips", "x", "--tokenizer", "y"), "PyTorch and av for training", "torch,video"),
        (("finetune", "--clips", "x", "--k", "2"), "PyTorch and av for fine-tuning", "torch,video"),
        (("generate", "--video", "x", "--frames-dir", "frames"), "PyTorch and av for videos", "torch,video"),
        (("generate", "--video", "x", "--backend", "onnx"), "av for videos", "video"),
        (("run", "x", "--weights", "y"), "PyTorch for replay", "torch"),
        (("export-onnx", "--model", "crafter-mini"), "PyTorch for export", "torch"),
        (("convert-weights", "x"), "PyTorch for checkpoints", "torch"),
    ],
)
def test_nothing_is_made_where_extras_are_missing(
    command: tuple[str, ...], purpose: str, wanted: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = without({"torch", "av"}, *command, "-o", out, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert done.stderr == (
        f"diagplan: expected {purpose}, got none. Install {'them' if ' and ' in purpose else 'it'}: pip install "
        f"'diagplan[{wanted}]'; in a clone of the repository: pip install -e '.[{wanted}]'.\n"
    )
    assert not list(tmp_path.iterdir())
