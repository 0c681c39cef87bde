"""The thread that gives jobs to workers: processes of ``diagplan.batch``, which are replaced when they are lost.

NOTE: why not a thread that decodes? A process that is killed for its memory takes no connection with it, leaves the
event loop its interpreter lock, and is replaced; its jobs are done again with the same seeds, so with the same tokens.
"""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from diagplan.batch.driver import drive
from diagplan.batch.jobs import Job, JobSource, Later
from diagplan.batch.messages import Opening, Outcome, Reply
from diagplan.batch.pools import local_workers
from diagplan.batch.processes import Processes
from diagplan.batch.recipe import Recipe
from diagplan.batch.run import FORMAT, require_same
from diagplan.batch.tally import Tally
from diagplan.planner.errors import DiagplanError, DocumentError
from diagplan.schemas.atomic import write_atomically
from diagplan.serve.board import Board, Entry
from diagplan.serve.metrics import Metrics
from diagplan.serve.spool import Spool

__all__ = ["SERVED", "Engine"]

#: What a worker does, for world models.
SERVED = "diagplan.serve.work:open_served"
#: Seconds between two tries after a trouble that all workers have, such as a full disk.
_RETRY = 5.0
#: Seconds that the thread has to end when nobody waits for its work.
_GRACE = 5.0


class _EndedError(Exception):
    """Nothing is in hand and nothing is to be begun; or everything ends at once."""


@dataclass(slots=True)
class _CountingTally(Tally):
    """A tally that passes on what became of jobs, and loses nothing."""

    engine: "Engine | None" = None

    def add(self, worker: int, outcomes: Sequence[Outcome], seconds: float) -> None:
        """Count what a worker answered."""
        Tally.add(self, worker, outcomes, seconds)
        assert self.engine is not None
        self.engine.settle(outcomes, seconds)


class Engine:
    """Jobs from a board to workers, in a thread.

    Args:
        recipe: what is done with every clip.
        spool: where jobs and results lie.
        board: the jobs.
        metrics: counters.
        workers: processes.
        gpus_per_worker: as for ``run_batch``.
        wait: seconds that a job may wait for others of its layout, so that they pass together.
        opener: as for ``run_batch``.

    Attributes:
        ready: workers that have loaded the model.
        trouble: what keeps all workers from work; empty: nothing.
        failed: the error that ended it; ``None``: none did.
        draining: whether nothing more is begun.
    """

    def __init__(
        self,
        recipe: Recipe,
        spool: Spool,
        board: Board,
        metrics: Metrics,
        *,
        workers: int = 1,
        gpus_per_worker: float = 1,
        wait: float = 0.02,
        opener: str = SERVED,
    ) -> None:
        self.recipe, self.spool, self.board, self.metrics = recipe, spool, board, metrics
        self.workers, self._gpus, self._wait, self._opener = workers, gpus_per_worker, wait, opener
        self.ready, self.trouble = 0, ""
        self.failed: Exception | None = None
        self.draining = self._abandoned = False
        self.on_end: Callable[[], None] = lambda: None
        self.on_outcome: Callable[[], None] = lambda: None
        self._opened = False
        self._due: float | None = None
        self._known = {"format": FORMAT, "recipe": recipe.identity()}
        require_same(spool.results, self._known)
        self._woken, self._wake = socket.socketpair()
        self._woken.setblocking(False)
        self._wake.setblocking(False)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="diagplan-engine", daemon=True)

    def start(self) -> None:
        """Start workers."""
        self._thread.start()

    def wake(self) -> None:
        """There is something to do; any thread may say so."""
        with suppress(OSError):  # so much is to be read already that it will wake
            self._wake.send(b"\0")

    def drain(self) -> None:
        """Begin no more jobs; end when those in hand are done."""
        self.draining = True
        self.wake()

    def abandon(self) -> None:
        """End at once: what is in hand will be done by the next service."""
        self.draining = self._abandoned = True
        self.wake()

    def join(self, seconds: float | None = None) -> bool:
        """Wait for the end; whether it has come."""
        return self._ended.wait(seconds)

    def close(self) -> None:
        """End at once if it has begun, and leave nothing open."""
        if self._thread.ident is not None:
            self.abandon()
            self._ended.wait(_GRACE)
        self._woken.close()
        self._wake.close()

    @property
    def retry_after(self) -> int:
        """Seconds after which there may be room in the queue, roughly."""
        spent = self.metrics.batch_seconds
        each = spent.sum / spent.count if spent.count else 1.0
        batches = self.board.queued / (self.recipe.batch * self.workers)
        return max(1, min(600, round(each * batches / 2)))

    # The thread

    def _run(self) -> None:
        try:
            while not self._served():
                pass
        except DiagplanError as error:
            self.failed = error
        except Exception as error:  # noqa: BLE001 - a fault of ours ends the service with its name, not in silence
            self.failed = DiagplanError(f"the service failed: {type(error).__name__}: {error}")
            self.failed.__cause__ = error
        finally:
            self._ended.set()
            self.on_end()

    def _served(self) -> bool:
        """Drive workers until the end, or until something keeps all of them from work; whether it was the end.

        Raises:
            DiagplanError: before any worker was ready.
        """
        opening = Opening(opener=self._opener, recipe=self.recipe, out=self.spool.results)
        options = self.recipe.options
        workers = local_workers(
            opening, self.workers, gpus_per_worker=self._gpus, device=options.device, threads=options.threads,
            wake=self._woken,
        )  # fmt: skip
        pool = _Pool(workers, self)
        tally = _CountingTally(self.workers, engine=self)
        lost = self.metrics.losses

        def on_pulse(ready: int) -> None:
            self.ready = ready
            self.metrics.losses = lost + sum(one.losses for one in tally.workers)

        try:
            drive(
                pool, JobSource(self._source()), tally, size=self.recipe.batch, max_errors=None,
                on_ready=self._on_ready, on_wrong=lambda _: None, on_pulse=on_pulse, on_told=self.board.told,
            )  # fmt: skip
        except _EndedError:
            pass
        except DiagplanError as error:
            if not self._opened:
                raise
            self.trouble = str(error)
        finally:
            self.ready = 0
            pool.close()
            self.board.back()
        return self.draining or self._rested()

    def _rested(self) -> bool:
        """Wait until workers may be started again; whether the service ends meanwhile."""
        while not self.draining:
            self._woken.setblocking(True)
            self._woken.settimeout(_RETRY)
            with suppress(OSError):
                self._woken.recv(4096)
            self._woken.setblocking(False)
            with suppress(DocumentError):
                self.spool.probe()
                return False
        return True

    def _source(self) -> Iterator[tuple[Job | Later, float]]:
        """Jobs of one layout, then a pause; until nothing more is begun."""
        while not self.draining:
            group, self._due = self.board.take(self.recipe.batch, self._wait)
            if group:
                now = time.time()
                self.metrics.begin(len(group), [max(0.0, now - entry.stored.accepted) for entry in group])
            for entry in group:
                yield entry.stored.job(self.spool.jobs), 0.0
            if len(group) < self.recipe.batch:
                yield Later(), 0.0

    def _on_ready(self, identity: Mapping[str, Any]) -> None:
        about = {**self._known, **identity}
        if not require_same(self.spool.results, about):
            write_atomically(self.spool.results / "batch.json", f"{json.dumps(about, indent=1)}\n".encode())
        self._opened, self.trouble = True, ""

    def settle(self, outcomes: Sequence[Outcome], seconds: float) -> None:
        """Keep what became of jobs."""
        if seconds:
            self.metrics.batch(seconds)
        for outcome in outcomes:
            entry = self.board.settle(outcome.id)
            if entry is not None:
                try:
                    self._end(entry, outcome)
                finally:
                    self.board.release(entry)
        self.on_outcome()

    def _end(self, entry: Entry, outcome: Outcome) -> None:
        before = entry.stored
        job = replace(
            before, state="wrong" if outcome.state == "wrong" else "done", ended=time.time(),
            error=_without_paths(outcome.message, before.job(self.spool.jobs)), frames=outcome.frames,
            tokens=outcome.tokens, passes=outcome.passes,
        )  # fmt: skip
        if before.state != "cancelled":
            with suppress(DocumentError):  # told anew at the next start, where its clip is there already
                self.spool.save(job)
        with self.board.lock:  # a client may cancel it just now
            if entry.stored.state != "cancelled":
                entry.stored = job
                if self.board.pictures:
                    entry.shown = max(entry.shown, job.frames)
                self.metrics.end(
                    job.state, time.time() - job.accepted, tokens=job.tokens, frames=job.frames, passes=job.passes
                )
                self.board.ended(entry)
                return
        if self.board.get(before.id) is entry:  # not forgotten meanwhile
            with suppress(DocumentError):
                self.spool.save(entry.stored)
        self.spool.discard(entry.stored)


class _Pool:
    """Workers, and what else wakes the engine."""

    def __init__(self, workers: Processes, engine: Engine) -> None:
        self._workers, self._engine = workers, engine
        self.start, self.send, self.close = workers.start, workers.send, workers.close

    def wait(self, seconds: float) -> list[tuple[int, Reply]]:
        """Answers that have come; a job that comes, or one that has waited enough for company, ends the wait."""
        engine = self._engine
        if engine._abandoned or (engine.draining and not engine.board.running):
            raise _EndedError
        answers = self._workers.wait(seconds if engine._due is None else min(seconds, max(0.0, engine._due)))
        with suppress(OSError):
            engine._woken.recv(4096)
        engine._due = None
        return answers


def _without_paths(message: str, job: Job) -> str:
    """A message for the network: files by their keys, not by where they lie."""
    for name, path in job.files().items():
        message = message.replace(str(path), name)
    return message
