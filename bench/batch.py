"""Many clips: ``python -m bench.batch``.

crafter-mini on so many clips: a loop in one process, then ``diagplan.batch`` with one worker, with two, and with two of
which ten are killed at random moments; start-up included and not; all outputs are compared. A stub of a model on many
jobs tells how fast the driver is, and whether its memory grows. ``--ray local`` runs two workers on Ray as well.
"""

import argparse
import json
import os
import random
import resource
import shutil
import signal
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.plan import machine
from bench.play import memory
from diagplan.batch import Progress, Recipe, Summary, run_batch
from diagplan.batch.jobs import Job, job_source
from diagplan.batch.messages import Outcome
from diagplan.planner.schedule import Diagonal

RESULTS = Path(__file__).parent / "results" / "batch.json"


class Stub:
    """A model that does nothing: what is left is the driver."""

    def __init__(self) -> None:
        self.identity = {"model": {"weights": "none"}}

    def do(self, jobs: Sequence[Job]) -> list[Outcome]:
        """All done."""
        return [Outcome(number=job.number, id=job.id, state="done", frames=1, tokens=1, passes=1.0) for job in jobs]


def open_stub(*_: object) -> Stub:
    return Stub()


def worker_pids() -> list[int]:
    """Workers of this process, of Linux."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"diagplan.batch.worker" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    return found


def killing(kills: int, ready: threading.Event, over: threading.Event) -> tuple[threading.Thread, list[float]]:
    """A thread that kills a worker at random moments after one was ready, so often; when it did."""
    draw, moments, began = random.Random(1), list[float](), time.perf_counter()

    def run() -> None:
        ready.wait()
        while len(moments) < kills and not over.wait(draw.uniform(0.2, 4.0)):
            pids = worker_pids()
            if pids:
                os.kill(draw.choice(pids), signal.SIGKILL)
                moments.append(round(time.perf_counter() - began, 2))

    thread = threading.Thread(target=run)
    thread.start()
    return thread, moments


def outputs(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "clips").rglob("*") if path.is_file()}


def one_process(jobs: Path, recipe: Recipe, out: Path) -> dict[str, Any]:
    """A loop over the jobs, one clip at a time, as a script would have it; nothing was imported before."""
    began = time.perf_counter()
    from diagplan.batch.clips import open_clips

    work = open_clips(recipe, out)
    opened = time.perf_counter()
    outcomes = [outcome for job in job_source(jobs) if isinstance(job, Job) for outcome in work.do([job])]
    ended, frames = time.perf_counter(), sum(outcome.frames for outcome in outcomes)
    return row("a loop in one process, one clip at a time", frames, ended - began, opened - began)


def row(name: str, frames: int, seconds: float, opening: float, **more: Any) -> dict[str, Any]:
    return {
        "what": name, "frames": frames, "seconds": round(seconds, 2), "opening_seconds": round(opening, 2),
        "frames_a_second": round(frames / seconds, 3),
        "frames_a_second_once_open": round(frames / (seconds - opening), 3), **more,
    }  # fmt: skip


def of_summary(name: str, summary: Summary, **more: Any) -> dict[str, Any]:
    return row(
        name,
        summary.frames,
        summary.seconds,
        summary.opening_seconds,
        losses=summary.losses,
        wrong=summary.wrong,
        **more,
    )


def driver(folder: Path, count: int, workers: int) -> dict[str, Any]:
    """A stub on many jobs: jobs a second, and the driver's memory while it goes on."""
    jobs = folder / "many.jsonl"
    with jobs.open("w") as file:
        for number in range(count):
            file.write(json.dumps({"video": f"clips/{number:09d}.mp4", "actions": f"clips/{number:09d}.jsonl"}) + "\n")
    seen: dict[int, int] = {}  # by percent: what this holds itself does not grow

    def on_progress(now: Progress) -> None:
        if (percent := int(100 * now.share)) not in seen:
            seen[percent] = memory(os.getpid())

    summary = run_batch(
        jobs, folder / "stub", Recipe(batch=4), workers=workers, opener="bench.batch:open_stub", on_progress=on_progress
    )
    tenths = [statistics.median(held for percent, held in seen.items() if percent // 10 == n) for n in range(10)]
    seconds = summary.seconds - summary.opening_seconds
    return {
        "jobs": summary.clips, "jobs_file_bytes": jobs.stat().st_size, "seconds": round(seconds, 2),
        "jobs_a_second": round(summary.clips / seconds), "memory_by_tenth": [int(held) for held in tenths],
        "grown_bytes": int(tenths[-1] - tenths[1]),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=96, help="clips of crafter-mini")
    parser.add_argument("--frames", type=int, default=2, help="frames of each")
    parser.add_argument("--kills", type=int, default=10, help="workers that are killed")
    parser.add_argument("--jobs", type=int, default=100_000, help="of the stub")
    parser.add_argument("--ray", default=None, help="local: Ray too")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write the JSON")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    folder = Path(tempfile.mkdtemp(prefix="diagplan-batch-"))
    try:
        figures = measured(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    options.out.write_text(json.dumps({"machine": machine(), "load": load} | figures, indent=1) + "\n")
    print(f"wrote {options.out}")
    if not figures["same"]:
        sys.exit("expected the same files in every folder, got others.")


def measured(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All rows."""
    from diagplan.worlds.loading import SHIPPED

    stub = driver(folder, options.jobs, 2)
    clip = SHIPPED["crafter-mini"] / "clip.mp4"
    jobs = folder / "jobs.jsonl"
    entry = json.dumps({"video": str(clip), "actions": str(clip.with_suffix(".jsonl"))})
    jobs.write_text(f"{entry}\n" * options.clips)
    recipe = Recipe(schedule=Diagonal(k=2), frames=options.frames, sampling={"temperature": 1.0}, batch=4)
    rows = [of_summary("one worker", run_batch(jobs, folder / "1", recipe))]
    rows.append(of_summary("two workers", run_batch(jobs, folder / "2", recipe, workers=2)))
    ready, over = threading.Event(), threading.Event()
    thread, moments = killing(options.kills, ready, over)
    try:
        killed = run_batch(
            jobs, folder / "k", recipe, workers=2, on_progress=lambda now: ready.set() if now.workers else None
        )
    finally:
        over.set()
        ready.set()
    thread.join()
    rows.append(of_summary(f"two workers, {len(moments)} kills", killed, kills=moments))
    folders = ["1", "2", "k"]
    if options.ray:
        rows.append(of_summary("two workers on Ray", run_batch(jobs, folder / "r", recipe, workers=2, ray=options.ray)))
        folders.append("r")
    alone = Recipe(schedule=Diagonal(k=2), frames=options.frames, sampling={"temperature": 1.0}, batch=1)
    rows.insert(0, one_process(jobs, alone, folder / "0"))
    every = [outputs(folder / name) for name in ["0", *folders]]
    different = {
        folder: sorted(name for name in {*every[0], *one} if every[0].get(name) != one.get(name))
        for folder, one in zip(folders, every[1:], strict=True)
    }
    same = len(every[0]) == 3 * options.clips and not any(different.values())
    table = Table(title=f"{options.clips} clips of {options.frames} frames, crafter-mini, k=2")
    for name in ("", "seconds", "until a worker is ready", "frames/s", "frames/s once ready", "lost"):
        table.add_column(name, justify="right" if name else "left")
    for one in rows:
        cells = (one["seconds"], one["opening_seconds"], one["frames_a_second"], one["frames_a_second_once_open"])
        table.add_row(one["what"], *map(str, cells), str(one.get("losses", "")))
    out = Console(width=110)
    out.print(table)
    out.print(f"files of all folders are the same: {same}")
    for where, names in different.items():
        if names:
            out.print(f"in {where}: {', '.join(names[:5])}")  # of a clip over which workers were lost three times
    out.print(
        f"driver, {stub['jobs']:,} jobs: {stub['jobs_a_second']:,} a second, grown by {stub['grown_bytes']:,} bytes"
    )
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sizes = {
        end: statistics.mean(len(data) for name, data in every[0].items() if name.endswith(end)) for end in ENDINGS
    }
    return {"rows": rows, "same": same, "driver": stub, "peak_bytes": peak, "bytes_a_file": sizes}


ENDINGS = (".npy", ".mp4", ".json")

if __name__ == "__main__":
    main()
