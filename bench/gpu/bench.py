"""The parts of the benchmark under one budget: each is skipped, done or failed, and never costs another its results."""

import gc
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench.gpu.clock import Device
from bench.gpu.report import Part, Report

__all__ = ["Bench", "Named", "run_parts"]

#: After these words in an error CUDA does nothing more in this process.
_STICKY = ("cuda error", "device-side assert", "illegal memory access", "unspecified launch failure")


class _Late(BaseException):
    """The time is used up; no ``except Exception`` of a library holds it back."""


@dataclass(slots=True)
class Bench:
    """What parts share.

    Attributes:
        device: where it runs.
        quick: tiny shapes and few repeats.
        ends: of the budget, by ``time.monotonic``.
        report: where results go.
        part: the present one.
    """

    device: Device
    quick: bool
    ends: float
    report: Report
    part: Part = field(default_factory=lambda: Part(""))

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.ends - time.monotonic()

    @property
    def bandwidth(self) -> float:
        """Bytes a second, as the first part measured them; NaN where it did not."""
        facts = self.report.parts["device"].facts if "device" in self.report.parts else {}
        return 1e9 * float(facts.get("copy GB/s", float("nan")))

    def row(self, **figures: Any) -> None:
        """Put a row of the table down, and write all."""
        self.part.rows.append(figures)
        print("  " + ", ".join(f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                               for name, value in figures.items()), flush=True)  # fmt: skip
        self.report.write()

    def note(self, sentence: str) -> None:
        """Put a sentence down."""
        self.part.notes.append(sentence)
        print(f"  {sentence}", flush=True)

    def room(self, seconds: float, what: str) -> bool:
        """Whether there is time for something; it is noted where there is not."""
        if self.left >= seconds:
            return True
        self.note(f"Left out for want of time: {what} (about {seconds:.0f} s, {max(0.0, self.left):.0f} s are left).")
        return False


@dataclass(frozen=True, slots=True)
class Named:
    """One part.

    Attributes:
        title: for people.
        run: what it does.
        seconds: below which it is not begun.
        most: after which it is stopped, so that the others come to their turn.
    """

    title: str
    run: Callable[[Bench], None]
    seconds: float
    most: float = 120.0


def run_parts(bench: Bench, parts: dict[str, Named], again: Sequence[str]) -> bool:
    """Run parts one after the other; whether none failed.

    Args:
        bench: what they share.
        parts: by name, in order.
        again: command that goes on in a fresh process, to which the names of parts and the budget are added: after some
            errors CUDA does nothing more in this one.
    """
    names = list(parts)
    for number, name in enumerate(names):
        named = parts[name]
        bench.part = bench.report.parts[name] = Part(named.title)
        print(f"{named.title} ({bench.left:.0f} s left)", flush=True)
        if bench.left < named.seconds:
            bench.part.status = "skipped"
            bench.note(f"Skipped: it takes about {named.seconds:.0f} s, and {max(0.0, bench.left):.0f} s are left.")
            bench.report.write()
            continue
        error = _one(bench, named)
        if error is not None and any(word in error.lower() for word in _STICKY) and number + 1 < len(names):
            rest = ",".join(names[number + 1 :])
            command = [*again, "--goes-on", "--parts", rest, "--budget", f"{max(0.0, bench.left):.0f}"]
            print("CUDA does nothing more in this process; going on in a fresh one", flush=True)
            subprocess.run(command, check=False)
            bench.report.parts = Report.read(bench.report.folder).parts
            break
    return all(part.status != "failed" for part in bench.report.parts.values())


def _one(bench: Bench, named: Named) -> str | None:
    """Run a part and put down how it ended; its error."""
    part, begin, error = bench.part, time.monotonic(), None
    try:
        with _limit(min(bench.left, named.most)):
            named.run(bench)
        part.status = "done"
    except _Late:
        part.status, error = "failed", "its time was used up; rows above are whole"
    except Exception as raised:  # noqa: BLE001 - whatever a part raises, the others go on
        text = f"{type(raised).__name__}: {raised}"
        part.status, error = "failed", f"{text[:2000]}\n{_where(raised)}"
    part.error, part.seconds = error, time.monotonic() - begin
    if error is not None:
        print(f"  failed: {error}", flush=True)
    bench.report.write()
    if "torch._dynamo" in sys.modules:  # each part compiles its own shapes, not all that came before too
        torch._dynamo.reset()
    gc.collect()
    if error is None or "cuda" not in error.lower():
        bench.device.empty()
    return error


def _where(raised: Exception) -> str:
    """The last places of a traceback, without the folders of this machine."""
    frames = traceback.extract_tb(raised.__traceback__)[-4:]
    return "\n".join(f"  {'/'.join(Path(f.filename).parts[-3:])}:{f.lineno}, in {f.name}" for f in frames)


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise ``_Late`` after so many seconds, where the system can."""
    if not hasattr(signal, "setitimer") or os.name != "posix":
        yield
        return

    def late(*_: object) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, max(1.0, seconds))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def python(*arguments: str) -> list[str]:
    """A command of this Python."""
    return [sys.executable, *arguments]
