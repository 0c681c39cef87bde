"""Workers as processes of this machine, each at the other end of a socket."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection, wait
from pickle import UnpicklingError

from diagplan.batch.jobs import Job
from diagplan.batch.messages import Lost, Opening, Reply

__all__ = ["Processes", "gpus_of"]

#: Seconds that a worker has to end when its socket is closed.
_GRACE = 2.0


class Processes:
    """Workers on this machine.

    NOTE: why not ``multiprocessing.Process``? Its spawn imports the main module of the user's program anew, and its
    queues stay locked when a process that holds them is killed. A socket for each worker has neither.

    Args:
        opening: what each worker is opened with.
        environments: variables of each worker, beside those of this process; as many as there are workers.
        wake: ends a wait when there is something to read; ``None``: nothing does but answers.
    """

    def __init__(
        self, opening: Opening, environments: Sequence[Mapping[str, str]], wake: socket.socket | None = None
    ) -> None:
        self._opening, self._environments, self._wake = opening, environments, wake
        self._running: dict[int, tuple[subprocess.Popen[bytes], Connection]] = {}

    @property
    def pids(self) -> dict[int, int]:
        """The process of each worker."""
        return {number: process.pid for number, (process, _) in self._running.items()}

    def start(self, number: int) -> None:
        """Start a worker, also in the place of one that is lost, and open it."""
        self._stop(number)
        ours, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                # -P: the modules of this process, and none that happen to lie where it was started.
                [sys.executable, "-P", "-m", "diagplan.batch.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": _path(), **self._environments[number]},
            )
        self._running[number] = process, Connection(ours.detach())
        self.send(number, self._opening)

    def send(self, number: int, message: Opening | Sequence[Job]) -> None:
        """Give a worker something to do; one that is gone is heard of by ``wait``."""
        try:
            self._running[number][1].send(message)
        except OSError:
            return

    def wait(self, seconds: float) -> list[tuple[int, Reply]]:
        """Answers that have come, waiting so long for the first of them."""
        wakers = [] if self._wake is None else [self._wake]
        open_ = wait([*(connection for _, connection in self._running.values()), *wakers], seconds)
        answers: list[tuple[int, Reply]] = []
        for number in [number for number, (_, connection) in self._running.items() if connection in open_]:
            try:
                reply: Reply = self._running[number][1].recv()
            except (EOFError, OSError, UnpicklingError):
                reply = Lost(reason=self._stop(number))
            answers.append((number, reply))
        return answers

    def close(self) -> None:
        """End all workers."""
        for number in list(self._running):
            self._stop(number)

    def _stop(self, number: int) -> str:
        """End a worker; how it ended."""
        process, connection = self._running.pop(number, (None, None))
        if process is None or connection is None:
            return "it had not begun"
        connection.close()
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        code = process.returncode
        return f"ended by signal {-code}" if code < 0 else f"ended with code {code}"


def _path() -> str:
    """Where this process looks for modules, for those that it starts."""
    return os.pathsep.join(os.path.abspath(place) for place in sys.path)  # noqa: PTH100


def gpus_of(number: int, each: float, visible: Sequence[str]) -> str:
    """The GPUs of a worker, as ``CUDA_VISIBLE_DEVICES`` has them.

    Args:
        number: of the worker, from 0.
        each: GPUs for a worker; less than one is shared.
        visible: those that there are.

    >>> [gpus_of(number, 1, ["0", "1"]) for number in range(3)]
    ['0', '1', '0']
    >>> gpus_of(1, 2, ["0", "1", "2", "3"]), gpus_of(3, 0.5, ["4", "7"])
    ('2,3', '7')
    """
    first, count = int(number * each), max(1, int(each))
    return ",".join(visible[(first + i) % len(visible)] for i in range(count))
