"""What a service does with jobs, whatever they came over: accept, cancel, forget. It knows no HTTP but status codes."""

import secrets
import time
from collections.abc import Mapping
from typing import Any

from diagplan.batch.recipe import Recipe
from diagplan.planner.errors import DocumentError
from diagplan.serve.board import Board, Entry
from diagplan.serve.engine import SERVED, Engine
from diagplan.serve.metrics import Metrics
from diagplan.serve.requests import JobRequest, RequestError, id_of_key, parse_job
from diagplan.serve.settings import Settings
from diagplan.serve.spool import FullDiskError, Spool

__all__ = ["Service"]

#: Seconds after which a client may ask a service that ends, or has no room on its disk, again.
_LATER = 30


class Service:
    """Jobs, from their acceptance to their removal.

    ``accept``, ``cancel`` and ``tidy`` are called from one thread, which writes to the disk.

    Args:
        recipe: what is done with every clip.
        spool: the folder of jobs and results.
        settings: limits.
        workers, gpus_per_worker, wait, opener: as for ``Engine``.

    Raises:
        MismatchError: a spool of another plan or model.
        DocumentError: a job in it that cannot be read.
    """

    def __init__(
        self,
        recipe: Recipe,
        spool: Spool,
        settings: Settings,
        *,
        workers: int = 1,
        gpus_per_worker: float = 1,
        wait: float = 0.02,
        opener: str = SERVED,
    ) -> None:
        self.recipe, self.spool, self.settings, self.metrics = recipe, spool, settings, Metrics()
        self.board = Board(spool.load(), pictures=recipe.pictures)
        self.engine = Engine(
            recipe, spool, self.board, self.metrics, workers=workers, gpus_per_worker=gpus_per_worker, wait=wait,
            opener=opener,
        )  # fmt: skip
        self._full = False
        self._probed = 0.0

    def close(self) -> None:
        """End at once, and leave the spool to the next service."""
        self.engine.close()
        self.spool.close()

    # Health

    def health(self) -> tuple[int, dict[str, Any]]:
        """Status and document of ``/health``: 200 where jobs are accepted and done."""
        engine = self.engine
        if self._full and time.monotonic() - self._probed > 1:
            self._probed = time.monotonic()
            self._try_disk()
        trouble = engine.trouble or ("expected room on the disk, got none." if self._full else "")
        if engine.failed is not None:
            state, trouble = "failed", str(engine.failed)
        elif engine.draining:
            state = "draining"
        elif trouble:
            state = "failing"
        else:
            state = "ready" if engine.ready else "loading"
        document = {"state": state, "workers": engine.ready, "queued": self.board.queued, "running": self.board.running}
        return (200 if state == "ready" else 503), document | ({"error": trouble} if trouble else {})

    def _try_disk(self) -> None:
        try:
            self.spool.probe()
            self._full = False
        except DocumentError:
            pass

    # Jobs

    def accept(self, body: bytes, key: str | None) -> tuple[Entry, bool]:
        """Have a job on the disk and in the queue.

        Args:
            body: of the request.
            key: its Idempotency-Key.

        Returns:
            The job, and whether it is a new one.

        Raises:
            RequestError: it is none, or there is no room; with the status of the answer.
        """
        request = parse_job(body)
        if key is not None and request.id is not None:
            raise RequestError("expected an id or an Idempotency-Key, got both. Either names the job.")
        name = request.id or (secrets.token_hex(16) if key is None else id_of_key(key))
        known = self.board.get(name)
        if known is not None:
            if known.stored.request != request.digest:
                what = "Idempotency-Key" if request.id is None else "id"
                raise RequestError(
                    f"expected a new {what} for a new job, got one that another job has. Take another {what}.",
                    422 if request.id is None else 409,
                )
            return known, False
        self._require_frames(request)
        if self.engine.draining:
            raise RequestError("expected a service that goes on, got one that ends. Ask again later.", 503)
        if self.board.queued >= self.settings.queue:
            raise RequestError(
                f"expected at most {self.settings.queue} jobs that wait, got more. Ask again later.", 429
            )
        try:
            stored = self.spool.accept(request, name, self.board.number(), time.time())
        except FullDiskError as error:
            self._full = True
            raise RequestError(str(error), 507) from error
        except DocumentError:
            raise RequestError("expected a disk that can be written to, got none. Ask again later.", 503) from None
        self._full = False
        entry = self.board.add(stored)
        self.metrics.accept()
        self.engine.wake()
        return entry, True

    def _require_frames(self, request: JobRequest) -> None:
        most = self.settings.max_frames
        frames = request.entry.get("frames") or self.recipe.frames
        ending, actions = request.files.get("actions", (".jsonl", b""))
        if frames is None and ending != ".jsonl":
            raise RequestError("expected frames in a job whose actions are no JSON lines, got none. Say how many.")
        if frames is None:
            frames = len(actions.splitlines())
        if frames > most:
            raise RequestError(f"expected at most {most} frames, got {frames}. Cut the clip into several jobs.")

    def retry_after(self, status: int) -> Mapping[str, str]:
        """Headers of an answer that says: not now."""
        if status == 429:
            return {"retry-after": str(self.engine.retry_after)}
        return {"retry-after": str(_LATER)} if status in (503, 507) else {}

    def cancel(self, entry: Entry) -> bool:
        """Cancel a job; one that has ended is forgotten, with what was made. Whether it was cancelled now.

        Raises:
            RequestError: the disk does not take it.
        """
        if self.board.busy(entry):  # cancelled already, but a worker has not heard of it
            return True
        if not self.board.cancel(entry):
            self._forget(entry)
            return False
        try:
            self.spool.save(entry.stored)
        except DocumentError as error:
            raise RequestError(f"{error} It is cancelled until the service ends.", 507) from None
        finally:
            self.metrics.end("cancelled", time.time() - entry.stored.accepted)
        return True

    def tidy(self) -> None:
        """Forget ended jobs beyond what is kept."""
        hours = self.settings.keep_hours
        before = None if hours is None else time.time() - 3600 * hours
        for entry in self.board.old(self.settings.keep_results, before):
            self._forget(entry)

    def _forget(self, entry: Entry) -> None:
        self.board.forget(entry)
        self.spool.remove(entry.stored)
