"""A player without a network: what is held acts on the next frame, and orders are carried out between frames."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")
pytest.importorskip("safetensors")

from diagplan.backends.errors import CapacityError
from diagplan.play.messages import FRAME, WAVE, Order, parse, picture
from diagplan.play.player import GoneError, Player
from diagplan.play.stage import Stage
from diagplan.worlds.controls import Held
from tests.support.stage import small_stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return small_stage(tmp_path_factory.mktemp("stage"))


def hold(player: Player, seq: int, *keys: str, **more: Any) -> None:
    player.hear(parse(json.dumps({"type": "held", "seq": seq, "keys": keys} | more)))


def opened(message: bytes) -> tuple[int, dict[str, Any], bytes]:
    size = int.from_bytes(message[1:5], "little")
    return message[0], json.loads(message[5 : 5 + size]), message[5 + size :]


def nothing(_: bytes) -> None:
    raise AssertionError


def test_the_newest_state_wins_and_taps_are_not_lost(stage: Stage) -> None:
    player = Player(stage, "k=1")
    hold(player, 1, "KeyA")
    hold(player, 2, "KeyA", "KeyD", dx=2, dy=1)
    hold(player, 3, "KeyD", dx=3, buttons=[0])
    assert player.take() == (Held(keys=("KeyA", "KeyD"), dx=5, dy=1, buttons=(0,)), 3)
    assert player.take() == (Held(keys=("KeyD",), buttons=(0,)), 3)
    hold(player, 4)
    assert player.take() == (Held(), 4)
    for seq in range(5, 105):  # nothing piles up
        hold(player, seq, *(["KeyW"] if seq % 2 else []))
    assert player.take()[0] == Held(keys=("KeyW",) * 8)
    assert player.take() == (Held(), 104)


def test_frames_are_those_of_a_session(stage: Stage) -> None:
    player = Player(stage, "k=1")
    said, message = player.work(nothing)
    kind, header, data = opened(message)
    session = stage.root("k=1").again()
    assert (said, kind, header["n"], data) == (None, FRAME, 0, picture(session.frame))
    hold(player, 9, "KeyW", "Digit3")
    _, message = player.work(nothing)
    _, header, data = opened(message)
    line = stage.controls.line(Held(keys=("KeyW", "Digit3")))
    assert data == picture(session.step(line))
    assert {"n": 1, "seq": 9, "plan": "k=1", "passes": session.passes}.items() <= header.items()
    assert [held for _, held in player.recording.copy()] == [None, line]


def test_orders(stage: Stage) -> None:
    player = Player(stage, "k=1")
    for _ in range(3):
        player.work(nothing)
    player.hear(Order(what="plan", name="nowhere"))
    assert bool(player.ordered) is False
    player.hear(Order(what="plan", name="next-token"))
    assert player.ordered
    said, message = player.work(nothing)
    assert json.loads(str(said)) == {"type": "plan", "name": "next-token"}
    assert opened(message)[1]["n"] == 2
    assert opened(player.work(nothing)[1])[1]["passes"] == 12
    player.hear(Order(what="reset"))
    assert opened(player.work(nothing)[1])[1]["n"] == 0
    assert len(player.recording) == 1
    assert player.plan == "next-token"
    player.hear(Order(what="pause", on=True))
    assert player.paused


def test_a_plan_that_cannot_be_laid_out_leaves_the_game_as_it_is(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player(stage, "k=1")
    for _ in range(2):
        player.work(nothing)

    def full(self: Stage, session: Any, name: str) -> Any:
        raise CapacityError("expected room, got none.")

    with monkeypatch.context() as patch:
        patch.setattr(Stage, "switch", full)
        player.hear(Order(what="plan", name="k=2"))
        said, message = player.work(nothing)
    assert json.loads(str(said)) == {"type": "notice", "text": "expected room, got none."}
    assert (player.plan, opened(message)[1]["n"]) == ("k=1", 1)
    assert opened(player.work(nothing)[1])[1]["plan"] == "k=1"


def test_exact_is_next_token_in_fewer_passes(stage: Stage) -> None:
    frames = []
    for name in ("exact", "next-token"):
        player = Player(stage, name)
        stage.seed = 0
        player.work(nothing)
        hold(player, 1, "KeyW")
        shown = [opened(player.work(nothing)[1]) for _ in range(5)]
        frames.append([data for _, _, data in shown])
        passes = [header["passes"] for _, header, _ in shown]
        assert all(1 <= count <= 12 for count in passes)
        assert (sum(passes) < 60) == (name == "exact")
    assert frames[0] == frames[1]


def test_drawing_waits_for_nobody(stage: Stage) -> None:
    """A picture is that of its own frame, although the next one is decoded before it is drawn."""
    one, other = Player(stage, "k=1"), Player(stage, "k=1")
    at_once = [opened(one.work(nothing)[1]) for _ in range(4)]
    late = other.decode(nothing)[1]
    for number in range(1, 4):
        after = other.decode(nothing)[1]
        _, header, data = opened(late())
        assert (header["n"], data) == (number - 1, at_once[number - 1][2])
        late = after
    assert len(other.recording) == 3


def test_keys_that_change_early_act_on_the_frame_that_is_decoded(stage: Stage) -> None:
    player, waves = Player(stage, "exact"), list[bytes]()
    player.work(nothing)
    hold(player, 1, "Digit1")
    player.work(nothing)
    player.hear(Order(what="wave", on=True))
    player._usual = 1e9

    def pressing(message: bytes) -> None:
        waves.append(message)
        hold(player, 2 + len(waves), "KeyW" if len(waves) % 2 else "KeyS")

    hold(player, 2, "Digit2", dx=3)
    hold(player, 2)  # a tap: it acts although the frame is begun anew
    _, message = player.work(pressing)
    _, header, data = opened(message)
    assert (header["n"], header["seq"]) == (2, 3)  # once, however often keys change
    session = stage.root("next-token").again()
    held = [Held(keys=("Digit1",)), Held(keys=("Digit2", "KeyW"), dx=3)]
    lines = [stage.controls.line(one) for one in held]
    assert [line for _, line in player.recording.copy()][1:] == lines
    session.step(lines[0])
    assert data == picture(session.step(lines[1]))


def test_the_wave(stage: Stage) -> None:
    player, waves = Player(stage, "k=1"), list[bytes]()
    player.work(waves.append)
    player.work(waves.append)
    assert waves == []
    player.hear(Order(what="wave", on=True))
    _, message = player.work(waves.append)
    heads = [opened(wave) for wave in waves]
    assert {kind for kind, _, _ in heads} == {WAVE}
    assert [header["pass"] for _, header, _ in heads] == list(range(1, opened(message)[1]["passes"]))
    known = [int(np.unpackbits(np.frombuffer(data, np.uint8))[:12].sum()) for _, _, data in heads]
    assert known == sorted(known)
    assert 0 < known[0] < known[-1] < 12


def test_a_player_who_leaves_ends_the_frame(stage: Stage) -> None:
    player = Player(stage, "k=1")
    player.work(nothing)
    player.gone = True
    with pytest.raises(GoneError):
        player.work(nothing)


def test_hello(stage: Stage, tmp_path: Path) -> None:
    said = json.loads(Player(stage, "k=2").hello())
    assert (said["type"], said["plan"], said["plans"]) == ("hello", "k=2", ["k=1", "k=2", "exact", "next-token"])
    assert (said["width"], said["height"], said["rows"], said["cols"]) == (40, 30, 3, 4)
    assert said["keys"]["KeyW"] == "left stick up"
