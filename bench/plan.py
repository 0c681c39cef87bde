"""Time and memory of compiling, verifying and writing plans: ``python -m bench.plan``.

Every figure comes from a fresh process, so that peak memory is that task's alone. The sizes are the Cosmos grid,
40 x 64 with two prompt frames, k = 2, d = 10; the largest generates about a million tokens.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

import diagplan
from diagplan import Diagonal, Layout, compile_plan, verify
from diagplan.planner.masks import iter_masks
from diagplan.planner.stats import plan_stats
from diagplan.schemas.convert import plan_digest
from diagplan.schemas.files import plan_from_json, plan_to_json

FRAMES = (3, 48, 97, 195, 390)
EXPLICIT_FRAMES = (3,)
RESULTS = Path(__file__).parent / "results" / "plan.json"


def _plan(frames: int) -> diagplan.Plan:
    return compile_plan(Layout(frames=frames, rows=40, cols=64, prompt_frames=2), Diagonal(k=2, d=10))


def _verify(plan: diagplan.Plan) -> None:
    if not verify(plan).ok:
        raise SystemExit("the benchmark's plan does not verify")


#: What is made before the clock starts, and what is timed.
TASKS: dict[str, tuple[Callable[[int], Any], Callable[[Any], object]]] = {
    "compile": (lambda frames: frames, _plan),
    "verify": (_plan, _verify),
    "stats": (_plan, plan_stats),
    "digest": (_plan, plan_digest),
    "to JSON, rule": (_plan, partial(plan_to_json, masks="rule")),
    "from JSON, rule": (lambda frames: plan_to_json(_plan(frames), masks="rule"), plan_from_json),
    "to JSON, explicit": (_plan, plan_to_json),
    "from JSON, explicit": (lambda frames: plan_to_json(_plan(frames)), plan_from_json),
    "masks, all rows": (_plan, lambda plan: sum(int(mask.sum()) for _, mask in iter_masks(plan))),
}


def measure(task: str, frames: int, repeats: int) -> dict[str, Any]:
    """Seconds of ``repeats`` runs of one task after one that is not counted, and the process's peak memory in MiB."""
    prepare, run = TASKS[task]
    made = prepare(frames)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        run(made)
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "task": task,
        "frames": frames,
        "tokens": frames * 40 * 64,
        "first_ms": 1e3 * seconds[0],
        "median_ms": 1e3 * statistics.median(seconds[1:]),
        "max_ms": 1e3 * max(seconds),
        "peak_mib": peak / 1024,
        "peak_before_mib": before / 1024,
    }


def machine() -> dict[str, str]:
    """What the figures were measured on."""
    model = "unknown"
    if (cpuinfo := Path("/proc/cpuinfo")).exists():
        names = [
            line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")
        ]
        model = f"{len(names)} x {names[0]}" if names else model
    return {
        "cpu": model,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "diagplan": diagplan.__version__,
        "date": date.today().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="counted runs of each task")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write the JSON")
    parser.add_argument("--one", nargs=2, metavar=("TASK", "FRAMES"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        json.dump(measure(options.one[0], int(options.one[1]), options.repeats), sys.stdout)
        return
    jobs = [
        (task, n) for task in TASKS for n in (EXPLICIT_FRAMES if task.endswith(("explicit", "all rows")) else FRAMES)
    ]
    rows = []
    for task, frames in track(jobs, description="measuring", console=Console(stderr=True)):
        command = [sys.executable, "-m", "bench.plan", "--one", task, str(frames), "--repeats", str(options.repeats)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    table = Table(title="Cosmos grid 40 x 64, k=2, d=10")
    table.add_column("task")
    for name in ("frames", "tokens", "median ms", "first ms", "ns a token", "peak MiB"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            row["task"],
            str(row["frames"]),
            f"{row['tokens']:,}",
            f"{row['median_ms']:.1f}",
            f"{row['first_ms']:.1f}",
            f"{1e6 * row['median_ms'] / row['tokens']:.0f}",
            f"{row['peak_mib']:.0f}",
        )
    Console(width=100).print(table)
    sizes = {
        "explicit": len(plan_to_json(_plan(3))),
        "rule": len(plan_to_json(_plan(3), masks="rule")),
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(
        json.dumps({"machine": machine(), "json_bytes_of_3_frames": sizes, "rows": rows}, indent=1) + "\n"
    )
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
