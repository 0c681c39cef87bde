"""What a world is: both kinds have every member of the protocol, and no other code asks for more."""

import inspect
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

from diagplan.worlds.clip_world import ClipWorld
from diagplan.worlds.frame_world import FrameWorld
from diagplan.worlds.world import World, WorldFiles

MEMBERS = {name: value for name, value in vars(World).items() if not name.startswith("_")}


@pytest.mark.parametrize("kind", [FrameWorld, ClipWorld])
def test_both_kinds_have_every_member(kind: type) -> None:
    own = {entry.name for entry in fields(kind)}
    assert not [name for name in MEMBERS if name not in own and not hasattr(kind, name)]


@pytest.mark.parametrize("kind", [FrameWorld, ClipWorld])
def test_methods_take_what_the_protocol_says(kind: type) -> None:
    for name, member in MEMBERS.items():
        own: Any = None if name in {entry.name for entry in fields(kind)} else vars(kind).get(name)
        if inspect.isfunction(member) and inspect.isfunction(own):
            ours, theirs = inspect.signature(own).parameters, inspect.signature(member).parameters
            assert len(ours) == len(theirs), name
            assert [one.default for one in ours.values()] == [one.default for one in theirs.values()], name


def test_files_of_a_world_are_a_value() -> None:
    files: Any = WorldFiles(model="m", folder=Path("x"))
    assert files == WorldFiles(model="m", folder=Path("x"))
    with pytest.raises(FrozenInstanceError):
        files.model = "n"
