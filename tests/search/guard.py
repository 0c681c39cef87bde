"""Judge many random inputs under a guard of time and memory, in processes of their own. Linux only.

A judge gets a source of chance and an empty folder, makes one input of them and hands it to diagplan. Every input has a
seed of its own, so that a finding can be judged again alone.
"""

import contextlib
import multiprocessing as mp
import re
import resource
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

__all__ = [
    "HUNG_SECONDS",
    "MOST_BYTES",
    "Based",
    "Different",
    "Finding",
    "Judge",
    "Limits",
    "Row",
    "judge_one",
    "search",
]

#: An input that takes longer hangs, and one that takes more memory than this above what stood before is too large.
HUNG_SECONDS, MOST_BYTES = 5.0, 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What an input may take.

    Attributes:
        seconds: it hangs beyond them; its process is ended after four times as many, for the machine's sake.
        memory: bytes above what stood before; three times as many cannot be had.
    """

    seconds: float = HUNG_SECONDS
    memory: int = MOST_BYTES


class Different(Exception):  # noqa: N818 - what was seen, in words
    """Raised by a judge: an input was accepted and its outcome is not what it must be."""


#: Judges one input: how many were accepted, and how many were judged (a judge may make several of one draw).
Judge = Callable[[Random, Path], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Based:
    """A judge with something to make once, before the processes are forked: no input is charged for it."""

    prepare: Callable[[], object]
    judge: Judge

    def __call__(self, rng: Random, folder: Path) -> tuple[int, int]:
        return self.judge(rng, folder)


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


def judge_one(kind: str, judge: Judge, seed: str, limits: Limits | None = None) -> Row:
    """Judge the input of one seed, in this process."""
    row, limits = Row(kind=kind), limits or Limits()
    _prepare(judge)
    before, begin = _reset_peak(), time.perf_counter()
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
        except BaseException:  # noqa: BLE001 - also what a library of Rust panics with
            row.inputs, fault, text = 1, "crashed", traceback.format_exc(limit=-4)
    row.seconds = row.slowest = time.perf_counter() - begin
    row.peak = _peak() - before
    if not fault and row.peak > limits.memory:
        fault, text = "over_memory", f"{row.peak / 2**20:.0f} MiB"
    if not fault and row.seconds > limits.seconds * max(1, row.inputs):
        fault, text = "hung", f"{row.seconds:.1f} s"
    if fault:
        setattr(row, fault, 1)
        row.findings.append(Finding(kind=kind, fault=fault, seed=seed, text=text[-2000:]))
    return row


def search(
    kind: str,
    judge: Judge,
    inputs: int,
    seed: str,
    *,
    workers: int = 1,
    limits: Limits | None = None,
    done: Callable[[int], None] | None = None,
) -> Row:
    """Judge at least ``inputs`` inputs.

    Args:
        kind: the kind's name; part of every input's seed.
        judge: one input's judge; a function of a module, since processes are forked from this one.
        inputs: how many.
        seed: of the whole search.
        workers: processes at a time.
        limits: of one input.
        done: called with the number of inputs judged since the last call.
    """
    total, limits = Row(kind=kind), limits or Limits()
    drawn = 0
    _prepare(judge)
    running = [_Worker(kind, judge, limits) for _ in range(workers)]
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
                    worker.end()
                    running[at] = _Worker(kind, judge, limits)
    finally:
        for worker in running:
            worker.end()
    return total


class _Worker:
    """A process that judges one seed after the other; ended and reported where it does not come back."""

    def __init__(self, kind: str, judge: Judge, limits: Limits) -> None:
        self.kind, self.limits = kind, limits
        self.ours, theirs = mp.Pipe()
        # Here, and not in the process, which is killed and cannot clear up.
        self.scratch = tempfile.TemporaryDirectory(prefix="diagplan-search-")
        context = mp.get_context("fork")
        arguments = (kind, judge, limits, theirs, self.scratch.name)
        self.process = context.Process(target=_work, args=arguments, daemon=True)
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
        if row is None and time.perf_counter() - self.since > (ended := 4 * self.limits.seconds):
            self.end()
            row = self._lost("hung", f"ended after {ended:.0f} s")
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
        self.ours.close()
        self.scratch.cleanup()


def _work(kind: str, judge: Judge, limits: Limits, pipe: Connection, scratch: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if torch := sys.modules.get("torch"):  # its threads are not in the fork, which would wait for them for ever
        torch.set_num_threads(1)
    tempfile.tempdir = scratch
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        most = _held("VmSize") + 3 * limits.memory
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            pipe.send(judge_one(kind, judge, pipe.recv(), limits))


def _prepare(judge: object) -> None:
    if isinstance(judge, Based):
        judge.prepare()


def _reset_peak() -> int:
    """Begin the peak anew, at the bytes that this process holds now: it never falls by itself."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _peak()


def _peak() -> int:
    """The most bytes that this process has held since the last reset."""
    return _held("VmHWM")


def _held(name: str) -> int:
    """Bytes by their name in Linux' status of a process."""
    found = re.search(rf"^{name}:\s*(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii"), re.M)
    assert found is not None
    return int(found[1]) * 1024
