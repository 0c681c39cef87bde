"""Clips to study, as files and as tokens."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.study import CLIP

if TYPE_CHECKING:
    from diagplan.study.material import Material
    from diagplan.worlds import World


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled clip under two names, once with its actions turned round."""
    folder = tmp_path_factory.mktemp("clips")
    lines = CLIP.with_suffix(".jsonl").read_text().splitlines()
    for name, actions in (("a", lines), ("b", lines[::-1])):
        shutil.copy(CLIP, folder / f"{name}.mp4")
        (folder / f"{name}.jsonl").write_text("\n".join(actions))
    return folder


@pytest.fixture(scope="module")
def material(world: "World", clips: Path) -> "Material":
    """Both clips, one frame given."""
    from diagplan.evaluation.clips import rule_for
    from diagplan.study.material import read_material

    return read_material(world, clips, rule_for("context", context=8, count=2), seed=0)
