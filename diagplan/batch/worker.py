"""A worker: it opens once, then does what it is given; as a process of its own, or inside an actor of Ray."""

import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from multiprocessing.connection import Connection

from diagplan.batch.jobs import Job
from diagplan.batch.messages import Failed, Finished, Lost, Opening, Ready, Reply, TellingWork, Told, Work
from diagplan.planner.errors import DiagplanError

__all__ = ["Station", "main"]


class Station:
    """Answers messages; an error that every worker would have is ``Failed``, any other ``Lost``.

    Args:
        tell: what is called with how far jobs are, if the work tells it; ``None``: nobody listens.
    """

    def __init__(self, tell: Callable[[Told], None] | None = None) -> None:
        self._work: Work | None = None
        self._tell = tell

    def answer(self, message: Opening | Sequence[Job]) -> Reply:
        """The answer to the opening, or to jobs."""
        began = time.perf_counter()
        try:
            if isinstance(message, Opening):
                module, _, function = message.opener.partition(":")
                self._work = getattr(import_module(module), function)(message.recipe, message.out)
                assert self._work is not None
                if self._tell is not None and isinstance(self._work, TellingWork):
                    self._work.tell_by(self._tell)
                return Ready(identity=dict(self._work.identity))
            assert self._work is not None
            outcomes = tuple(self._work.do(message))
            return Finished(outcomes=outcomes, seconds=time.perf_counter() - began)
        except DiagplanError as error:
            return Failed(kind=type(error).__name__, message=str(error))
        except Exception as error:  # noqa: BLE001 - the driver says what it was, and tries anew
            place = traceback.extract_tb(error.__traceback__)[-1]
            return Lost(reason=f"{type(error).__name__}: {error} (line {place.lineno} of {place.name})"[:500])


def main(descriptor: int) -> None:
    """Serve a driver at the other end of a socket, until it is gone.

    Args:
        descriptor: of the socket.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the driver, which ends its workers
    with Connection(socket.socket(fileno=descriptor).detach()) as driver:
        station = Station(driver.send)
        while True:
            try:
                message = driver.recv()
            except (EOFError, OSError):
                return
            reply = station.answer(message)
            try:
                driver.send(reply)
            except OSError:
                return
            if isinstance(reply, Lost):
                return


if __name__ == "__main__":
    main(int(sys.argv[1]))
