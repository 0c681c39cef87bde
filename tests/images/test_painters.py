import pytest

from diagplan.adapters.families import FAMILIES
from diagplan.images.painters import PAINTERS, painter_named
from diagplan.planner.errors import SpecError


def test_every_painter_has_a_family_to_load() -> None:
    for name, painter in PAINTERS.items():
        assert painter.name == name
        assert painter.family in FAMILIES.names()
        assert painter_named(name) is painter


def test_two_branches_need_the_scale_alone() -> None:
    assert PAINTERS["emu3"].weights(3.0, 2) == 3.0
    assert PAINTERS["chameleon"].weights(3.0, 3) == (3.0, 1.2 - 3.0, 1 - 1.2)


def test_there_are_no_others() -> None:
    with pytest.raises(SpecError, match="expected a painter out of janus-pro, emu3"):
        painter_named("sdxl")
