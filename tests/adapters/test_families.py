"""Records of families: what each says is what its own modules say."""

import re
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from diagplan import PRESETS
from diagplan.adapters.families import FAMILIES, family_named, family_of_release
from diagplan.adapters.plugins import resolve
from diagplan.planner.errors import SpecError

NAMES = tuple(FAMILIES.built_in)
CONFIGS = {"mc-ar": "mc_ar", "cosmos": "cosmos_config", "wham": "wham", "llamagen": "llamagen_config"}


def test_records_are_light(tmp_path: Path) -> None:
    """Help and completion read them: no torch, no pydantic."""
    code = (
        "import sys; from diagplan.adapters.families import FAMILIES; FAMILIES.records();"
        "print(*sorted({'torch', 'pydantic', 'diffusers', 'transformers', 'onnxruntime', 'av'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


@pytest.mark.parametrize("name", CONFIGS)
def test_released_configurations_are_those_of_the_adapter(name: str) -> None:
    pytest.importorskip("torch")
    configs: Mapping[str, Any] = import_module(f"diagplan.adapters.{CONFIGS[name]}").CONFIGS
    assert family_named(name).configs == tuple(configs)


@pytest.mark.parametrize("name", NAMES)
def test_presets_and_openers_are_there(name: str) -> None:
    family = family_named(name)
    assert set(family.presets) <= set(PRESETS)
    assert (family.world is not None) == bool(family.releases)  # a model of single pictures opens no world
    if family.world is not None:
        assert callable(resolve(family.world))
    assert family.open is not None
    assert (family.inspection is not None) == (name in CONFIGS)  # the others' files tell what they are
    if family.inspection is not None:
        assert re.compile(family.inspection.layer).groups == 1


def test_a_release_names_its_family() -> None:
    releases = [name for family in FAMILIES.records() for name in family.releases]
    assert len(set(releases)) == len(releases)
    for family in FAMILIES.records():
        for name in family.releases:
            assert family_of_release(name) is family
    assert family_of_release("crafter-mini") is None


def test_a_text_is_for_those_that_read_one() -> None:
    family_named("cosmos").require_context("features.npy")
    for name in ("mc-ar", "wham"):
        family_named(name).require_context(None)
        with pytest.raises(SpecError, match=f"expected no context: a {name} model reads no text, got one."):
            family_named(name).require_context("features.npy")


def test_families_whose_models_ranks_can_share() -> None:
    ranks: Any = SimpleNamespace(rank=0, world=2)
    able = [family.name for family in FAMILIES.records() if family.part is not None]
    assert able == ["mc-ar", "cosmos", "wham"]
    for name in FAMILIES.names():
        family_named(name).require_part(None)
        if name in able:
            family_named(name).require_part(ranks)
            continue
        message = f"expected one of mc-ar, cosmos, wham with --tensor-parallel, got adapter='{name}'"
        with pytest.raises(SpecError, match=message):
            family_named(name).require_part(ranks)
