"""VBench with a stand-in package."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from diagplan.evaluation.vbench import DIMENSIONS, require_weights, vbench_scores
from diagplan.planner.errors import DocumentError, MissingExtraError


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
