"""All jobs of a service while it runs: the queue, what is in hand, what has ended; for several threads."""

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from diagplan.batch.messages import Told
from diagplan.serve.spool import JobState, StoredJob

__all__ = ["ENDED", "Board", "Entry"]

#: States of jobs of which nothing more will be heard.
ENDED: tuple[JobState, ...] = ("done", "wrong", "cancelled")


@dataclass(slots=True, eq=False)
class Entry:
    """A job, and how far it is.

    Attributes:
        stored: what is on the disk.
        since: when it came into the queue, on the monotonic clock.
        passes, of: of the transformer, while it is in hand.
        shown: frames that are there.
        watchers: called when something about it has changed.
    """

    stored: StoredJob
    since: float = field(default_factory=time.monotonic)
    passes: int = 0
    of: int = 0
    shown: int = 0
    watchers: set[Callable[[], None]] = field(default_factory=set)


class Board:
    """The jobs.

    Args:
        jobs: that were there before, in their order.
        pictures: whether clips have frames that can be shown.
    """

    def __init__(self, jobs: Iterable[StoredJob] = (), *, pictures: bool = True) -> None:
        self.pictures = pictures
        self.lock = threading.RLock()
        self._entries: dict[str, Entry] = {}
        self._queue: OrderedDict[str, Entry] = OrderedDict()
        self._running: OrderedDict[str, Entry] = OrderedDict()
        self._ended: OrderedDict[str, Entry] = OrderedDict()
        self._number = 0
        stored = list(jobs)
        for job in stored:
            entry = self._entries[job.id] = Entry(job, since=0.0, shown=job.frames if pictures else 0)
            self._number = max(self._number, job.number)
            if job.state not in ENDED:
                self._queue[job.id] = entry
        for job in sorted((one for one in stored if one.state in ENDED), key=lambda one: one.ended or 0.0):
            self._ended[job.id] = self._entries[job.id]

    def number(self) -> int:
        """The number of the next job."""
        with self.lock:
            self._number += 1
            return self._number

    def get(self, name: str) -> Entry | None:
        """A job by its id; ``None``: there is none."""
        return self._entries.get(name)

    def add(self, job: StoredJob) -> Entry:
        """Put a job that is on the disk at the end of the queue."""
        with self.lock:
            entry = self._entries[job.id] = self._queue[job.id] = Entry(job)
            return entry

    @property
    def queued(self) -> int:
        """Jobs that wait."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """Jobs that workers have in hand."""
        return len(self._running)

    def states(self) -> Mapping[str, int]:
        """Jobs by state."""
        with self.lock:
            counts: Counter[str] = Counter(entry.stored.state for entry in self._ended.values())
            return {"queued": self.queued, "running": self.running, **{state: counts[state] for state in ENDED}}

    def place(self, name: str) -> int | None:
        """The place of a job in the queue, from 1; ``None``: it does not wait."""
        with self.lock:
            if name not in self._queue:
                return None
            return next(number for number, other in enumerate(self._queue, start=1) if other == name)

    def take(self, size: int, wait: float) -> tuple[list[Entry], float | None]:
        """Jobs of one layout, the oldest first: they are in hand from now on.

        Args:
            size: most jobs.
            wait: seconds that the oldest may wait for company.

        Returns:
            The jobs, and where there are none, the seconds after which there will be some; ``None``: nobody knows.
        """
        with self.lock:
            head = next(iter(self._queue.values()), None)
            if head is None:
                return [], None
            group: list[Entry] = []
            for entry in self._queue.values():
                if entry.stored.layout == head.stored.layout:
                    group.append(entry)
                    if len(group) == size:
                        break
            left = head.since + wait - time.monotonic()
            if len(group) < size and left > 0:
                return [], left
            for entry in group:
                del self._queue[entry.stored.id]
                self._running[entry.stored.id] = entry
                entry.stored.state = "running"
                entry.passes = entry.of = 0
            self._tell([*group, *self._queue.values()])  # those behind have moved up
            return group, None

    def back(self) -> None:
        """What is in hand goes back to the head of the queue: nobody does it any more."""
        with self.lock:
            for name, entry in reversed(self._running.items()):
                if entry.stored.state == "running":
                    entry.stored.state = "queued"
                    self._queue[name] = entry
                    self._queue.move_to_end(name, last=False)
                    self._tell([entry])
            self._running.clear()

    def told(self, told: Told) -> None:
        """Hear how far a job is."""
        with self.lock:
            entry = self._running.get(told.id)
            if entry is not None:
                entry.passes, entry.of, entry.shown = told.passes, told.of, max(entry.shown, told.frames)
                self._tell([entry])

    def settle(self, name: str) -> Entry | None:
        """A job that its worker, or the queue, is done with; in hand until ``release``, so that nobody forgets it."""
        with self.lock:
            entry = self._running.get(name)
            if entry is None and (entry := self._queue.pop(name, None)) is not None:
                self._running[name] = entry
                self._tell(self._queue.values())
            return entry

    def release(self, entry: Entry) -> None:
        """A job is in nobody's hands any more: its end is on the disk."""
        with self.lock:
            if self._running.get(entry.stored.id) is entry:
                del self._running[entry.stored.id]

    def ended(self, entry: Entry) -> None:
        """A job has ended; its state says how."""
        with self.lock:
            self._ended[entry.stored.id] = entry
            self._tell([entry])

    def cancel(self, entry: Entry) -> bool:
        """Call a job cancelled, if it waits or is in hand; whether that was so."""
        with self.lock:
            if entry.stored.state in ENDED:
                return False
            entry.stored.state, entry.stored.ended = "cancelled", time.time()
            self._queue.pop(entry.stored.id, None)
            self._tell(self._queue.values())
            self.ended(entry)
            return True

    def busy(self, entry: Entry) -> bool:
        """Whether a worker still has a job in hand that was cancelled."""
        with self.lock:
            return entry.stored.state == "cancelled" and self._running.get(entry.stored.id) is entry

    def forget(self, entry: Entry) -> None:
        """Know nothing more of a job that has ended."""
        with self.lock:
            if self._entries.get(entry.stored.id) is entry:
                del self._entries[entry.stored.id]
            self._ended.pop(entry.stored.id, None)
            self._tell([entry])

    def old(self, keep: int, before: float | None) -> list[Entry]:
        """Ended jobs beyond so many, and those that ended before a time, the oldest first."""
        with self.lock:
            beyond = len(self._ended) - keep
            return [
                entry
                for number, entry in enumerate(self._ended.values())
                if (number < beyond or (before is not None and (entry.stored.ended or 0.0) < before))
                and entry.stored.id not in self._running
            ]

    def _tell(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            for watcher in list(entry.watchers):
                watcher()
