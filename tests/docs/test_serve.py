"""docs/serve.md: its commands and its client, against a server without a model."""

import json
import shutil
import signal
import subprocess
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fcntl")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from tests.support.pages import DOCS, blocks
from tests.support.serve import running, stub_tokens, wait_for

PAGE = DOCS / "serve.md"


def client() -> Any:
    namespace: dict[str, Any] = {}
    for block in blocks(PAGE):
        if block.kind == "python":
            exec(block.text, namespace)
    return namespace["Client"]


def test_the_commands(tmp_path: Path) -> None:
    if not (shutil.which("curl") and shutil.which("jq")):
        pytest.skip("needs curl and jq")
    (tmp_path / "clip.mp4").write_bytes(b"a video")
    (tmp_path / "clip.jsonl").write_text('{"action": "left"}\n{"action": "noop"}\n')
    (script,) = [block.text for block in blocks(PAGE) if block.kind == "sh"]
    with running(tmp_path / "spool") as server:
        here = script.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        done = subprocess.run(
            ["bash", "-eu", "-c", here], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        answer = json.loads((tmp_path / "answer.json").read_text())
        assert answer["links"]["events"] == f"/jobs/{answer['id']}/events"
        assert (tmp_path / "made.mp4").read_bytes() == b"a video"
        assert np.load(tmp_path / "made.npy").tolist() == stub_tokens(7, [[[0, 0], [0, 0]]])
        assert (tmp_path / "first.png").read_bytes().startswith(b"\x89PNG")
        assert "event: done\n" in done.stdout
        assert "diagplan_batch_size_count" in done.stdout
        assert server.ask("GET", f"/jobs/{answer['id']}")[0] == 404
        assert server.end(signal.SIGTERM) == 0


def test_the_client_outlives_the_service(tmp_path: Path) -> None:
    job = {"tokens": [[[1, 2], [3, 4]]], "seed": 4, "frames": 30, "text": "slow"}
    events: list[tuple[str, Any]] = []
    with running(tmp_path) as server:
        asked = client()(f"http://127.0.0.1:{server.port}")
        name = asked.send(job, "one")

        def follow() -> None:
            events.extend(asked.events(name))

        thread = threading.Thread(target=follow)
        thread.start()
        wait_for(lambda: server.get(f"/jobs/{name}")["frames"] >= 2)
        server.end(signal.SIGKILL)
        with running(tmp_path, "--port", str(server.port)) as again:
            assert asked.send(job, "one") == name
            thread.join(60)
            assert [data["frame"] for kind, data in events if kind == "frame"] == list(range(1, 31))
            assert events[-1][0] == "done"
            (tmp_path / "made.npy").write_bytes(asked.result(name))
            assert again.end(signal.SIGTERM) == 0
    assert np.load(tmp_path / "made.npy").tolist() == stub_tokens(4)
