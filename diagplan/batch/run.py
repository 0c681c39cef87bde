"""A batch from a file of jobs to a folder: what it belongs to, its errors, its summary."""

import json
import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from diagplan.backends.errors import MismatchError
from diagplan.backends.threads import usable_cpus
from diagplan.batch.driver import Pool, drive
from diagplan.batch.jobs import job_source
from diagplan.batch.messages import Opening, Outcome
from diagplan.batch.processes import Processes, gpus_of
from diagplan.batch.recipe import Recipe
from diagplan.batch.tally import Progress, Summary, Tally
from diagplan.planner.arguments import require_kind, require_number, require_path
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.layout import require_int
from diagplan.schemas.atomic import make_folder, write_atomically

__all__ = ["CLIPS", "FORMAT", "local_workers", "require_same", "run_batch"]

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
    workers = require_int("workers", workers, 1, largest=100_000)
    if max_errors is not None:
        require_int("max_errors", max_errors, 0)
    if not require_number("gpus_per_worker", gpus_per_worker, "Give 1, or 0.5.") > 0:
        raise SpecError(f"expected gpus_per_worker > 0, got gpus_per_worker={gpus_per_worker}. Give 1, or 0.5.")
    source, folder = job_source(jobs), Path(os.path.abspath(out))  # noqa: PTH100 - links stay links
    known = {"format": FORMAT, "recipe": recipe.identity()}
    require_same(folder, known)
    make_folder(folder)
    errors, tally = _Errors(folder / "errors.jsonl"), Tally(workers)
    pool = _pool(Opening(opener=opener, recipe=recipe, out=folder), workers, ray, gpus_per_worker)

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


def _pool(opening: Opening, workers: int, ray: str | None, gpus: float) -> Pool:
    options = opening.recipe.options
    on_gpu = options.device.startswith("cuda")
    if ray is not None:
        from diagplan.batch.ray_actors import RayActors

        threads = options.threads if isinstance(options.threads, int) else 1
        return RayActors(opening, ray, cpus=threads, gpus=gpus if on_gpu else 0)
    return local_workers(opening, workers, gpus)


def local_workers(opening: Opening, workers: int, gpus: float = 1, wake: socket.socket | None = None) -> Processes:
    """Workers as processes of this machine, which share its CPUs and GPUs.

    Args:
        opening: what each is opened with.
        workers: how many.
        gpus: of each, where the model is on ``"cuda"``.
        wake: as for ``Processes``.

    Raises:
        SpecError: several workers on one named GPU, or no GPU.
    """
    options = opening.recipe.options
    on_gpu = options.device.startswith("cuda")
    environments: list[dict[str, str]] = [{} for _ in range(workers)]
    if workers > 1 and not isinstance(options.threads, int) and "OMP_NUM_THREADS" not in os.environ:
        for one in environments:  # workers that each measure would each find the machine free
            one["OMP_NUM_THREADS"] = str(max(1, usable_cpus() // workers))
    if on_gpu and workers > 1:
        if options.device != "cuda":
            raise SpecError(
                f"expected device='cuda' for several workers, got device={options.device!r}. Each gets GPUs of its "
                "own; CUDA_VISIBLE_DEVICES says which there are."
            )
        visible = _visible_gpus()
        for number, one in enumerate(environments):
            one["CUDA_VISIBLE_DEVICES"] = gpus_of(number, gpus, visible)
    return Processes(opening, environments, wake)


def _visible_gpus() -> list[str]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None and named.strip():
        return [name.strip() for name in named.split(",") if name.strip()]
    import torch

    count = torch.cuda.device_count()
    if not count:
        raise SpecError("expected a CUDA device, got none. Give device='cpu'.")
    return [str(number) for number in range(count)]


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
