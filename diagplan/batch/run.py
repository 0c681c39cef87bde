"""A batch from a file of jobs to a folder: what it belongs to, its errors, its summary."""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from diagplan.backends.errors import MismatchError
from diagplan.batch.driver import drive
from diagplan.batch.jobs import job_source
from diagplan.batch.messages import Opening, Outcome
from diagplan.batch.pools import open_pool, require_crew
from diagplan.batch.recipe import Recipe
from diagplan.batch.tally import Progress, Summary, Tally
from diagplan.planner.arguments import require_kind, require_path
from diagplan.planner.errors import DocumentError
from diagplan.planner.layout import require_int
from diagplan.schemas.atomic import made_folder, write_atomically

__all__ = ["CLIPS", "FORMAT", "require_same", "run_batch"]

#: What a worker does, for world models.
CLIPS = "diagplan.batch.clips:open_clips"
#: The name of the form of batch.json.
FORMAT = "diagplan-batch/1"


def run_batch(
    jobs: str | Path,
    out: str | Path,
    recipe: Recipe,
    *,
    workers: int = 1,
    ray: str | None = None,
    gpus_per_worker: float = 1,
    max_errors: int | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    opener: str = CLIPS,
) -> Summary:
    """Roll a world forward for every job, and write tokens, video and record of each into a folder.

    The same call again skips what is finished, and does the rest. Clips do not depend on each other, on the number of
    workers, or on which of them was lost on the way.

    Args:
        jobs: a file of JSON lines, or a folder of videos (docs/many.md).
        out: the folder; made if it is not there.
        recipe: what is done with every clip.
        workers: processes, each with the model.
        ray: ``"auto"`` or the address of a Ray cluster, ``"local"`` to start Ray on this machine; ``None``: processes
            of this machine.
        gpus_per_worker: where the model is on ``"cuda"``; less than 1: workers share one.
        max_errors: jobs that may go wrong; after one more no further are begun.
        on_progress: called twice a second, and with every answer.
        opener: ``module:function``, which makes what a worker does: ``diagplan.batch.messages.Work``.

    Raises:
        SpecError, DocumentError, MismatchError, CapacityError: what would go wrong with every job: the model, the plan,
            a folder of another batch, a disk that is full, workers that do not stay alive.
        KeyboardInterrupt: interrupted; its text says how many clips are finished.

    >>> run_batch("jobs.jsonl", "out", Recipe(frames=4), workers=2).clips  # doctest: +SKIP
    100
    """
    require_kind("recipe", recipe, Recipe, "Make one: Recipe(model='crafter-mini').")
    require_path("jobs", jobs)
    require_path("out", out)
    if max_errors is not None:
        require_int("max_errors", max_errors, 0)
    workers = require_crew(workers, gpus_per_worker)
    source, folder = job_source(jobs), Path(os.path.abspath(out))  # noqa: PTH100 - links stay links
    known = {"format": FORMAT, "recipe": recipe.identity()}
    require_same(folder, known)
    with made_folder(folder):
        errors, tally = _Errors(folder / "errors.jsonl"), Tally(workers)
        pool = open_pool(
            Opening(opener=opener, recipe=recipe, out=folder), workers, ray, gpus_per_worker=gpus_per_worker,
            device=recipe.options.device, threads=recipe.options.threads,
        )  # fmt: skip

        def on_ready(identity: Mapping[str, Any]) -> None:
            about = {**known, **identity}
            if not require_same(folder, about):
                write_atomically(folder / "batch.json", f"{json.dumps(about, indent=1)}\n".encode())
            if tally.opened is None:
                tally.open()
                errors.begin()

        def on_pulse(ready: int) -> None:
            if on_progress is not None:
                on_progress(tally.progress(source.share, ready))

        try:
            stopped = drive(
                pool, source, tally, size=recipe.batch, max_errors=max_errors, on_ready=on_ready, on_wrong=errors.add,
                on_pulse=on_pulse,
            )  # fmt: skip
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{tally.done + tally.there} clips in {out} are finished; the same command does the rest."
            ) from None
        finally:
            pool.close()
            errors.close()
        summary = tally.summary(stopped=stopped)
        write_atomically(folder / "summary.json", f"{json.dumps(summary.document(), indent=1)}\n".encode())
        return summary


def require_same(folder: Path, about: Mapping[str, Any]) -> bool:
    """Whether a folder belongs to a batch already: to this one.

    Args:
        folder: of the outputs.
        about: what decides about the tokens, as far as it is known.

    Raises:
        MismatchError: to another one; the message says what differs.
        DocumentError: its batch.json cannot be read.
    """
    path = folder / "batch.json"
    try:
        held = json.loads(path.read_bytes())
    except FileNotFoundError:
        return False
    except (OSError, ValueError, RecursionError) as error:
        raise DocumentError(f"cannot read {path}: {error}. Give another folder.") from None
    if not isinstance(held, dict):
        raise DocumentError(f"expected what a batch is made of in {path}, got something else. Give another folder.")
    for name, value in _flat(about).items():
        if (other := _flat(held).get(name)) != value:
            raise MismatchError(
                f"expected a folder of the same batch, got {folder} with {name}={json.dumps(other)}, not "
                f"{json.dumps(value)}. Clips of one folder are made by one plan and one model. Give another folder."
            )
    return True


def _flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in document.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


class _Errors:
    """errors.jsonl: of this run, a line for each job that went wrong, on the disk as soon as it is known."""

    def __init__(self, path: Path) -> None:
        self._path, self._handle = path, -1

    def begin(self) -> None:
        """Forget those of an earlier run: its jobs are tried again."""
        with suppress(FileNotFoundError):
            self._path.unlink()

    def add(self, outcome: Outcome) -> None:
        """Append a line."""
        line = json.dumps({"line": outcome.number, "id": outcome.id, "error": outcome.message}) + "\n"
        try:
            if self._handle < 0:
                self._handle = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o666)
            os.write(self._handle, line.encode())
        except OSError as error:
            raise DocumentError(f"cannot write {self._path}: {error.strerror}. Free some space.") from None

    def close(self) -> None:
        """Close the file."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
