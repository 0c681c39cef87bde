"""Places for players, and the queue before them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from diagplan.planner.errors import DiagplanError

__all__ = ["FullError", "Hall"]


class FullError(DiagplanError):
    """The queue is full."""


class Hall:
    """At most so many players at a time; others wait in the order in which they came.

    Args:
        places: players at a time.
        waiting: connections that may wait.

    Attributes:
        playing: players now.
    """

    def __init__(self, places: int, waiting: int = 32) -> None:
        self.places, self.waiting = places, waiting
        self.playing = 0
        self._queue: list[tuple[asyncio.Event, Callable[[int], None]]] = []

    @property
    def queued(self) -> int:
        """Connections that wait now."""
        return len(self._queue)

    @asynccontextmanager
    async def place(self, on_wait: Callable[[int], None]) -> AsyncIterator[None]:
        """Wait for a place, and give it back at the end.

        Args:
            on_wait: called with the place in the queue, from 1, when it is taken and whenever it changes.

        Raises:
            FullError: the queue is full.
        """
        if self.playing >= self.places or self._queue:
            if len(self._queue) >= self.waiting:
                raise FullError(f"expected at most {self.waiting} connections in the queue, got one more. Come later.")
            entry = asyncio.Event(), on_wait
            self._queue.append(entry)
            on_wait(len(self._queue))
            try:
                await entry[0].wait()
            except BaseException:
                if entry[0].is_set():  # the place was given already: pass it on
                    self._leave()
                else:
                    self._queue.remove(entry)
                    self._tell()
                raise
        else:
            self.playing += 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        if self._queue:
            event, _ = self._queue.pop(0)
            event.set()  # the place goes to the next one: as many play as before
            self._tell()
        else:
            self.playing -= 1

    def _tell(self) -> None:
        for number, (_, on_wait) in enumerate(self._queue, start=1):
            on_wait(number)
