"""Commands in processes that begin at once: a server imports everything heavy, then forks itself for each command.

``Forks`` is the client. A command is disturbed by a signal after some seconds, or at its n-th call that changes files,
which hits the moments between them that time alone would rarely hit.
"""

import json
import mmap
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

__all__ = ["Ended", "Forks", "Stop"]

#: Seconds after which a command hangs.
LIMIT = 120.0

_HEAVY = (
    "av", "diagplan.cli", "diagplan.games.recorder", "diagplan.models.exporting", "diagplan.study.plots",
    "diagplan.study.whole", "diagplan.training.folders", "diagplan.worlds.videos", "diagplan.backends.onnx_export",
    "diffusers.models.autoencoders.vq_model", "matplotlib.backends.backend_agg", "matplotlib.figure", "onnxruntime",
    "safetensors.torch", "torch.onnx", "torch.export",
)  # fmt: skip
_CHANGES = ("open", "write", "fsync", "replace", "unlink", "mkdir")


@dataclass(frozen=True)
class Stop:
    """A signal, after so many seconds (``after``) or before the so many-th change of files (``change``, from 1)."""

    signal: int
    after: float | None = None
    change: int | None = None


class Ended(NamedTuple):
    """How a command has ended: its exit code (negative: the signal), and what it took."""

    code: int
    seconds: float
    changes: int
    mebibytes: float
    hung: bool


class Forks:
    """The server; leaving the ``with`` block ends it."""

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.search.forks"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
            env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"},
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()
        assert self._server.stdout is not None
        self._server.stdout.close()

    def run(self, arguments: Sequence[object], log: Path, stop: Stop | None = None) -> Ended:
        """Run ``diagplan ARGUMENTS`` to its end; ``log`` gets its stdout and stderr."""
        job = {
            "argv": [str(part) for part in arguments],
            "log": str(log),
            "stop": None if stop is None else asdict(stop),
        }
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(job) + "\n")
        self._server.stdin.flush()
        return Ended(*json.loads(self._server.stdout.readline()))


def _serve() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: who started the server ends it
    for name in _HEAVY:
        import_module(name)
    counter = mmap.mmap(-1, 8)  # shared with the children
    for line in sys.stdin:
        job = json.loads(line)
        stop = Stop(**job["stop"]) if job["stop"] else None
        counter[:] = bytes(8)
        began = time.monotonic()
        pid = os.fork()
        if pid == 0:
            _child(job, stop, counter)
        ended = _wait(pid, began, stop)
        print(json.dumps([*ended[:2], int.from_bytes(counter[:], "little"), *ended[2:]]), flush=True)


def _wait(pid: int, began: float, stop: Stop | None) -> tuple[int, float, float, bool]:
    hung, due = False, None if stop is None else stop.after
    while True:
        found, status, used = os.wait4(pid, os.WNOHANG)
        seconds = time.monotonic() - began
        if found:
            return os.waitstatus_to_exitcode(status), seconds, used.ru_maxrss / 1024, hung
        if stop is not None and due is not None and seconds >= due:
            os.kill(pid, stop.signal)
            due = None
        if seconds > LIMIT and not hung:
            os.kill(pid, signal.SIGKILL)
            hung = True
        time.sleep(0.002)


def _child(job: dict[str, Any], stop: Stop | None, counter: mmap.mmap) -> None:
    code = 99
    try:
        nothing, log = (
            os.open(os.devnull, os.O_RDONLY),
            os.open(job["log"], os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600),
        )
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        sys.argv = ["diagplan", *job["argv"]]
        _count_changes(stop, counter)
        from diagplan.__main__ import main

        signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 0
    except BaseException:  # noqa: BLE001 - whatever it is, the log says it
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _count_changes(stop: Stop | None, counter: mmap.mmap) -> None:
    """Count the calls that change files, and send the signal before the one that is asked for."""

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            count = int.from_bytes(counter[:], "little") + 1
            counter[:] = count.to_bytes(8, "little")
            if stop is not None and count == stop.change:
                os.kill(os.getpid(), stop.signal)
            return call(*args, **kwargs)

        return counting

    for name in _CHANGES:
        setattr(os, name, counted(getattr(os, name)))


if __name__ == "__main__":
    _serve()
