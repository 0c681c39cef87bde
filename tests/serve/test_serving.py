"""A server as a process: killed and started again, ended by signals, and asked by clients that misbehave."""

import io
import json
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fcntl")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from bench.play import memory
from diagplan.serve import serving
from diagplan.serve.spool import Spool
from tests.support.serve import Running, job, running, stub_tokens, wait_for


def tokens(server: Running, name: str) -> Any:
    return np.load(io.BytesIO(server.ask("GET", f"/jobs/{name}/result.npy")[2])).tolist()


def test_every_accepted_job_is_answered_once_after_a_kill(tmp_path: Path) -> None:
    accepted: dict[int, str] = {}
    with running(tmp_path / "spool") as server:
        for seed in range(8):
            status, document = server.post(job(seed=seed, text="slow" if seed < 6 else None), f"key {seed}")
            assert status == 202
            accepted[seed] = document["id"]
        server.until(accepted[0], "done")
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
    with running(tmp_path / "spool") as server:
        status, document = server.post(job(seed=3, text="slow"), "key 3")  # a client that lost the answer
        assert (status, document["id"]) == (200, accepted[3])
        for seed, name in accepted.items():
            assert server.until(name, "done", "wrong", "cancelled")["state"] == "done"
            assert tokens(server, name) == stub_tokens(seed)
        assert sum(int(count) for name, count in metrics(server).items() if name.startswith("diagplan_jobs{")) == 8
        assert server.end(signal.SIGTERM) == 0


def metrics(server: Running) -> dict[str, str]:
    lines = server.ask("GET", "/metrics")[2].decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_a_signal_drains(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    spool = tmp_path / "spool"
    with running(spool) as server:
        server.ready()
        names = [server.post(job(seed=n, text="block"))[1]["id"] for n in range(4)]
        server.until(names[0], "running")
        last = server.post(job(seed=9, frames=3))[1]["id"]
        ended: list[bytes] = []
        listener = threading.Thread(target=lambda: ended.append(server.ask("GET", f"/jobs/{last}/events")[2]))
        listener.start()
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: server.get("/health")["state"] == "draining")
        status, headers, body = server.ask("POST", "/jobs", job())
        assert (status, headers["retry-after"]) == (503, "30")
        assert "got one that ends" in json.loads(body)["error"]
        in_hand = {name for name in [*names, last] if server.get(f"/jobs/{name}")["state"] == "running"}
        assert names[0] in in_hand
        assert not {names[3], last} & in_hand
        (spool / "release").touch()
        assert server.process.wait(20) == 0
        listener.join(10)
        assert b"event: progress" in ended[0]
    assert capfd.readouterr().err == ""
    states = {one.id: one.state for one in Spool(spool).load()}
    assert states == {name: "done" if name in in_hand else "queued" for name in [*names, last]}


def test_a_second_interrupt_ends_it_at_once(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        name = server.post(job(text="block"))[1]["id"]
        server.until(name, "running")
        server.process.send_signal(signal.SIGINT)
        wait_for(lambda: server.get("/health")["state"] == "draining")
        began = time.monotonic()
        assert server.end(signal.SIGINT) == 130
        assert time.monotonic() - began < 8
    assert [(one.id, one.state) for one in Spool(tmp_path).load()] == [(name, "queued")]


def raw(server: Running, data: bytes, *, then_leave: bool = False) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(data)
        if then_leave:
            return b""
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def test_clients_that_misbehave(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with running(tmp_path) as server:
        server.ready()
        head = b"POST /jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
        assert raw(server, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert raw(server, b"GET /health HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 70_000).startswith(b"HTTP/1.1 400 ")
        assert raw(server, head + b"Content-Length: x\r\n\r\n").startswith(b"HTTP/1.1 400 ")
        assert raw(server, head + b"Content-Length: 99999999999\r\n\r\n{").startswith(b"HTTP/1.1 413 ")
        assert raw(server, head + b"Content-Length: 500\r\n\r\n{").startswith(b"HTTP/1.1 408 ")
        assert raw(server, head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n").startswith(b"HTTP/1.1 400 ")
        smuggled = b"Idempotency-Key: a\r\n b\r\nContent-Length: 2\r\n\r\n{}"
        assert raw(server, head + smuggled).startswith(b"HTTP/1.1 400 ")
        raw(server, head + b"Content-Length: 500\r\n\r\n{", then_leave=True)
        name = server.post(job(text="slow", frames=20))[1]["id"]
        raw(server, f"GET /jobs/{name}/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode(), then_leave=True)
        assert server.until(name, "done")["frames"] == 20
        assert server.end(signal.SIGTERM) == 0
    assert capfd.readouterr().err == ""


def test_clients_that_do_not_read_take_no_memory(tmp_path: Path) -> None:
    if not memory(1):
        pytest.skip("this system has no /proc")
    with running(tmp_path) as server:
        server.ready()
        name = server.post(job(text="large", frames=40))[1]["id"]
        server.until(name, "done")
        before = memory(server.process.pid)
        request = f"GET /jobs/{name}/events?frames=base64 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        deaf = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
        for connection in deaf:
            connection.sendall(request)
        for seed in range(3):  # others are served meanwhile
            server.until(server.post(job(seed=seed))[1]["id"], "done")
        assert memory(server.process.pid) - before < 50 << 20  # all frames of all clients are 213 MB
        reader, *others = deaf
        with reader, reader.makefile("rb") as lines:
            assert sum(line == b"event: frame\n" for line in iter(lines.readline, b"event: done\n")) == 40
        assert server.end(signal.SIGTERM) == 0
        for connection in others:
            connection.close()


def test_connections_leave_files_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    for most, allowed in ((1024, 896), (100_000, 2000), (64, 16), (resource.RLIM_INFINITY, 2000)):
        monkeypatch.setattr(resource, "getrlimit", lambda _, most=most: (most, most))
        assert serving.connections() == allowed
