"""Batches in tests: files of jobs, a worker's work without a model, the processes of workers."""

import json
import os
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diagplan.adapters.options import LoadOptions
from diagplan.batch.jobs import Job
from diagplan.batch.messages import Outcome
from diagplan.batch.recipe import Recipe
from diagplan.planner.errors import DocumentError
from diagplan.planner.schedule import Diagonal
from diagplan.schemas.atomic import write_atomically

__all__ = ["STUB", "StubWork", "open_stub", "outputs", "small_batch", "worker_pids", "write_jobs"]

#: The opener of a worker without a model.
STUB = "tests.support.batch:open_stub"


def write_jobs(path: Path, entries: Sequence[Mapping[str, Any] | str]) -> Path:
    """A file of jobs; a text stands for itself."""
    lines = [one if isinstance(one, str) else json.dumps(one) for one in entries]
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def outputs(out: Path) -> dict[str, bytes]:
    """Every file of clips of a batch, by its name."""
    return {path.name: path.read_bytes() for path in (out / "clips").rglob("*") if path.is_file()}


def small_batch(folder: Path, count: int) -> tuple[Path, Recipe]:
    """Files of a small world, jobs for so many clips and one without a video, and a recipe; without diffusers."""
    from tests.support.cosmos_world import write_cosmos_world

    files = write_cosmos_world(folder)
    entries = [{"id": f"c{number}", "video": "video.mp4"} for number in range(count)]
    jobs = write_jobs(folder / "jobs.jsonl", [*entries[:-1], {"video": "none.mp4"}, entries[-1]])
    recipe = Recipe(
        model="cosmos", weights=files / "base.safetensors", tokenizer=files / "tokenizer", schedule=Diagonal(k=1),
        options=LoadOptions(config=str(files / "base.json"), threads=1), sampling={"temperature": 1.5}, batch=2,
    )  # fmt: skip
    return jobs, recipe


class StubWork:
    """Writes a file for each job; the job's text says what goes wrong.

    ``wrong``: the job alone. ``full``: the disk. ``kill``: the worker, by a signal. ``kill once``: the first time.
    ``raise``: the worker, by a fault. ``slow``: it takes a while.
    """

    def __init__(self, recipe: Recipe, out: Path) -> None:
        self.out, self.identity = out, {"model": {"weights": recipe.model}}

    def do(self, jobs: Sequence[Job]) -> list[Outcome]:
        return [self._one(job) for job in jobs]

    def _one(self, job: Job) -> Outcome:
        mark = self.out / f"{job.id}.killed"
        match job.text:
            case "wrong":
                return Outcome(number=job.number, id=job.id, state="wrong", message="expected a clip, got none.")
            case "full":
                raise DocumentError("The disk is full.")
            case "raise":
                raise LookupError("a fault")
            case "slow":
                time.sleep(0.2)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "kill once" if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            case _:
                pass
        path = self.out / f"{job.id}.txt"
        if path.exists():
            return Outcome(number=job.number, id=job.id, state="there", frames=2, tokens=8)
        write_atomically(path, b"done")
        return Outcome(number=job.number, id=job.id, state="done", frames=2, tokens=8, passes=3.0)


def open_stub(recipe: Recipe, out: Path) -> StubWork:
    """The work; a model named ``broken`` cannot be loaded, one named ``dies`` ends the worker."""
    if recipe.model == "broken":
        raise DocumentError("expected a checkpoint, got none.")
    if recipe.model == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    return StubWork(recipe, out)


def worker_pids() -> list[int]:
    """The processes of workers that this process has started."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
            words = (place / "cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        if int(fields[1]) == os.getpid() and fields[0] != "Z" and b"diagplan.batch.worker" in words:
            found.append(int(place.name))
    return sorted(found)
