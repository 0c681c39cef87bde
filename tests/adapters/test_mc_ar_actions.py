"""Action blocks: ids, places, camera bins, and what survives there and back."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan.adapters.mc_ar_actions import (
    ACTION_IDS,
    ACTION_TOKENS,
    BUTTON_KEYS,
    decode_actions,
    encode_actions,
)
from diagplan.planner.errors import DocumentError, SpecError

NULL = 8258
STILL = 8215 + 10, 8236 + 10
KEYS = {
    "w": "key.keyboard.w",
    "s": "key.keyboard.s",
    "a": "key.keyboard.a",
    "d": "key.keyboard.d",
    "space": "key.keyboard.space",
    "shift": "key.keyboard.left.shift",
    "control": "key.keyboard.left.control",
    "q": "key.keyboard.q",
}


def action(*keys: str, dx: float = 0, dy: float = 0, buttons: tuple[int, ...] = ()) -> dict[str, Any]:
    names = [KEYS.get(key, f"key.keyboard.{key}") for key in keys]
    return {"keyboard": {"keys": names}, "mouse": {"dx": dx, "dy": dy, "buttons": list(buttons)}}


def block(*keys: str, **mouse: Any) -> list[int]:
    (encoded,) = encode_actions([action(*keys, **mouse)]).tolist()
    assert (encoded[0], encoded[-1]) == (8257, 8259)
    return list(encoded[1:-1])


def test_ids() -> None:
    assert len(ACTION_TOKENS) == len(ACTION_IDS) == 68
    some = {"use": 8192, "attack": 8193, "forward": 8194, "back": 8195, "left": 8196, "right": 8197, "jump": 8198,
            "sneak": 8199, "sprint": 8200, "drop": 8201, "swapHands": 8202, "pickItem": 8203, "inventory": 8204,
            "ESC": 8205, "hotbar.1": 8206, "hotbar.9": 8214, "cam_0_0": 8215, "cam_0_20": 8235, "cam_1_0": 8236,
            "cam_1_20": 8256, "<act_bos>": 8257, "<null_act>": 8258, "<act_eos>": 8259}  # fmt: skip
    assert {name: ACTION_IDS[name] for name in some} == some


def test_nothing_pressed() -> None:
    assert block() == [*STILL, *[NULL] * 7]
    assert encode_actions([]).shape == (0, 11)
    assert encode_actions([]).dtype == np.int64


@pytest.mark.parametrize(
    ("keys", "buttons", "place", "token"),
    [
        (["1"], (), 3, "hotbar.1"),
        (["9"], (), 3, "hotbar.9"),
        (["9", "4"], (), 3, "hotbar.4"),
        (["w"], (), 4, "forward"),
        (["s"], (), 4, "back"),
        (["w", "s"], (), 4, "<null_act>"),
        (["a"], (), 5, "left"),
        (["d"], (), 5, "right"),
        (["a", "d"], (), 5, "<null_act>"),
        (["control"], (), 6, "sprint"),
        (["shift"], (), 6, "sneak"),
        (["control", "shift"], (), 6, "<null_act>"),
        ([], (0,), 7, "attack"),
        ([], (1,), 7, "use"),
        ([], (0, 1), 7, "<null_act>"),
        (["space"], (), 8, "jump"),
        (["q"], (), 9, "drop"),
        ([], (2,), 9, "pickItem"),
        (["q"], (2,), 9, "<null_act>"),
        (["f"], (), 8, "<null_act>"),
        (["e", "escape", "tab", "0"], (5,), 3, "<null_act>"),
    ],
)
def test_places(keys: list[str], buttons: tuple[int, ...], place: int, token: str) -> None:
    expected = [*STILL, *[NULL] * 7]
    expected[place - 1] = ACTION_IDS[token]
    assert block(*keys, buttons=buttons) == expected


def test_everything_at_once() -> None:
    names = ["7", "back", "right", "sneak", "attack", "jump", "pickItem"]
    encoded = block("7", "s", "d", "shift", "space", dx=40, dy=-1e6, buttons=(2, 0))
    # 40 units are 6 degrees: 90 ln(1 + 11.4887 / 15) / ln(12.4887) = 20.3, and (20.3 + 90) / 9 = 12.3.
    assert encoded == [8215, 8236 + 12, ACTION_IDS["hotbar.7"], *(ACTION_IDS[name] for name in names[1:])]


def bin_of(degrees: float) -> int:
    """The formula, one number at a time."""
    clipped = min(max(degrees, -90.0), 90.0)
    encoded = math.copysign(90 * math.log(1 + 11.4887 * abs(clipped) / 90) / math.log(1 + 11.4887), clipped)
    return round((encoded + 90) / 9)


def test_camera_bins() -> None:
    # dx of 3 units turns 0.45 degrees.
    units = [*range(-700, 701, 3), 0.5, -0.25, 1e9, -1e9]
    encoded = encode_actions([action(dx=dx, dy=-dx / 2) for dx in units])
    assert (encoded[:, 2] - 8236).tolist() == [bin_of(dx * 360 / 2400) for dx in units]
    assert (encoded[:, 1] - 8215).tolist() == [bin_of(-dx / 2 * 360 / 2400) for dx in units]
    assert sorted(set(encoded[:, 2] - 8236)) == list(range(21))


def test_as_the_releases_reader() -> None:
    """It keeps degrees in an integer array, and counts jump with sneak as a pair."""
    turn = action(dx=1.9 * 2400 / 360, dy=-1.9 * 2400 / 360)
    assert encode_actions([turn])[0, 1:3].tolist() == [8215 + 9, 8236 + 11]
    assert encode_actions([turn], as_release=True)[0, 1:3].tolist() == list(STILL)
    both = action("space", "shift", "control")
    assert encode_actions([both])[0, [6, 8]].tolist() == [NULL, ACTION_IDS["jump"]]
    assert encode_actions([both], as_release=True)[0, [6, 8]].tolist() == [ACTION_IDS["sprint"], NULL]
    assert encode_actions([action("space")], as_release=True)[0, 8] == ACTION_IDS["jump"]


#: The ids of each place, written down apart from the module's own table.
PLACES = [
    [8257],
    [8215 + i for i in range(21)],
    [8236 + i for i in range(21)],
    [8206 + i for i in range(9)] + [NULL],
    [8194, 8195, NULL],
    [8196, 8197, NULL],
    [8199, 8200, NULL],
    [8192, 8193, NULL],
    [8198, NULL],
    [8201, 8203, NULL],
    [8259],
]


@given(st.lists(st.tuples(*map(st.sampled_from, PLACES)), max_size=5))
def test_every_block_survives_there_and_back(blocks: list[tuple[int, ...]]) -> None:
    ids = np.array(blocks, dtype=np.int64).reshape(-1, 11)
    decoded = decode_actions(ids)
    np.testing.assert_array_equal(encode_actions(decoded), ids)
    np.testing.assert_array_equal(encode_actions([json.dumps(one) for one in decoded]), ids)


@given(
    st.sets(st.sampled_from(sorted(BUTTON_KEYS.values()))),
    st.sets(st.integers(0, 2)),
    st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
)
def test_decoding_tells_a_recording_with_the_same_block(
    keys: set[str], buttons: set[int], turn: tuple[float, float]
) -> None:
    mouse = {"dx": turn[0], "dy": turn[1], "buttons": sorted(buttons)}
    encoded = encode_actions([{"keyboard": {"keys": sorted(keys)}, "mouse": mouse}])
    (decoded,) = decode_actions(encoded)
    assert set(decoded["keyboard"]["keys"]) <= keys
    assert set(decoded["mouse"]["buttons"]) <= buttons
    for name, wanted in zip(("dx", "dy"), turn, strict=True):
        got, wanted = decoded["mouse"][name] * 0.15, max(-90.0, min(90.0, wanted * 0.15))
        assert abs(got - wanted) <= 11  # half of the widest bin
        assert got * wanted >= 0
    np.testing.assert_array_equal(encode_actions([decoded]), encoded)


def test_files(tmp_path: Path) -> None:
    recorded = [action("w", dx=3.5) | {"tick": 7, "isGuiOpen": False}, action("s") | {"milli": "\u2028"}]
    path = tmp_path / "actions.jsonl"
    lines = [json.dumps(one, ensure_ascii=False) for one in recorded]
    path.write_text("\n".join(lines), encoding="utf-8")
    np.testing.assert_array_equal(encode_actions(path), encode_actions(recorded))
    path.write_bytes(("\r\n".join(lines) + "\r\n").encode())
    np.testing.assert_array_equal(encode_actions(str(path)), encode_actions(recorded))
    path.write_text("")
    assert len(encode_actions(path)) == 0
    path.write_text(f"{lines[0]}\n\n{lines[0]}\n", encoding="utf-8")
    with pytest.raises(DocumentError, match=r"expected a JSON object, got .* in line 2"):
        encode_actions(path)
    with pytest.raises(DocumentError, match="No such file"):
        encode_actions(tmp_path / "none")
    path.write_bytes(b"\xff")
    with pytest.raises(DocumentError, match="it is not UTF-8 text"):
        encode_actions(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "expected a JSON object, got  in line 2."),
        ("{", "expected a JSON object, got { in line 2."),
        ("[" * 100_000, "expected a JSON object, got [[["),
        ("{'camera': array([0, 0])}", "expected a JSON object, got {'camera': array([0, 0])} in line 2."),
        ("[]", "expected an object for keyboard, got [] in line 2."),
        ("{}", "expected an object for keyboard, got None in line 2."),
        ('{"keyboard": {"keys": []}}', "expected an object for mouse, got None in line 2."),
        ('{"keyboard": {}, "mouse": {}}', "expected a list for keys, got None in line 2."),
        (action() | {"mouse": {"dx": 0, "dy": 0}}, "expected a list for buttons, got None in line 2."),
        (action(dx="3"), "expected a number for dx, got '3' in line 2."),  # type: ignore[arg-type]
        (action(dy=True), "expected finite numbers for dx and dy, got True in line 2."),
        (json.dumps(action(dx=math.nan)), "expected finite numbers for dx and dy, got nan in line 2."),
        (json.dumps(action(dx=-math.inf)), "expected finite numbers for dx and dy, got -inf in line 2."),
        (json.dumps(action(dx=10**400)), "expected finite numbers for dx and dy, got 1000"),
        (7, "expected an object for keyboard, got 7 in line 2."),
    ],
    ids=range(15),
)
def test_bad_lines(line: Any, said: str) -> None:
    with pytest.raises(DocumentError, match=f"^{re.escape(said)}"):
        encode_actions([action(), line])


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, 8259, "for place 0 of an action block, got id=8259 in block 1. That place holds one of <act_bos>."),
        (1, 8236, "expected an id for place 1 of an action block, got id=8236 in block 1."),
        (4, 8196, "got id=8196 in block 1. That place holds one of forward, back, <null_act>."),
        (9, 100, "got id=100 in block 1. That place holds one of drop, pickItem, <null_act>."),
    ],
)  # fmt: skip
def test_blocks_that_are_none(place: int, value: int, said: str) -> None:
    ids = encode_actions([action(), action()])
    ids[1, place] = value
    with pytest.raises(SpecError, match=re.escape(said)):
        decode_actions(ids)


@pytest.mark.parametrize("ids", [np.zeros(11, int), np.zeros((1, 10), int), np.zeros((1, 11))])
def test_blocks_of_another_shape(ids: Any) -> None:
    with pytest.raises(SpecError, match=re.escape("expected action blocks as integers [n, 11]")):
        decode_actions(ids)
