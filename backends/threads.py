"""How many CPU threads a pass takes, where nobody has said: measured on the model itself, in favour of few.

torch's and ONNX Runtime's threads spin while they wait for each other. On a machine that is shared, a second thread can
cost many times what it gives; and a small model has too little to share.
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np

from diagplan.adapters.contract import LENGTH_STEP, Model, only_batch_of, own_threads, ranks_of
from diagplan.backends.runtime import runtime_of

__all__ = [
    "SMALL",
    "Threads",
    "begin_with_one",
    "choose_threads",
    "set_threads",
    "settle_threads",
    "threads_in_use",
    "threads_of_session",
    "usable_cpus",
]

#: A number, ``"auto"``: chosen here, or ``None``: the runtime's own choice, which is left as it is.
Threads = int | Literal["auto"] | None

#: Models whose weights take fewer bytes get one thread, without being measured.
SMALL = 64 << 20
#: More threads are taken only where they save this share of the time.
_GAIN = 0.15
#: Passes that are timed with each number of threads, in turn; feeds of each.
_REPEATS, _FEEDS = 3, 8


def usable_cpus() -> int:
    """CPUs that this process may use; macOS does not say."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def choose_threads(
    weight_bytes: int, timed: Callable[[int], float], cpus: int, environment: Mapping[str, str] = os.environ
) -> int | None:
    """The threads of a model's passes; ``None``: the environment's ``OMP_NUM_THREADS`` holds.

    Args:
        weight_bytes: of the model.
        timed: seconds of one pass with so many threads.
        cpus: that may be used.
        environment: of the process.

    >>> choose_threads(1 << 30, {1: 0.10, 2: 0.06}.__getitem__, 2, {})
    2
    >>> choose_threads(1 << 30, {1: 0.10, 2: 0.09}.__getitem__, 2, {})
    1
    """
    if environment.get("OMP_NUM_THREADS"):
        return None
    if weight_bytes < SMALL or cpus < 2:
        return 1
    seconds: dict[int, list[float]] = {1: [], cpus: []}
    for number in seconds:
        timed(number)  # the first pass warms up
    for _ in range(_REPEATS):
        for number, times in seconds.items():
            times.append(timed(number))
    one, all_ = (statistics.median(seconds[number]) for number in (1, cpus))
    return cpus if all_ < (1 - _GAIN) * one else 1


def set_threads(threads: int | None) -> None:
    """Set torch's threads, the process' own; ``None`` leaves them."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def settle_threads(model: Model, asked: Threads) -> None:
    """Set torch's threads for a loaded model on a CPU: as asked, or as ``choose_threads`` finds.

    They are the process' own, so the image tokenizer has as many. A model that is spread over ranks is not timed: each
    rank would find something else.
    """
    if asked != "auto":
        set_threads(asked)
        return
    import torch

    if torch.device(model.device).type == "cpu" and ranks_of(model) is None:
        set_threads(choose_threads(model.weight_bytes(), _timed_passes(model), usable_cpus()))


def begin_with_one(asked: Threads, environment: Mapping[str, str] = os.environ) -> None:
    """Torch's threads until a model is loaded, for the image tokenizer that comes first: one where they are chosen."""
    if asked != "auto":
        set_threads(asked)
    elif not environment.get("OMP_NUM_THREADS"):
        set_threads(1)


def threads_in_use(model: Model) -> int:
    """CPU threads of a loaded model's passes: its own, such as a session's, or torch's."""
    own = own_threads(model)
    if own is not None:
        return own
    import torch

    return torch.get_num_threads()


def _timed_passes(model: Model) -> Callable[[int], float]:
    """A function that takes the seconds of one short pass with so many threads."""
    import torch

    runtime, feeds = runtime_of(model), min(_FEEDS, model.positions)
    batch = only_batch_of(model) or 1
    at = runtime.put(np.arange(feeds))
    ids = runtime.put(np.zeros((batch, feeds), dtype=np.int64))
    mask = runtime.put(np.pad(np.tril(np.ones((feeds, feeds), dtype=np.bool_)), ((0, 0), (0, LENGTH_STEP - feeds))))
    cache: Any = model.new_cache(batch, LENGTH_STEP)

    def timed(threads: int) -> float:
        torch.set_num_threads(threads)
        begin = time.perf_counter()
        with runtime.inference():
            model.forward(ids, at, at, mask, cache, at[-1:])
        return time.perf_counter() - begin

    return timed


def threads_of_session(asked: Threads, weight_bytes: int, environment: Mapping[str, str] = os.environ) -> int:
    """The threads of an ONNX Runtime session, which are chosen before it is there: by size alone.

    >>> threads_of_session("auto", 1 << 20, {}), threads_of_session("auto", 1 << 20, {"OMP_NUM_THREADS": "3"})
    (1, 3)
    """
    if asked is not None and asked != "auto":
        return asked
    named = environment.get("OMP_NUM_THREADS", "")
    if named.isdecimal() and 0 < int(named) <= 1024:
        return int(named)
    return 1 if asked == "auto" and weight_bytes < SMALL else usable_cpus()
