"""Jobs on the disk: written before they are accepted, read when a service starts again, removed when they are old.

``jobs/ID.json`` is a job; beside it lie its inputs, written before it, so that a job that is there is whole.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from diagplan.batch.jobs import Job, WrongJob, job_from
from diagplan.batch.records import read_record
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.schemas.atomic import make_folder, write_atomically
from diagplan.serve.places import frame_place, jobs_folder, remove_results, results_folder
from diagplan.serve.requests import JobRequest

__all__ = ["FullDiskError", "JobState", "Spool", "StoredJob"]

JobState = Literal["queued", "running", "done", "wrong", "cancelled"]
#: The names of the forms of spool.json and of a job.
_SPOOL, _JOB = "diagplan-spool/1", "diagplan-served-job/1"
#: Bytes of a job's file; more is none.
_BYTES = 1 << 25


class FullDiskError(DocumentError):
    """There is no room to write."""


@dataclass(slots=True, kw_only=True)
class StoredJob:
    """A job of a service, as it is kept on the disk.

    Attributes:
        id: names it and its files.
        number: jobs are done in this order.
        accepted: when, in seconds since 1970.
        request: the digest of what was asked for.
        entry: keys of a line of ``diagplan batch``, with the names of the files beside this one.
        layout: jobs with the same are worth passing together.
        state: what is kept is ``"queued"`` until the end.
        error: why it cannot be done.
        ended: when; ``None``: not yet.
        frames, tokens, passes: of the clip that was made.
    """

    id: str
    number: int
    accepted: float
    request: str
    entry: dict[str, Any]
    layout: str
    state: JobState = "queued"
    error: str = ""
    ended: float | None = None
    frames: int = 0
    tokens: int = 0
    passes: float = 0.0
    format: str = field(default=_JOB)

    def job(self, folder: Path) -> Job:
        """The same for a worker.

        Raises:
            DocumentError: the file was changed by another hand.
        """
        entry = job_from({**self.entry, "id": self.id}, self.number, folder)
        if isinstance(entry, WrongJob):
            raise DocumentError(f"expected a job as the service wrote it, got {self.id}: {entry.message}")
        return entry


class Spool:
    """A folder of jobs and results, of one service at a time.

    Args:
        folder: made if it is not there.

    Raises:
        SpecError: another service has it, or it holds something else.
        DocumentError: it cannot be made.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay links
        self.jobs, self.results = jobs_folder(self.folder), results_folder(self.folder)
        make_folder(self.folder)
        mark = self.folder / "spool.json"
        if not mark.exists() and self._holds_others():
            raise SpecError(f"expected an empty folder or a spool, got {self.folder}. Give another folder.")
        for place in (self.jobs, self.results):
            make_folder(place)
        if not mark.exists():
            write_atomically(mark, f"{json.dumps({'format': _SPOOL})}\n".encode())
        try:
            import fcntl
        except ImportError:
            raise SpecError("expected a Unix system, whose locks keep a spool to one service, got another.") from None
        self._lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            raise SpecError(
                f"expected a spool that no other service uses, got {self.folder}. Give another folder."
            ) from None

    def _holds_others(self) -> bool:
        """Whether something lies in the folder besides the empty ones that a spool begins with."""
        own = (self.jobs, self.results)
        return any(path not in own or not path.is_dir() or any(path.iterdir()) for path in self.folder.iterdir())

    def close(self) -> None:
        """Leave it to the next service."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # Reading

    def load(self) -> list[StoredJob]:
        """All jobs in their order; what no job owns is removed. One whose results are gone is queued again.

        Raises:
            DocumentError: a job that cannot be read.
        """
        kept = sorted(self._documents(), key=lambda job: job.number)
        names = {job.id for job in kept}
        for path in self.jobs.iterdir():
            if path.suffix != ".json" and _owner(path.name) not in names and not path.name.startswith("."):
                path.unlink(missing_ok=True)  # inputs of a job that was not accepted
        for job in kept:
            if job.state == "done" and read_record(self.results, job.id) is None:
                job.state, job.ended = "queued", None
            elif job.state == "cancelled":
                remove_results(self.results, job.id)
        for path in self.results.glob("clips/*/*.*"):
            if path.stem not in names and not path.name.startswith("."):
                path.unlink(missing_ok=True)
        for path in self.results.glob("frames/*"):
            if path.name not in names:
                shutil.rmtree(path, ignore_errors=True)
        return kept

    def _documents(self) -> Iterator[StoredJob]:
        for path in self.jobs.glob("*.json"):
            try:
                with path.open("rb") as file:
                    held = json.loads(file.read(_BYTES))
                if not isinstance(held, dict) or held.get("format") != _JOB or held.get("id") != path.stem:
                    raise ValueError("it is none")
                job = StoredJob(**held)
                job.job(self.jobs)
            except (OSError, ValueError, TypeError, RecursionError) as error:
                raise DocumentError(
                    f"cannot read the job {path}: {error}. Remove the file; its client will hear that it is unknown."
                ) from None
            yield job

    # Writing

    def accept(self, request: JobRequest, name: str, number: int, accepted: float) -> StoredJob:
        """Have a job on the disk.

        Raises:
            FullDiskError: there is no room; nothing stays.
            DocumentError: it cannot be written; nothing stays.
        """
        files = {key: f"{name}.{key}{ending}" for key, (ending, _) in request.files.items()}
        job = StoredJob(
            id=name, number=number, accepted=accepted, request=request.digest, entry={**request.entry, **files},
            layout=request.layout,
        )  # fmt: skip
        try:
            for key, (_, data) in request.files.items():
                self._write(self.jobs / files[key], data)
            self.save(job)
        except DocumentError:
            for place in files.values():
                with suppress(OSError):
                    (self.jobs / place).unlink()
            raise
        return job

    def save(self, job: StoredJob) -> None:
        """Keep a job as it is now.

        Raises:
            FullDiskError, DocumentError: it cannot be written; what was there stays.
        """
        document: Mapping[str, Any] = asdict(job) | ({"state": "queued"} if job.state == "running" else {})
        self._write(self.jobs / f"{job.id}.json", f"{json.dumps(document)}\n".encode())

    def remove(self, job: StoredJob) -> None:
        """Forget a job, its inputs and its results."""
        with suppress(OSError):
            (self.jobs / f"{job.id}.json").unlink()
        for path in job.job(self.jobs).files().values():
            with suppress(OSError):
                path.unlink()
        remove_results(self.results, job.id)

    def discard(self, job: StoredJob) -> None:
        """Remove what was made for a job that was cancelled."""
        remove_results(self.results, job.id)

    def frame(self, name: str, number: int) -> Path:
        """The PNG of a generated frame, from 1."""
        return frame_place(self.results, name, number)

    def probe(self) -> None:
        """Write something.

        Raises:
            FullDiskError, DocumentError: that is not possible.
        """
        self._write(self.folder / "probe", b"\0" * 4096)

    def free(self) -> int:
        """Bytes that are free where the spool lies."""
        return shutil.disk_usage(self.folder).free

    def _write(self, path: Path, data: bytes) -> None:
        try:
            write_atomically(path, data)
        except DocumentError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
                raise FullDiskError(
                    "expected room on the disk of the service, got none. Nothing was accepted; try again later."
                ) from error
            raise


def _owner(file: str) -> str:
    """The id of the job that an input belongs to: ``a.b.video.mp4`` is of ``a.b``."""
    return file.rpartition(".")[0].rpartition(".")[0]
