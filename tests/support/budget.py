"""The budget of every reader: a guard of time and memory, and values that are small to write and endless to show."""

import contextlib
import itertools
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

__all__ = ["LARGE", "SECONDS", "nested", "within_budget", "yaml_bomb"]

#: What docs/troubleshooting.md promises of every reader.
SECONDS, BYTES = 5, 1 << 30


class _OverTimeError(BaseException):
    """Not an ``Exception``: readers turn those into errors of the file."""


@contextlib.contextmanager
def within_budget(*, seconds: float = SECONDS, memory: int = BYTES) -> Iterator[None]:
    """Fail where what is inside takes more processor time, or more address space beyond what is taken already.

    A reader that catches ``MemoryError`` names it in its message, so that ``pytest.raises`` must look at the text.
    """
    if sys.platform != "linux":
        pytest.skip("limits of a process are set as on Linux")
    import resource  # of no other platform

    taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    before = resource.getrlimit(resource.RLIMIT_AS)

    def over(*_: Any) -> None:
        raise _OverTimeError

    handler = signal.signal(signal.SIGPROF, over)
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory, before[1]))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    except _OverTimeError:
        pytest.fail(f"took more than {seconds} s")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGPROF, handler)


def nested(kind: type[Any] = list, levels: int = 40) -> Any:
    """A list, tuple or dict whose text doubles with every level."""
    value: Any = kind()
    for _ in range(levels):
        value = {"a": value, "b": value} if kind is dict else kind((value, value))
    return value


#: By name: values that cost little to hold, and for ever or a screen of a gigabyte to format.
LARGE: dict[str, Any] = {
    "lists": nested(list),
    "tuples": nested(tuple),
    "dicts": nested(dict),
    "digits": 1 << 40_000,  # more than 10,000 digits, at which Python refuses
    "text": "y" * (60 << 20),
    "nan": float("nan"),
    "inf": float("inf"),
}


def yaml_bomb(levels: int = 13) -> str:
    """Lines of YAML with an anchor ``&b`` of 9^levels values."""
    names = ["b" if level == levels - 1 else f"b{level}" for level in range(levels)]
    lines = [f"{names[0]}: &{names[0]} [x]"]
    for below, name in itertools.pairwise(names):
        lines.append(f"{name}: &{name} [{', '.join([f'*{below}'] * 9)}]")
    return "\n".join(lines) + "\n"
