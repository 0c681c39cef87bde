"""Keys to actions, by family; every line is one of the world's actions file."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from diagplan.adapters.mc_ar_actions import decode_actions, encode_actions
from diagplan.adapters.wham_actions import FIRST_ACTION
from diagplan.adapters.wham_recordings import read_actions
from diagplan.planner.errors import DiagplanError, SpecError
from diagplan.schemas.world import ActionWords, read_world_document
from diagplan.worlds.controls import Controls, Held, mc_ar_controls, wham_controls, word_controls
from diagplan.worlds.loading import SHIPPED


@pytest.fixture(scope="module")
def crafter() -> Controls:
    return word_controls(read_world_document(SHIPPED["crafter-mini"] / "world.json").actions)


def test_words_the_newest_key_counts(crafter: Controls) -> None:
    assert crafter.line(Held()) == {"action": "noop"}
    assert crafter.line(Held(keys=("ArrowLeft", "KeyD"))) == {"action": "move_right"}
    assert crafter.line(Held(keys=("ArrowLeft", "KeyP"))) == {"action": "move_left"}  # P does nothing
    assert crafter.line(Held(keys=("Space",), dx=5, buttons=(0,))) == {"action": "do"}
    np.testing.assert_array_equal(crafter.block("move_left"), [256, 259, 257])
    np.testing.assert_array_equal(crafter.block({"action": "noop"}), [256, 258, 257])


def test_every_word_has_a_key_and_no_key_two(crafter: Controls) -> None:
    words = read_world_document(SHIPPED["crafter-mini"] / "world.json").actions
    assert set(crafter.keys.values()) == set(words.ids) - {"noop"}
    assert set(crafter.touch) <= set(crafter.keys)
    doom = ActionWords(
        begin=0, end=1, ids={"wait": 2, "move_forward": 3, "turn_left": 4, "strafe_left": 5, "attack": 6}
    )
    keys = word_controls(doom).keys
    assert (keys["ArrowUp"], keys["KeyA"], keys["Space"]) == ("move_forward", "turn_left", "attack")
    assert set(keys.values()) == set(doom.ids) - {"wait"}


@pytest.mark.parametrize("action", ["fly", 7, {"action": ["noop"]}, {"move": "noop"}, None])
def test_words_that_are_none(crafter: Controls, action: object) -> None:
    with pytest.raises(SpecError, match="expected an action of noop, move_left"):
        crafter.block(action)


def test_mine_world() -> None:
    controls = mc_ar_controls()
    line = controls.line(Held(keys=("KeyW", "ShiftLeft", "F5"), dx=12, dy=-40, buttons=(0, 2)))
    assert line == {
        "keyboard": {"keys": ["key.keyboard.w", "key.keyboard.left.shift"]},
        "mouse": {"dx": 12, "dy": -40, "buttons": [0, 1]},
    }
    np.testing.assert_array_equal(controls.block(line), encode_actions([json.dumps(line)])[0])
    looked = decode_actions([controls.block(controls.line(Held(keys=("ArrowRight", "ArrowUp"))))])[0]["mouse"]
    assert looked["dx"] > 0 > looked["dy"]
    with pytest.raises(DiagplanError, match="keyboard"):
        controls.block({"keyboard": 3})
    assert controls.mouse


def test_wham(tmp_path: Path) -> None:
    controls = wham_controls(64)
    line = controls.line(Held(keys=("KeyW", "KeyD", "ArrowLeft", "Digit1", "KeyE")))
    assert line == {"buttons": [1, *[0] * 10, 1], "sticks": [1.0, -1.0, -1.0, 0.0]}
    file = tmp_path / "actions.jsonl"
    file.write_text(json.dumps(line) + "\n")
    np.testing.assert_array_equal(controls.block(line), read_actions(file)[0] - FIRST_ACTION + 64)
    with pytest.raises(DiagplanError, match=re.escape("got another one at the action given")):
        controls.block({"buttons": []})
