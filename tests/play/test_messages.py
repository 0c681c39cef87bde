"""The protocol: what is taken, what is refused, and how binary messages lie."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("PIL")

from diagplan.play.messages import (
    FRAME,
    MOST_BYTES,
    Budget,
    HeldMessage,
    MessageError,
    Order,
    binary,
    parse,
    picture,
    text,
)
from diagplan.video.frames import png

HELD = {"type": "held", "seq": 3, "keys": ["KeyW"], "dx": 1.5, "dy": -2, "buttons": [2, 0, 0]}


def test_what_is_taken() -> None:
    assert parse(json.dumps(HELD)) == HeldMessage(seq=3, keys=("KeyW",), dx=1.5, dy=-2.0, buttons=(0, 2))
    assert parse('{"type": "held"}') == HeldMessage(seq=0, keys=(), dx=0, dy=0, buttons=())
    assert parse('{"type": "reset"}') == Order(what="reset")
    assert parse('{"type": "save"}') == Order(what="save")
    assert parse('{"type": "plan", "name": "k=2"}') == Order(what="plan", name="k=2")
    assert parse('{"type": "wave", "on": true}') == Order(what="wave", on=True)
    assert parse('{"type": "pause", "on": false}') == Order(what="pause")


@pytest.mark.parametrize(
    "said",
    [
        [], None, "held", {}, {"type": "fly"}, {"type": "reset", "more": 1}, {"type": "plan"},
        {"type": "plan", "name": 1},
        {"type": "wave", "on": 1}, {"type": "pause"}, HELD | {"path": "/etc/passwd"}, HELD | {"seq": -1},
        HELD | {"seq": True}, HELD | {"seq": 1 << 60}, HELD | {"keys": "KeyW"}, HELD | {"keys": [1]},
        HELD | {"keys": ["<b>"]}, HELD | {"keys": ["a" * 25]}, HELD | {"keys": ["KeyW"] * 17}, HELD | {"dx": "1"},
        HELD | {"dx": 1e9}, HELD | {"dx": float("nan")}, HELD | {"dy": True}, HELD | {"buttons": [7]},
        HELD | {"buttons": [0] * 6}, HELD | {"buttons": [True]}, HELD | {"buttons": {"0": 1}},
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_refused(said: Any) -> None:
    with pytest.raises(MessageError, match="expected"):
        parse(json.dumps(said))


@given(st.text(max_size=60) | st.builds(json.dumps, st.recursive(st.none() | st.floats() | st.text(), st.lists)))
def test_no_text_is_more_than_refused(message: str) -> None:
    with pytest.raises(MessageError):
        parse(message)


def test_long_and_deep_texts() -> None:
    with pytest.raises(MessageError, match=f"at most {MOST_BYTES} bytes"):
        parse(json.dumps(HELD | {"keys": ["a" * MOST_BYTES]}))
    with pytest.raises(MessageError):
        parse("[" * MOST_BYTES)


def test_binary_messages() -> None:
    message = binary(FRAME, {"n": 7}, b"data")
    size = int.from_bytes(message[1:5], "little")
    assert (message[0], json.loads(message[5 : 5 + size]), message[5 + size :]) == (FRAME, {"n": 7}, b"data")
    assert json.loads(text("waiting", place=2)) == {"type": "waiting", "place": 2}


def test_pictures_are_png() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    assert picture(frame)[:8] == png(frame)[:8]


def test_the_budget() -> None:
    budget = Budget(burst=3, rate=2)
    assert [budget.spend(0.0) for _ in range(4)] == [True, True, True, False]
    assert [budget.spend(1.0) for _ in range(3)] == [True, True, False]
    assert [budget.spend(100.0) for _ in range(4)] == [True, True, True, False]
