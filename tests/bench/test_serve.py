"""The load test of a service, tiny: without a model under a kill, and its own judgement of what it sees."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fcntl")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

from bench import serve as bench
from tests.packaging.test_layering import ROOT
from tests.support.serve import TOKENS, stub_tokens


def command(spool: Path) -> Callable[[int], Sequence[str]]:
    return lambda port: [sys.executable, "-m", "tests.support.serve", "--port", str(port), str(spool)]


def test_a_tiny_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    jobs = [{"tokens": TOKENS, "seed": n, "frames": 1 + n % 2, "text": "slow"} for n in range(12)]
    row, tokens = bench.load(command(tmp_path), jobs, kill=True)
    assert {n: held.tolist() for n, held in tokens.items()} == {n: stub_tokens(n) for n in range(12)}
    row |= {"same_tokens": len(tokens)}
    assert bench.is_right(row), row
    assert row["recovery_seconds"] > 0
    assert row["jobs_a_batch"] > 1
    assert row["batch_sizes"]["+Inf"] == row["batches"] >= 4
    assert row["from_acceptance"]["most"] >= row["from_acceptance"]["median"] > 0
    json.dumps(row)


def test_what_is_wrong_is_said() -> None:
    kept = {"queued": 0, "running": 0, "done": 3, "wrong": 0, "cancelled": 0}
    fine: dict[str, Any] = {
        "clients": 3, "answered_once": 3, "different_ids": 3, "same_tokens": 3, "every_frame_once": True,
        "jobs_kept": kept, "exit_code": 0,
    }  # fmt: skip
    assert bench.is_right(fine)
    for name, value in (
        ("answered_once", 2), ("different_ids", 2), ("same_tokens", 2), ("every_frame_once", False), ("exit_code", 1),
        ("jobs_kept", kept | {"done": 4}),
    ):  # fmt: skip
        assert not bench.is_right(fine | {name: value})


@pytest.mark.slow
def test_all_of_it_on_the_shipped_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "av", "diffusers"):
        pytest.importorskip(name)
    monkeypatch.chdir(ROOT)
    out = tmp_path / "serve.json"
    assert bench.main(["--clients", "6", "--batch", "2", "--queue", "3", "--generate", "2", "--out", str(out)]) == 0
    held = json.loads(out.read_text())
    assert held["right"]
    assert [row["same_tokens"] for row in held["rows"]] == [6, 6]
