"""docs/ray_serve.py on local Ray: jobs below every prefix, and none lost where a replica is killed. `make test-ray`."""

import importlib.util
import io
import os
import signal
import socket
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fcntl")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from docs.ray_serve import prefix_of, run
from tests.docs.test_serve import client
from tests.packaging.test_layering import ROOT
from tests.support.serve import RECIPE, STUB, stub_tokens, wait_for

WITHOUT = any(importlib.util.find_spec(name) is None for name in ("ray", "fastapi", "aiohttp", "grpc"))
if WITHOUT and os.environ.get("DIAGPLAN_RAY") == "required":
    raise ImportError("expected Ray Serve, got none; make test-ray installs it in build/ray.")
pytestmark = pytest.mark.filterwarnings("ignore")


def test_keys_are_spread_over_replicas_and_stay() -> None:
    places = [prefix_of(f"key {n}", 4) for n in range(100)]
    assert set(places) == {"/0", "/1", "/2", "/3"}
    assert prefix_of("order 17", 4) == "/0"
    assert places == [prefix_of(f"key {n}", 4) for n in range(100)]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Ray Serve on this machine with two replicas, whose workers find the tests."""
    if WITHOUT:
        pytest.skip("Ray Serve is not installed: make test-ray")
    import ray
    from ray import serve

    with socket.create_server(("127.0.0.1", 0)) as opened:
        port = opened.getsockname()[1]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ray.init(
        num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR",
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )  # fmt: skip
    serve.start(http_options={"host": "127.0.0.1", "port": port}, logging_config={"log_level": "ERROR"})
    run(tmp_path, 2, RECIPE, opener=STUB)
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()


def replica_pid(number: int) -> int:
    """The process of a replica, of Linux; 0: there is none."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes()
        except OSError:
            continue
        if words.startswith(f"ray::ServeReplica:clips-{number}:".encode()):
            return int(place.name)
    return 0


def test_no_job_is_lost_where_a_replica_is_killed(address: str) -> None:
    jobs = {f"key {n}": {"tokens": [[[1, 2], [3, 4]]], "seed": n, "frames": 4, "text": "slow"} for n in range(16)}
    clients = {key: client()(address + prefix_of(key, 2)) for key in jobs}
    names = {key: clients[key].send(job, key) for key, job in jobs.items()}
    places = {prefix_of(key, 2) for key in jobs}
    assert places == {"/0", "/1"}
    first = wait_for(lambda: replica_pid(0))
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: replica_pid(0) not in (0, first), 90)
    for number, (key, asked) in enumerate(clients.items()):
        assert asked.send(jobs[key], key) == names[key]
        events = list(asked.events(names[key]))
        assert [kind for kind, _ in events][-1] == "done"
        frames = [data["link"] for kind, data in events if kind == "frame"]
        assert frames == [f"{prefix_of(key, 2)}/jobs/{names[key]}/frames/{n}" for n in range(1, 5)]
        assert np.load(io.BytesIO(asked.result(names[key]))).tolist() == stub_tokens(number)
    other: Any = client()(address + ("/1" if prefix_of("key 0", 2) == "/0" else "/0"))
    with pytest.raises(urllib.error.HTTPError, match="404"):  # which is why a job's prefix is its key's
        other.result(names["key 0"])
