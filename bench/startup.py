"""What a person waits for: whole commands, alone and beside a process that keeps one core busy.

    python -m bench.startup [--repeats 3] [--demo]

Every command is a process of its own: imports, loading, replay and writing included. ``--demo`` adds ``diagplan demo``.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

from bench.plan import machine
from diagplan.worlds import SHIPPED

RESULTS = Path(__file__).parent / "results"
CLIP = SHIPPED["crafter-mini"] / "clip.mp4"


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """A process that keeps one core busy."""
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"]) if wanted else None
    try:
        yield
    finally:
        if other is not None:
            other.kill()
            other.wait()


def timed(arguments: list[str]) -> tuple[float, float]:
    """Seconds of one command: on the clock, and of CPU."""
    env = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    before, begin = os.times(), time.perf_counter()
    subprocess.run([sys.executable, "-m", "diagplan", *arguments], env=env, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - begin, cpu


def commands(folder: Path, *, demo: bool) -> dict[str, list[str]]:
    generate = ["generate", "--video", str(CLIP), "--actions", str(CLIP.with_suffix(".jsonl")), "--k", "2"]
    generate += ["-o", str(folder / "out.mp4"), "--json"]
    found = {
        "--help": ["--help"],
        "generate": generate,
        "generate --frames 1": [*generate, "--frames", "1"],
        "generate --threads 2": [*generate, "--threads", "2"],
    }
    return found | ({"demo": ["demo", "-o", str(folder / "demo")]} if demo else {})


def main() -> None:
    parser = argparse.ArgumentParser(description="Time whole commands, alone and on a busy machine.")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each command; the median is shown")
    parser.add_argument("--demo", action="store_true", help="time diagplan demo as well")
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, arguments in commands(Path(folder), demo=options.demo).items():
            for is_busy in (False, True):
                with busy(is_busy):
                    runs = [timed(arguments) for _ in range(options.repeats)]
                clock, cpu = (statistics.median(values) for values in zip(*runs, strict=True))
                rows.append({"command": name, "busy": is_busy, "seconds": clock, "cpu_seconds": cpu})
                print(f"{name:24} {'one core taken' if is_busy else 'alone':15} {clock:7.2f} s {cpu:7.2f} s of CPU")
    about = machine() | {"torch": version("torch"), "repeats": options.repeats}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "startup.json"
    path.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
