"""--tensor-parallel under torchrun: one rank writes and prints, one speaks of an error, and none is left waiting."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.worlds import SHIPPED  # noqa: E402
from tests.support.cli import run  # noqa: E402
from tests.support.mineworld import DATA  # noqa: E402
from tests.support.ranks import ROOT, ended, started  # noqa: E402
from tests.support.run_files import options, prompt, write_run_files  # noqa: E402
from tests.support.shallow import shallow_folder  # noqa: E402

#: A rank that fails after some steps: in its own words, or by a signal.
FAILING = """
import os, signal, sys
from diagplan.backends import replay as executor
from diagplan.backends.errors import CapacityError
from diagplan.__main__ import main

whole, how = executor.forward, sys.argv.pop()

def forward(prepared, state, p):
    if p.step == 3 and os.environ["RANK"] == "1":
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise CapacityError("expected room on rank 1, got none. Take less.")
    return whole(prepared, state, p)

executor.forward = forward
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run_files(tmp_path_factory.mktemp("ranks"))


def test_one_rank_writes_and_prints_the_golden_tokens(folder: Path) -> None:
    arguments = options(folder, *prompt(folder), "--tensor-parallel", "--json", "--exact", out="spread.npy")
    processes = started(2, "-m", "diagplan", *arguments)
    (_, out, err), (_, silent, quiet) = ended(processes, 60)
    assert [one.returncode for one in processes] == [0, 0], err + quiet
    assert silent == ""
    assert "diagplan" not in quiet
    assert json.loads(out)["tokens"] == DATA["tokens/image_k2_prompt"].size
    np.testing.assert_array_equal(np.load(folder / "spread.npy").ravel(), DATA["tokens/image_k2_prompt"].ravel())


def launched(world: int, *arguments: str) -> tuple[int, str, float]:
    """Exit code, what the ranks say, and seconds of a command under torchrun."""
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(world), *arguments],
        capture_output=True, text=True, cwd=ROOT, timeout=90,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if line.startswith("diagplan: ")]
    return done.returncode, "\n".join(said), time.monotonic() - begin


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("said", "diagplan: rank 1 of 2: expected room on rank 1, got none. Take less."),
        ("killed", ""),
    ],
)
def test_a_rank_that_fails_ends_the_others(how: str, words: str, folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    out = tmp_path / "none.npy"
    arguments = options(folder, *prompt(folder), "--tensor-parallel", out=str(out))
    code, said, seconds = launched(2, str(script), *arguments, how)
    assert code == 1, said
    assert said.startswith(words)
    assert said.count("\n") == 0
    assert seconds < 60
    assert not out.exists()


@pytest.mark.slow
def test_heads_that_ranks_cannot_share_are_one_error(folder: Path) -> None:
    code, said, _ = launched(3, "-m", "diagplan", *options(folder, *prompt(folder), "--tensor-parallel"))
    assert code == 1
    assert said.endswith(
        "expected heads that 3 ranks can share, got 4 heads and 2 key-value heads. Each rank computes as many. "
        "Start 2 or 4 of them."
    )
    assert said.count("\n") == 0


def test_outside_of_torchrun(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    code, _, err = run(*options(folder, *prompt(folder), "--tensor-parallel"))
    assert code == 2
    assert "expected --tensor-parallel under torchrun, got no RANK, WORLD_SIZE and LOCAL_RANK" in err
    assert "torchrun --nproc-per-node 2 -m diagplan ..." in err


@pytest.mark.slow
def test_one_rank_writes_the_video(tmp_path: Path) -> None:
    for needed in ("av", "diffusers"):
        pytest.importorskip(needed)
    clip = SHIPPED["crafter-mini"] / "clip.mp4"
    command = ["generate", "--model", str(shallow_folder()), "--video", str(clip), "--frames", "1", "--k", "4"]
    command += ["--actions", str(clip.with_suffix(".jsonl")), "--tokens", str(tmp_path / "tokens.npy"), "-o"]
    processes = started(2, "-m", "diagplan", *command, str(tmp_path / "out.mp4"), "--tensor-parallel", "--json")
    (_, out, err), (_, silent, quiet) = ended(processes, 90)
    assert [one.returncode for one in processes] == [0, 0], err + quiet
    assert silent == ""
    assert json.loads(out)["out"] == str(tmp_path / "out.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "tokens.npy"]
    spread = (tmp_path / "tokens.npy").read_bytes()
    assert run(*command, tmp_path / "whole.mp4")[0] == 0
    assert (tmp_path / "tokens.npy").read_bytes() == spread


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ("--checkpoint", "state.safetensors", "--checkpoint-every", "2"),
            "expected a model that is whole in one process for a checkpoint",
        ),
        ((), "expected heads that 3 ranks can share, got 4 heads and 2 key-value heads."),
        (("--int8",), "expected no quantize with --tensor-parallel, got quantize='int8'."),
        (("--backend", "onnx"), "expected backend torch with --tensor-parallel, got backend='onnx'."),
        (
            ("--adapter", "llamagen"),
            "expected one of mc-ar, cosmos, wham with --tensor-parallel, got adapter='",
        ),
        (("--adapter", "transformers"), "expected one of mc-ar, cosmos, wham with --tensor-parallel, got adapter="),
    ],
)
def test_what_ranks_cannot_share(more: tuple[str, ...], message: str, folder: Path, monkeypatch: Any) -> None:
    """In this process, which takes itself for a rank that has met the others."""
    from diagplan.adapters import parallel

    @contextmanager
    def alone() -> Iterator[Any]:
        met = SimpleNamespace(rank=0, world=3, device="cpu", numbers=lambda number: [number, number])
        monkeypatch.setattr(parallel, "met_ranks", lambda: met)
        yield SimpleNamespace(rank=0, world=3, meet=lambda _: met, is_first_to_say=lambda: True)

    monkeypatch.setattr(parallel, "started_ranks", alone)
    monkeypatch.chdir(folder)
    code, _, err = run(*options(folder, *prompt(folder), "--tensor-parallel", *more, out="never.npy"))
    assert code == 2
    assert message in err
    assert not (folder / "never.npy").exists()
