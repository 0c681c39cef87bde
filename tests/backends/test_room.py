"""How much memory is free: made-up systems with control groups of both versions, and none."""

import sys
from pathlib import Path

import pytest

from diagplan.backends.room import free_memory

GIB = 1 << 30


def system(root: Path, files: dict[str, object]) -> Path:
    """A made-up /proc and /sys with 8 GiB available."""
    for name, text in {"proc/meminfo": "MemTotal: 99 kB\nMemAvailable:    8388608 kB\n", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(text))
    return root


V1, V2 = "sys/fs/cgroup/memory", "sys/fs/cgroup"
SYSTEMS: dict[str, tuple[dict[str, object], int]] = {
    "no groups": ({}, 8 * GIB),
    "version 2": (
        {"proc/self/cgroup": "0::/a/b\n", f"{V2}/a/b/memory.max": 3 * GIB, f"{V2}/a/b/memory.current": GIB},
        2 * GIB,
    ),
    "cached pages are free": (
        {
            "proc/self/cgroup": "0::/a\n", f"{V2}/a/memory.max": 3 * GIB, f"{V2}/a/memory.current": GIB,
            f"{V2}/a/memory.stat": f"anon 5\ninactive_file {GIB // 2}\n",
        },
        5 * GIB // 2,
    ),
    "a group above": (
        {
            "proc/self/cgroup": "0::/a/b\n", f"{V2}/a/b/memory.max": "max", f"{V2}/a/b/memory.current": GIB,
            f"{V2}/a/memory.max": 2 * GIB, f"{V2}/a/memory.current": GIB,
        },
        GIB,
    ),
    "a container sees its own group at the top": (
        {"proc/self/cgroup": "0::/../..\n", f"{V2}/memory.max": GIB, f"{V2}/memory.current": 0},
        GIB,
    ),
    "more used than allowed": (
        {"proc/self/cgroup": "0::/\n", f"{V2}/memory.max": GIB, f"{V2}/memory.current": 2 * GIB},
        0,
    ),
    "version 1": (
        {
            "proc/self/cgroup": "5:cpu,cpuacct:/x\n4:memory:/p/q\n0::/\n",
            f"{V1}/p/q/memory.limit_in_bytes": 4 * GIB, f"{V1}/p/q/memory.usage_in_bytes": 2 * GIB,
            f"{V1}/p/q/memory.stat": f"inactive_file 7\ntotal_inactive_file {GIB}\n",
            f"{V1}/memory.limit_in_bytes": 9223372036854771712, f"{V1}/memory.usage_in_bytes": 5,
        },
        3 * GIB,
    ),
    "nonsense": (
        {"proc/self/cgroup": "garbage\n::\n0::/a\n", f"{V2}/a/memory.max": "-7", f"{V2}/a/memory.current": "x" * 99},
        8 * GIB,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_least_of_all_limits(name: str, tmp_path: Path) -> None:
    files, free = SYSTEMS[name]
    assert free_memory(root=system(tmp_path, files)) == free


def test_systems_that_do_not_say(tmp_path: Path) -> None:
    assert free_memory(root=tmp_path) is None
    assert free_memory("mps") is None
    assert free_memory("cuda:97") is None


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's /proc")
def test_this_machine_says() -> None:
    free = free_memory()
    assert free is not None
    assert 1 << 20 < free < 1 << 50


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of a process")
def test_the_address_space_of_a_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    system(tmp_path, {"proc/self/status": "Name: x\nVmSize:\t 1048576 kB\n"})
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4 * GIB, 4 * GIB))
    assert free_memory(root=tmp_path) == 3 * GIB
