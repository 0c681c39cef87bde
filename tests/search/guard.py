"""Judge many random inputs under a guard of time and memory, in processes of their own.

A judge gets a source of chance and an empty folder, makes one input of them and hands it to diagplan. Every input has a
seed of its own, so that a finding can be judged again alone.
"""

import contextlib
import multiprocessing as mp
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from diagplan.planner.errors import DiagplanError

__all__ = ["HUNG_SECONDS", "MOST_BYTES", "Different", "Finding", "Judge", "Row", "judge_one", "search"]

#: An input that takes longer hangs, and one that takes more memory than this above what stood before is too large.
HUNG_SECONDS, MOST_BYTES = 5.0, 1 << 30
#: Beyond twice the limits the input's process is ended, for the machine's sake.
_ENDED_SECONDS, _ENDED_BYTES = 4 * HUNG_SECONDS, 3 * MOST_BYTES


class Different(Exception):
    """Raised by a judge: an input was accepted and its outcome is not what it must be."""


#: Judges one input: how many were accepted, and how many were judged (a judge may make several of one draw).
Judge = Callable[[Random, Path], tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What must not be: its kind, the seed that repeats it, and what was seen."""

    kind: str
    fault: str
    seed: str
    text: str


@dataclass(slots=True, kw_only=True)
class Row:
    """A kind of input and what came of it; ``seconds`` of all processes together, ``peak`` bytes above the start."""

    kind: str
    inputs: int = 0
    accepted: int = 0
    different: int = 0
    crashed: int = 0
    hung: int = 0
    over_memory: int = 0
    slowest: float = 0.0
    peak: int = 0
    seconds: float = 0.0
    findings: list[Finding] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether nothing was found."""
        return not (self.different or self.crashed or self.hung or self.over_memory)

    def add(self, other: "Row") -> None:
        """Take in another row of the same kind."""
        for name in ("inputs", "accepted", "different", "crashed", "hung", "over_memory", "seconds"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest, self.peak = max(self.slowest, other.slowest), max(self.peak, other.peak)
        self.findings += other.findings

    def as_json(self) -> dict[str, Any]:
        """As a JSON value."""
        return asdict(self)


def judge_one(kind: str, judge: Judge, seed: str) -> Row:
    """Judge the input of one seed, in this process."""
    row = Row(kind=kind)
    before, begin = _peak(), time.perf_counter()
    fault, text = "", ""
    with tempfile.TemporaryDirectory(prefix="diagplan-search-") as folder:
        try:
            row.accepted, row.inputs = judge(Random(seed), Path(folder))
        except DiagplanError:  # refused, as it should be where it is wrong
            row.inputs = 1
        except Different as error:
            row.inputs, fault, text = 1, "different", str(error)
        except MemoryError:
            row.inputs, fault, text = 1, "over_memory", "MemoryError"
        except Exception:
            row.inputs, fault, text = 1, "crashed", traceback.format_exc(limit=-4)
    row.seconds = row.slowest = time.perf_counter() - begin
    row.peak = _peak() - before
    if not fault and row.peak > MOST_BYTES:
        fault, text = "over_memory", f"{row.peak / 2**20:.0f} MiB"
    if not fault and row.seconds > HUNG_SECONDS * max(1, row.inputs):
        fault, text = "hung", f"{row.seconds:.1f} s"
    if fault:
        setattr(row, fault, 1)
        row.findings.append(Finding(kind=kind, fault=fault, seed=seed, text=text[-2000:]))
    return row


def search(
    kind: str, judge: Judge, inputs: int, seed: str, *, workers: int = 1, done: Callable[[int], None] | None = None
) -> Row:
    """Judge at least ``inputs`` inputs.

    Args:
        kind: the kind's name; part of every input's seed.
        judge: one input's judge; a function of a module, since processes are forked from this one.
        inputs: how many.
        seed: of the whole search.
        workers: processes at a time.
        done: called with the number of inputs judged since the last call.
    """
    total = Row(kind=kind)
    drawn = 0
    running = [_Worker(kind, judge) for _ in range(workers)]
    try:
        while total.inputs < inputs:
            for at, worker in enumerate(running):
                if worker.idle:
                    worker.ask(f"{kind}/{seed}/{drawn}")
                    drawn += 1
                row = worker.answer()
                if row is None:
                    continue
                total.add(row)
                if done is not None:
                    done(row.inputs)
                if not worker.alive:
                    running[at] = _Worker(kind, judge)
    finally:
        for worker in running:
            worker.end()
    return total


class _Worker:
    """A process that judges one seed after the other; ended and reported where it does not come back."""

    def __init__(self, kind: str, judge: Judge) -> None:
        self.kind = kind
        self.ours, theirs = mp.Pipe()
        context = mp.get_context("fork")
        self.process = context.Process(target=_work, args=(kind, judge, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.seed = ""
        self.since = 0.0

    @property
    def idle(self) -> bool:
        return not self.seed

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def ask(self, seed: str) -> None:
        self.seed, self.since = seed, time.perf_counter()
        self.ours.send(seed)

    def answer(self) -> Row | None:
        """The row of the seed that was asked, or ``None`` as long as there is none."""
        row: Row | None = None
        try:
            if self.ours.poll(0.002):
                row = self.ours.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            row = self._lost("crashed", f"the process ended with {self.process.exitcode}")
        if row is None and time.perf_counter() - self.since > _ENDED_SECONDS:
            self.end()
            row = self._lost("hung", f"ended after {_ENDED_SECONDS:.0f} s")
        if row is not None:
            self.seed = ""
        return row

    def _lost(self, fault: str, text: str) -> Row:
        row = Row(kind=self.kind, inputs=1, findings=[Finding(kind=self.kind, fault=fault, seed=self.seed, text=text)])
        setattr(row, fault, 1)
        return row

    def end(self) -> None:
        self.process.kill()
        self.process.join()


def _work(kind: str, judge: Judge, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        now = _address_space()
        resource.setrlimit(resource.RLIMIT_AS, (now + _ENDED_BYTES, now + _ENDED_BYTES))
    scratch = Path(tempfile.mkdtemp(prefix="diagplan-search-"))
    tempfile.tempdir = str(scratch)
    try:
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                pipe.send(judge_one(kind, judge, pipe.recv()))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _peak() -> int:
    """The most bytes that this process has held so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    return pages * resource.getpagesize()
