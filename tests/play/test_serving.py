"""A server of its own process: a real client, and an end at Ctrl-C that leaves nothing behind."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")
pytest.importorskip("uvicorn")
pytest.importorskip("starlette")
client = pytest.importorskip("websockets.sync.client")

from websockets.exceptions import ConnectionClosed  # noqa: E402

from diagplan.planner.errors import SpecError  # noqa: E402
from diagplan.play.messages import FRAME  # noqa: E402
from diagplan.play.serving import listen, require_token  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_from_start_to_ctrl_c() -> None:
    command = [sys.executable, "-m", "diagplan", "play", "--port", "0", "--no-open", "--k", "1", "--json"]
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
    )  # fmt: skip
    try:
        assert server.stdout is not None
        said = json.loads(server.stdout.readline())
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", said["address"])
        assert said["plans"] == ["k=1", "exact", "next-token"]
        with client.connect(said["address"].replace("http", "ws") + "play", max_size=None) as game:
            assert json.loads(game.recv(timeout=30))["world"] == "crafter-mini"
            game.send(json.dumps({"type": "held", "seq": 1, "keys": ["ArrowLeft"]}))
            frames = 0
            while frames < 3:
                message = game.recv(timeout=30)
                frames += isinstance(message, bytes) and message[0] == FRAME
            # Larger than the server reads: this connection ends, the server goes on.
            with client.connect(said["address"].replace("http", "ws") + "play", max_size=None) as other:
                other.send("x" * 100_000)
                with pytest.raises(ConnectionClosed) as closed:
                    list(other)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1009
            began = time.monotonic()
            server.send_signal(signal.SIGINT)  # while a player is connected and a frame is decoded
            out, err = server.communicate(timeout=20)
            took = time.monotonic() - began
        assert (server.returncode, out, err) == (0, "", "")
        assert took < 10, f"{took:.1f} s; two on a machine that does nothing else"
    finally:
        server.kill()
        server.wait()


def test_addresses() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SpecError, match=f"expected a free port at 127.0.0.1, got --port {port}"):
            listen("127.0.0.1", port)
    with pytest.raises(SpecError, match="expected an address of this machine, got --host no such host"):
        listen("no such host", 0)
    with pytest.raises(SpecError, match=r"expected a free port at 192\.0\.2\.1"):
        listen("192.0.2.1", 0)
    assert isinstance(taken, socket.socket)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.8.8.8"])
def test_the_loopback_address_needs_no_token(host: str) -> None:
    require_token(host, None)
    require_token(host, "abcdefgh12345678")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org", ""])
def test_other_addresses_need_one(host: str) -> None:
    with pytest.raises(SpecError, match="expected a token with --host"):
        require_token(host, None)
    for short in ("secret", "with space 123456789", "abcdefgh1234567\u00e9"):
        with pytest.raises(SpecError, match="expected a token of 16 letters and digits or more"):
            require_token(host, short)
    require_token(host, "abcdefgh12345678")
