"""Studies for workers: a small one that loads quickly, work without a model, work that dies in the middle."""

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diagplan.batch.jobs import Job
from diagplan.batch.messages import Outcome
from diagplan.study.results import Result, StudyFolder
from diagplan.study.work import ConditionWork, StudyRecipe
from tests.support.kept import made_once

__all__ = ["DYING", "FATAL", "STUB", "StubWork", "differing", "files_of", "open_dying", "open_stub", "small_study"]

#: The openers of workers without a model, and of workers that die.
STUB, DYING = "tests.support.study_work:open_stub", "tests.support.study_work:open_dying"
#: The condition before whose result a worker of ``DYING`` is killed, once.
FATAL = "base/k=1"
_TIMES = ("seconds", "tp", "fps", "faster")


def small_study() -> dict[str, Any]:
    """Options of ``set_up`` for two clips and a tiny Cosmos model, whose files are never to be changed."""
    files = made_once("small-study", _write)
    return {
        "model": "cosmos", "clips": files / "clips", "count": 2, "weights": files / "base.safetensors",
        "config": str(files / "base.json"), "tokenizer": files / "tokenizer", "repeats": 1, "threads": 1,
    }  # fmt: skip


def _write(folder: Path) -> None:
    from diagplan.video.files import VideoWriter
    from tests.support.cosmos_world import write_cosmos_world

    write_cosmos_world(folder)
    (folder / "clips").mkdir()
    draw = np.random.default_rng(0)
    for name in ("a", "b"):
        with VideoWriter(folder / "clips" / f"{name}.mp4", fps=25) as writer:
            for _ in range(33):
                writer.add(draw.integers(0, 256, (3, 4, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1))


class StubWork:
    """Runs nothing, and notes in the folder what it was given; ``faults`` of the options say what goes wrong.

    ``wrong``: the condition. ``kill``: the worker, by a signal. ``kill once``: the first time. ``slow``: a minute.
    """

    def __init__(self, recipe: StudyRecipe, out: Path) -> None:
        self.out, self.faults = out, recipe.options["faults"]
        self.identity = recipe.options["identity"]

    def do(self, jobs: Sequence[Job]) -> list[Outcome]:
        return [self._one(job) for job in jobs]

    def _one(self, job: Job) -> Outcome:
        with (self.out / "given.txt").open("a") as file:
            file.write(f"{job.id}\n")
        mark = self.out / "killed"
        match self.faults.get(job.id):
            case "wrong":
                message = "expected tokens, got others. Leave it out."
                return Outcome(number=job.number, id=job.id, state="wrong", message=message, kind="MismatchError")
            case "slow":
                time.sleep(60)
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "kill once" if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            case _:
                pass
        with (self.out / "done.txt").open("a") as file:
            file.write(f"{job.id}\n")
        return Outcome(number=job.number, id=job.id, state="done")


def open_stub(recipe: StudyRecipe, out: Path) -> StubWork:
    """The work without a model."""
    return StubWork(recipe, out)


def open_dying(recipe: StudyRecipe, out: Path) -> ConditionWork:
    """The real work of a worker that is killed between the tokens of ``FATAL`` and their result, the first time."""
    write = StudyFolder.write

    def dying(self: StudyFolder, result: Result) -> Result:
        mark = self.folder.parent / "killed"
        if result.id == FATAL and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return write(self, result)

    StudyFolder.write = dying  # type: ignore[method-assign]
    return ConditionWork(recipe, out)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file of a study by its name, but those that hold times alone, or with their times taken out."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    kept = {}
    for name, path in found.items():
        if name.endswith(".json"):
            kept[name] = json.dumps(_without_times(json.loads(path.read_text()))).encode()
        elif name not in ("quality-time.png", "results.md", "results.csv"):
            kept[name] = path.read_bytes()
    return kept


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(part) for key, part in value.items() if key not in _TIMES}
    return [_without_times(part) for part in value] if isinstance(value, list) else value


def differing(one: Path, other: Path) -> list[str]:
    """The names of files of two studies that are not the same, times left out."""
    mine, theirs = files_of(one), files_of(other)
    return sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name))
