"""The server through starlette's test client: frames arrive, orders are obeyed, and nothing else gets in."""

import asyncio
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")
pytest.importorskip("safetensors")
pytest.importorskip("starlette")
pytest.importorskip("httpx2")

from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from diagplan.adapters.wham_recordings import read_actions
from diagplan.backends.errors import NumericError
from diagplan.planner.errors import SpecError
from diagplan.play.messages import FRAME, MOST_BYTES, SAVED, WAVE
from diagplan.play.player import Player
from diagplan.play.server import Settings, _Outbox, make_app
from diagplan.play.stage import Stage
from diagplan.video.files import read_video
from tests.support.small_world import small_world
from tests.support.stage import small_stage

TOKEN = "abcdefgh12345678"
HERE = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return small_stage(tmp_path_factory.mktemp("stage"))


def client(stage: Stage, base: str = HERE, **settings: Any) -> TestClient:
    return TestClient(make_app(stage, Settings(plan="k=1", fps=60, **settings)), base_url=base)


@pytest.fixture
def page(stage: Stage) -> Iterator[TestClient]:
    with client(stage) as opened:
        yield opened


def joined(page: TestClient, query: str = "", headers: dict[str, str] | None = None) -> Any:
    """A connection to the host that the page is asked of."""
    return page.websocket_connect(f"{page.base_url}/play{query}".replace("http", "ws", 1), headers=dict(headers or {}))


class Client:
    """What a page does with its connection."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    def say(self, **message: Any) -> None:
        self.socket.send_text(json.dumps(message))

    def next(self) -> tuple[str | int, dict[str, Any], bytes]:
        """Kind, header and data of the next message."""
        message = self.socket.receive()
        if message["type"] == "websocket.close":
            raise WebSocketDisconnect(message["code"], message.get("reason"))
        if message.get("text") is not None:
            said = json.loads(message["text"])
            return said["type"], said, b""
        data = message["bytes"]
        size = int.from_bytes(data[1:5], "little")
        return data[0], json.loads(data[5 : 5 + size]), data[5 + size :]

    def until(self, kind: str | int, **wanted: Any) -> tuple[dict[str, Any], bytes]:
        """The next message of a kind whose header says so."""
        for _ in range(2000):
            got, header, data = self.next()
            if got == kind and wanted.items() <= header.items():
                return header, data
        raise AssertionError(f"no {kind} {wanted}")


def test_the_page(page: TestClient) -> None:
    answer = page.get("/")
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "http" not in answer.text.replace('location.protocol === "https:"', "")
    assert page.get("/../../etc/passwd").status_code == 404
    assert page.get("/played.mp4").status_code == 404
    assert page.post("/").status_code == 405


def test_a_game(page: TestClient) -> None:
    with joined(page) as socket:
        game = Client(socket)
        assert game.next()[:2][0] == "hello"
        header, data = game.until(FRAME)
        assert header["n"] == 0
        assert data[:8] == b"\x89PNG\r\n\x1a\n"
        game.say(type="held", seq=1, keys=["KeyW"])
        header, _ = game.until(FRAME, seq=1)
        assert header["passes"] == 6
        game.say(type="wave", on=True)
        assert game.until(WAVE)[0]["cells"] == 12
        game.say(type="plan", name="next-token")
        game.until("plan", name="next-token")
        assert game.until(FRAME, plan="next-token", passes=12)[0]["n"] > 0
        game.say(type="reset")
        game.until(FRAME, n=0)


def test_what_was_played_is_saved(page: TestClient, tmp_path: Path) -> None:
    with joined(page) as socket:
        game = Client(socket)
        game.until(FRAME, n=3)
        game.say(type="held", seq=1, keys=["Digit1"])
        game.until(FRAME, seq=1)
        game.say(type="save")
        header, data = game.until(SAVED)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        archive.extractall(tmp_path)
    frames = read_video(tmp_path / "played.mp4")
    assert len(frames) == header["frames"] >= 5
    actions = read_actions(tmp_path / "played.jsonl")
    assert len(actions) == len(frames) - 1
    assert len(set(map(tuple, actions.tolist()))) == 2  # before the key, and with it


def test_pausing_and_resting(stage: Stage) -> None:
    with client(stage) as page, joined(page) as socket:
        game = Client(socket)
        game.until(FRAME, n=1)
        game.say(type="pause", on=True)
        game.say(type="reset")
        assert game.until(FRAME, n=0)[0]["n"] == 0
        game.say(type="pause", on=False)
        game.until(FRAME, n=1)
    with client(stage, rest=0.3, idle=1.0) as page, joined(page) as socket:
        game = Client(socket)
        game.until("resting")
        game.say(type="held", seq=1, keys=["KeyW"])
        game.until(FRAME, seq=1)
        game.until("resting")
        assert "Nothing was pressed" in game.until("ended")[0]["why"]
        with pytest.raises(WebSocketDisconnect):
            game.next()


def test_players_wait_their_turn(stage: Stage) -> None:
    with client(stage, players=1) as page, joined(page) as second_to_none:
        Client(second_to_none).until(FRAME, n=1)
        with joined(page) as socket, joined(page) as third:
            waiting, last = Client(socket), Client(third)
            assert waiting.next()[:2] == ("waiting", {"type": "waiting", "place": 1})
            assert last.next()[1]["place"] == 2
            second_to_none.close()
            assert waiting.next()[0] == "hello"
            waiting.until(FRAME, n=1)
            assert last.next()[1]["place"] == 1
            socket.close()
            assert last.next()[0] == "hello"


def test_two_players_have_a_session_each(stage: Stage) -> None:
    with client(stage) as page, joined(page) as one, joined(page) as other:
        first, second = Client(one), Client(other)
        first.say(type="held", seq=5, keys=["KeyW"])
        first.until(FRAME, seq=5)
        assert second.until(FRAME)[0]["seq"] == 0
        first.say(type="reset")
        first.until(FRAME, n=0)
        numbers = [second.until(FRAME)[0]["n"] for _ in range(5)]
        assert numbers == sorted(numbers)


@pytest.mark.parametrize(
    "message",
    ['{"type": "fly"}', "[", "x" * (MOST_BYTES + 1), '{"type": "plan", "name": "k=1", "file": "/etc/passwd"}'],
)
def test_a_malformed_message_ends_its_connection_alone(stage: Stage, message: str) -> None:
    with client(stage) as page, joined(page) as good, joined(page) as bad:
        fine, wrong = Client(good), Client(bad)
        wrong.until(FRAME, n=1)
        bad.send_text(message)
        assert "expected" in wrong.until("ended")[0]["why"]
        with pytest.raises(WebSocketDisconnect) as closed:
            wrong.next()
        assert closed.value.code == 1008
        fine.say(type="reset")
        fine.until(FRAME, n=0)


def test_binary_and_too_many_messages(stage: Stage) -> None:
    with client(stage) as page:
        with joined(page) as socket:
            socket.send_bytes(b"x")
            assert "binary" in Client(socket).until("ended")[0]["why"]
        with joined(page) as socket:
            for seq in range(400):
                Client(socket).say(type="held", seq=seq)
            assert "60 messages a second" in Client(socket).until("ended")[0]["why"]


@pytest.mark.parametrize(
    ("base", "token", "query", "headers", "fine"),
    [
        (HERE, None, "", {}, True),
        (HERE, None, "", {"origin": HERE}, True),
        ("http://localhost:8000", None, "", {"origin": "http://localhost:8000"}, True),
        ("http://[::1]:8000", None, "", {}, True),
        (HERE, None, "", {"origin": "http://example.org"}, False),
        (HERE, None, "", {"origin": "http://127.0.0.1:9000"}, False),
        (HERE, None, "", {"origin": "null"}, False),
        (HERE, None, "", {"origin": "http://[evil"}, False),
        (HERE, None, "", {"host": "[::1"}, False),
        (HERE, None, "", {"host": ""}, False),
        ("http://attacker.example:8000", None, "", {}, False),  # DNS rebinding
        ("http://attacker.example:8000", None, "", {"origin": "http://attacker.example:8000"}, False),
        ("http://game.example", TOKEN, "", {}, False),
        ("http://game.example", TOKEN, f"?token={TOKEN}x", {}, False),
        ("http://game.example", TOKEN, "?token=\u00e9", {}, False),
        ("http://game.example", TOKEN, f"?token={TOKEN}", {}, True),
        ("http://game.example", TOKEN, f"?token={TOKEN}", {"origin": "http://example.org"}, False),
    ],
)  # fmt: skip
def test_who_may_play(
    stage: Stage, base: str, token: str | None, query: str, headers: dict[str, str], fine: bool
) -> None:
    with client(stage, base, token=token) as page:
        assert page.get(f"/{query}", headers=headers).status_code == (200 if fine else 403)
        if fine:
            with joined(page, query, headers) as socket:
                Client(socket).until("hello")
        else:
            with pytest.raises(WebSocketDisconnect), joined(page, query, headers):
                pass


def test_a_frame_that_fails_says_so(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = Player.decode

    def failing(self: Player, on_wave: Any) -> Any:
        if self.recording.size and len(self.recording) > 1:
            raise NumericError("expected finite logits, got NaN.")
        return decode(self, on_wave)

    monkeypatch.setattr(Player, "decode", failing)
    with client(stage) as page, joined(page) as socket:
        assert Client(socket).until("ended")[0]["why"] == "expected finite logits, got NaN."


def test_a_slow_client_gets_fewer_frames_not_more_memory() -> None:
    async def scene() -> None:
        outbox, sent = _Outbox(), list[bytes]()
        gate = asyncio.Event()

        class Slow:
            async def send_bytes(self, data: bytes) -> None:
                await gate.wait()
                sent.append(data)

            async def send_text(self, text: str) -> None:
                await gate.wait()
                sent.append(text.encode())

        sending = asyncio.ensure_future(outbox.send(Slow()))  # type: ignore[arg-type]
        for number in range(100):
            outbox.put(frame=b"%d" % number, wave=b"w", text=f"t{number}")
            await asyncio.sleep(0)
        assert len(outbox.texts) <= 32
        gate.set()
        await asyncio.sleep(0.05)
        sending.cancel()
        assert sent[0] == b"t0"
        assert sent[-2:] == [b"99", b"w"]
        assert outbox.dropped >= 98

    asyncio.run(scene())


def test_a_world_that_nobody_can_play(stage: Stage) -> None:
    with pytest.raises(SpecError, match="expected a world that is played with keys"):
        make_app(Stage(world=small_world(), choices={}, first=stage.first), Settings(plan="k=1"))
