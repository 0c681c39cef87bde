"""Counts of a batch: progress with a rate and an estimate, and the summary."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from diagplan.batch.messages import Outcome

__all__ = ["Progress", "Summary", "Tally", "WorkerTally"]

#: Marks of time and share that an estimate looks back on, and seconds between two of them.
_MARKS, _APART = 60, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a batch is.

    Attributes:
        done: clips that were made.
        there: clips that had been finished before.
        wrong: jobs that cannot be done.
        share: of the jobs that are given out or done, from 0 to 1.
        clips_per_second: of the last minute or so, those that were there included.
        seconds_left: estimated; ``None``: not known yet.
        workers: that have loaded the model.
    """

    done: int
    there: int
    wrong: int
    share: float
    clips_per_second: float
    seconds_left: float | None
    workers: int


@dataclass(slots=True, kw_only=True)
class WorkerTally:
    """What one worker did.

    Attributes:
        clips: made.
        frames: generated, of pixels.
        tokens: generated.
        passes: of the transformer.
        seconds: busy with jobs.
        losses: times that it was lost, and another took its place.
    """

    clips: int = 0
    frames: int = 0
    tokens: int = 0
    passes: float = 0.0
    seconds: float = 0.0
    losses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The outcome of a batch.

    Attributes:
        clips: made now.
        there: finished before.
        wrong: jobs in errors.jsonl.
        frames, tokens, passes: of the clips made now, summed over the workers' counts.
        seconds: in all.
        opening_seconds: of them until the first worker had loaded the model.
        losses: workers that were lost and replaced.
        stopped: whether ``max_errors`` ended it before all jobs were done.
        workers: of each its own counts.
    """

    clips: int
    there: int
    wrong: int
    frames: int
    tokens: int
    passes: float
    seconds: float
    opening_seconds: float
    losses: int
    stopped: bool
    workers: tuple[WorkerTally, ...]

    @property
    def frames_per_second(self) -> float:
        """Frames a second from the moment the first worker was ready."""
        return self.frames / max(1e-9, self.seconds - self.opening_seconds)

    def document(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "clips": self.clips,
            "there": self.there,
            "errors": self.wrong,
            "frames": self.frames,
            "tokens": self.tokens,
            "passes": round(self.passes),
            "seconds": round(self.seconds, 3),
            "opening_seconds": round(self.opening_seconds, 3),
            "frames_per_second": round(self.frames_per_second, 3),
            "losses": self.losses,
            "stopped": self.stopped,
            "workers": [
                {
                    "clips": one.clips,
                    "frames": one.frames,
                    "tokens": one.tokens,
                    "passes": round(one.passes),
                    "seconds": round(one.seconds, 3),
                    "frames_per_second": round(one.frames / one.seconds, 3) if one.seconds else 0.0,
                    "losses": one.losses,
                }
                for one in self.workers
            ],
        }


@dataclass(slots=True)
class Tally:
    """Counts while a batch goes on; it holds no more for many jobs than for few.

    Args:
        count: of workers.
    """

    count: int
    workers: list[WorkerTally] = field(init=False)
    there: int = 0
    wrong: int = 0
    began: float = field(default_factory=time.perf_counter)
    opened: float | None = None
    _marks: deque[tuple[float, float, int]] = field(default_factory=lambda: deque(maxlen=_MARKS))

    def __post_init__(self) -> None:
        self.workers = [WorkerTally() for _ in range(self.count)]

    @property
    def done(self) -> int:
        """Clips made."""
        return sum(one.clips for one in self.workers)

    @property
    def settled(self) -> int:
        """Jobs that need nothing more."""
        return self.done + self.there + self.wrong

    def open(self) -> None:
        """The first worker has loaded the model."""
        self.opened = time.perf_counter()

    def add(self, worker: int, outcomes: Sequence[Outcome], seconds: float) -> None:
        """Count what a worker answered."""
        own = self.workers[worker]
        own.seconds += seconds
        for outcome in outcomes:
            match outcome.state:
                case "done":
                    own.clips += 1
                    own.frames += outcome.frames
                    own.tokens += outcome.tokens
                    own.passes += outcome.passes
                case "there":
                    self.there += 1
                case "wrong":
                    self.wrong += 1

    def progress(self, share: float, ready: int) -> Progress:
        """How far it is.

        Args:
            share: of the jobs, from 0 to 1.
            ready: workers that have loaded the model.
        """
        now = time.perf_counter()
        if not self._marks or now - self._marks[-1][0] >= _APART:
            self._marks.append((now, share, self.settled))
        then, before, settled = self._marks[0]
        passed = now - then
        gained, clips = share - before, self.settled - settled
        return Progress(
            done=self.done,
            there=self.there,
            wrong=self.wrong,
            share=share,
            clips_per_second=clips / passed if passed else 0.0,
            seconds_left=passed * (1 - share) / gained if gained > 0 else None,
            workers=ready,
        )

    def summary(self, *, stopped: bool) -> Summary:
        """The outcome, as of now."""
        now = time.perf_counter()
        return Summary(
            clips=self.done,
            there=self.there,
            wrong=self.wrong,
            frames=sum(one.frames for one in self.workers),
            tokens=sum(one.tokens for one in self.workers),
            passes=sum(one.passes for one in self.workers),
            seconds=now - self.began,
            opening_seconds=(now if self.opened is None else self.opened) - self.began,
            losses=sum(one.losses for one in self.workers),
            stopped=stopped,
            workers=tuple(self.workers),
        )
