"""Counters of a service, as Prometheus reads them (text format 0.0.4)."""

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Histogram", "Metrics"]

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Histogram:
    """How often values were at most so much.

    Args:
        bounds: of the buckets, ascending; a last one takes the rest.

    >>> sizes = Histogram((1, 2))
    >>> sizes.add(2)
    >>> list(sizes.lines("n"))
    ['n_bucket{le="1"} 0', 'n_bucket{le="2"} 1', 'n_bucket{le="+Inf"} 1', 'n_sum 2', 'n_count 1']
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds, self._counts, self.sum = tuple(bounds), [0] * (len(bounds) + 1), 0.0

    @property
    def count(self) -> int:
        """Values so far."""
        return sum(self._counts)

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self.sum += value

    def lines(self, name: str) -> Iterator[str]:
        """The lines of a metric."""
        total = 0
        for bound, count in zip([*(f"{b:g}" for b in self._bounds), "+Inf"], self._counts, strict=True):
            total += count
            yield f'{name}_bucket{{le="{bound}"}} {total}'
        yield f"{name}_sum {self.sum:g}"
        yield f"{name}_count {total}"


class Metrics:
    """All counters; any thread may add."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: Counter[str] = Counter()
        self._answers: Counter[int] = Counter()
        self.accepted, self.losses = 0, 0
        self.tokens, self.frames, self.passes = 0, 0, 0.0
        self.queue_seconds, self.job_seconds = Histogram(_SECONDS), Histogram(_SECONDS)
        self.batch_seconds, self.batch_sizes = Histogram(_SECONDS), Histogram(_SIZES)

    def answer(self, status: int) -> None:
        """An answer was sent."""
        with self._lock:
            self._answers[status] += 1

    def accept(self) -> None:
        """A job was accepted."""
        with self._lock:
            self.accepted += 1

    def begin(self, size: int, waited: Sequence[float]) -> None:
        """A batch of so many jobs was given to a worker; each waited so many seconds."""
        with self._lock:
            self.batch_sizes.add(size)
            for seconds in waited:
                self.queue_seconds.add(seconds)

    def batch(self, seconds: float) -> None:
        """A worker has done its batch."""
        with self._lock:
            self.batch_seconds.add(seconds)

    def end(self, state: str, seconds: float, *, tokens: int = 0, frames: int = 0, passes: float = 0.0) -> None:
        """A job has ended, so many seconds after it was accepted."""
        with self._lock:
            self._ended[state] += 1
            self.job_seconds.add(seconds)
            self.tokens, self.frames, self.passes = self.tokens + tokens, self.frames + frames, self.passes + passes

    def text(self, states: Mapping[str, int], *, workers: int, free: int) -> str:
        """The page.

        Args:
            states: jobs that are there, by state.
            workers: that are ready.
            free: bytes of the disk.
        """
        with self._lock:
            return "".join(f"{line}\n" for line in self._lines(states, workers, free))

    def _lines(self, states: Mapping[str, int], workers: int, free: int) -> Iterator[str]:
        def lone(name: str, kind: str, help_: str, value: float) -> Iterator[str]:
            yield from (f"# HELP {name} {help_}", f"# TYPE {name} {kind}", f"{name} {value:.12g}")

        def parts(name: str, kind: str, help_: str, label: str, values: Mapping[str, int]) -> Iterator[str]:
            yield from (f"# HELP {name} {help_}", f"# TYPE {name} {kind}")
            yield from (f'{name}{{{label}="{key}"}} {value}' for key, value in values.items())

        def spread(name: str, help_: str, values: Histogram) -> Iterator[str]:
            yield from (f"# HELP {name} {help_}", f"# TYPE {name} histogram", *values.lines(name))

        ended = {state: self._ended[state] for state in ("done", "wrong", "cancelled")}
        answers = {str(code): self._answers[code] for code in sorted(self._answers)}
        yield from parts("diagplan_jobs", "gauge", "Jobs that are kept, by state.", "state", states)
        yield from lone("diagplan_queue_length", "gauge", "Jobs that wait.", states.get("queued", 0))
        yield from lone("diagplan_jobs_accepted_total", "counter", "Jobs accepted since the start.", self.accepted)
        yield from parts("diagplan_jobs_ended_total", "counter", "Jobs ended since the start.", "state", ended)
        yield from lone("diagplan_tokens_total", "counter", "Tokens generated.", self.tokens)
        yield from lone("diagplan_frames_total", "counter", "Frames generated, of pixels.", self.frames)
        yield from lone("diagplan_passes_total", "counter", "Passes of the transformer.", self.passes)
        yield from lone("diagplan_workers_ready", "gauge", "Workers that have loaded the model.", workers)
        yield from lone("diagplan_worker_losses_total", "counter", "Workers lost and replaced.", self.losses)
        yield from lone("diagplan_disk_free_bytes", "gauge", "Bytes free where the spool lies.", free)
        yield from parts("diagplan_http_responses_total", "counter", "Answers by status.", "code", answers)
        yield from spread("diagplan_queue_seconds", "From acceptance to a worker.", self.queue_seconds)
        yield from spread("diagplan_job_seconds", "From acceptance to the end.", self.job_seconds)
        yield from spread("diagplan_batch_seconds", "A worker's time for a batch.", self.batch_seconds)
        yield from spread("diagplan_batch_size", "Jobs given to a worker together.", self.batch_sizes)
