"""Modules at their former places: every name is still there, with a warning that says where it is."""

import importlib
import json
import re
import warnings
from importlib import import_module
from pathlib import Path

import pytest

from diagplan.moved import moved

MOVED = {
    "diagplan.runtime": "diagplan.models.loading",
    "diagplan.memory": "diagplan.models.estimates",
    "diagplan.sampling": "diagplan.models.sampling",
    "diagplan.generation": "diagplan.worlds.generation",
    "diagplan.exporting": "diagplan.models.exporting",
    "diagplan.demonstration": "diagplan.study.demonstration",
    "diagplan.world_report": "diagplan.study.world_report",
}
NAMES = [(old, name) for old, new in MOVED.items() for name in import_module(new).__all__]


@pytest.mark.parametrize(("old", "name"), NAMES)
def test_every_name_is_still_there(old: str, name: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"^{old} is now {MOVED[old]}: import {name} from there\.$") as caught:
        value = getattr(import_module(old), name)
    assert value is getattr(import_module(MOVED[old]), name)
    assert caught[0].filename == __file__  # the line to change


def test_a_name_that_is_in_neither() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = import_module("diagplan.runtime").nothing
    with pytest.raises(AttributeError, match=r"module 'diagplan.runtime' has no attribute '__path__'"):
        _ = import_module("diagplan.runtime").__path__


@pytest.mark.parametrize("old", MOVED)
def test_importing_the_module_alone_warns_of_nothing(old: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        importlib.reload(import_module(old))


def test_a_module_of_ones_own() -> None:
    look_up = moved("here", "diagplan.planner.errors")
    with pytest.warns(DeprecationWarning, match=r"^here is now diagplan\.planner\.errors: import SpecError from there"):
        assert look_up("SpecError") is import_module("diagplan.planner.errors").SpecError


def gone() -> list[str]:
    """Public names of 2026-11-23 that cannot be imported from where they were; those of the command line were none."""
    names = json.loads((Path(__file__).parent / "golden" / "names-2026-11-23.json").read_text())
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        for module, public in names.items():
            try:
                there = import_module(module)
            except ModuleNotFoundError:
                found += [f"{module}.{name}" for name in public]
                continue
            found += [f"{module}.{name}" for name in public if not hasattr(there, name)]
    return found


def test_no_name_goes_without_a_line_in_the_changelog() -> None:
    log = (Path(__file__).parents[1] / "CHANGELOG.md").read_text()
    section = log.partition("### Removed")[2].partition("\n### ")[0]
    listed = {
        f"diagplan.{module}.{name}"
        for module, names in re.findall(r"^- `([\w.]+)`: (.*?)(?:;|$)", section, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", names)
    }
    assert set(gone()) == listed
