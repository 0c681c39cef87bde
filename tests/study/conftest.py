"""A world and clips to study, as files and as tokens."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.clips import write_two_clips

if TYPE_CHECKING:
    from diagplan.study.material import Material
    from diagplan.worlds import World


@pytest.fixture(scope="module")
def world() -> "World":
    """A quick one: what a study does with a model does not depend on how good it is."""
    from diagplan.worlds import load_world
    from tests.support.shallow import shallow_folder

    return load_world(str(shallow_folder()))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled clip under two names, once with its actions turned round."""
    return write_two_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def material(world: "World", clips: Path) -> "Material":
    """Both clips, one frame given."""
    from diagplan.evaluation.clips import rule_for
    from diagplan.study.material import read_material

    return read_material(world, clips, rule_for("context", context=8, count=2), seed=0)
