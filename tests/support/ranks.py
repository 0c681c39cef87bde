"""Processes that share one model: each runs a function of a test with the ranks that it has met.

They are new processes, never forks: torch's threads do not outlive a fork.
"""

import importlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def environment(rank: int, world: int, port: int) -> dict[str, str]:
    """What torchrun sets for a rank."""
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    return os.environ | loopback | {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def started(world: int, *arguments: str) -> list[subprocess.Popen[str]]:
    """A Python process for each rank."""
    port = free_port()
    return [
        subprocess.Popen(
            [sys.executable, *arguments], env=environment(rank, world, port), cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for rank in range(world)
    ]  # fmt: skip


def ended(processes: list[subprocess.Popen[str]], seconds: float = 240) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each, all of them gone."""
    until = time.monotonic() + seconds
    try:
        return [(0, *one.communicate(timeout=max(1, until - time.monotonic()))) for one in processes]
    finally:
        for one in processes:
            if one.poll() is None:
                one.kill()
                one.wait()


def run_ranks(world: int, target: str, folder: Path) -> None:
    """Call ``module:function`` with the ranks and a folder, in a process for each rank; all of them must end well."""
    processes = started(world, "-c", f"from tests.support.ranks import child; child({target!r}, {str(folder)!r})")
    done = ended(processes)
    for rank, (one, (_, out, err)) in enumerate(zip(processes, done, strict=True)):
        assert one.returncode == 0, f"rank {rank}: {out}\n{err}"


def child(target: str, folder: str) -> None:
    """What each process of ``run_ranks`` runs."""
    import torch

    from diagplan.adapters.parallel import joined_ranks

    torch.set_num_threads(1)
    module, _, name = target.partition(":")
    with joined_ranks("cpu") as ranks:
        getattr(importlib.import_module(module), name)(ranks, Path(folder))
