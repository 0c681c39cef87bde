"""What a speculative replay may promise of its tokens, in grades: probed on the model and device at hand.

In exact arithmetic the tokens are those of replay step by step. Floats of the same row may differ in their last bits
between passes of other widths and cache lengths, and then a near-tie may fall the other way. So the probe feeds the
same entries in passes of the shapes in use and compares the bits of their logits: with a pass of one granule at the
same cache length, and with what replay step by step does. ``diagplan.backends.teacher_check`` is the third grade: it
derives every token of a run anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Model, coordinates_of, input_vocab_of
from diagplan.backends.speculative_prepared import PreparedSpeculation, prepare
from diagplan.backends.window import GRANULE, feeds_of
from diagplan.planner.plan import Plan
from diagplan.planner.rollout import Rollout
from diagplan.planner.rounding import rounded_up
from diagplan.planner.speculation import Speculation, widest_step

__all__ = ["Grade", "Promise", "probed_promise", "promise_of"]

Grade = Literal["bit-exact", "bit-exact among padded passes", "exact up to near-ties"]
Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """Which grade the probe found, and by what.

    Attributes:
        grade: ``bit-exact``: logits have the bits of replay step by step. ``bit-exact among padded passes``: those of a
            replay whose passes are padded to the same granule and cache lengths, such as with a window of 1.
            ``exact up to near-ties``: bits differ between the shapes in use.
        shapes: (feeds, cache length) of the passes that were probed.
        padded: the largest difference of a logit from that of a pass of one granule.
        step_by_step: the same from replay step by step.
        places: entries compared in all.
    """

    grade: Grade
    shapes: tuple[tuple[int, int], ...]
    padded: float
    step_by_step: float
    places: int

    def __str__(self) -> str:
        if self.grade == "bit-exact":
            return f"bit-exact: the logits of {self.places} probed entries have the bits of replay step by step"
        if self.grade == "bit-exact among padded passes":
            return (
                "exact up to near-ties against replay step by step, from which logits differ by "
                f"{self.step_by_step:.1e} at most in {self.places} probed entries; bit-exact among padded passes"
            )
        return (
            f"exact up to near-ties: logits differ from those of replay step by step by {self.step_by_step:.1e} at "
            f"most in {self.places} probed entries"
        )


def probed_promise(prepared: PreparedSpeculation, feeds: Iterable[int] | None = None) -> Promise:
    """Probe the passes that a prepared replay makes: a few entries of each width, at the least and the greatest length.

    Args:
        prepared: from ``diagplan.backends.speculative.prepare``.
        feeds: of the passes in use, as ``Speculated`` tells them, a draft's plan apart; ``None``: all that may be.

    Raises:
        RuntimeError, MemoryError: as the model's forward does.
    """
    step, room = prepared.length_step, prepared.cache_slots
    widths = {feeds_of(width) for width in prepared.widths} | ({1} if len(prepared.widths) > 1 else set())
    if feeds is not None:
        widths = {int(n) for n in feeds if n + GRANULE <= room} or widths
    shapes = {
        (n, length)
        for n in sorted(widths)
        for length in (rounded_up(n + GRANULE, step), max(rounded_up(n + GRANULE, step), room))
    }
    probe, places = _Probe(prepared, max(length for _, length in shapes)), 0
    padded: list[float] = []
    plain: list[float] = []
    own = {1, widest_step(prepared.entries)}
    with prepared.runtime.inference():
        for n, length in sorted(shapes):
            start = length - n - GRANULE
            whole = probe.window(start, n, length)
            for place in sorted({0, n // 2, max(0, n - 2), n - 1}, reverse=True):  # a probe spoils the rows behind it
                for width, kept in ((GRANULE, padded), *((width, plain) for width in own)):
                    at = start + place
                    short = length if width == GRANULE else rounded_up(at + width, prepared.runtime.length_step)
                    kept.append(float(np.abs(probe.one(at, width, short) - whole[place]).max()))
                places += 1
    largest = max(padded), max(plain)
    grade: Grade = (
        "bit-exact"
        if largest[1] == 0
        else "bit-exact among padded passes"
        if largest[0] == 0
        else "exact up to near-ties"
    )
    return Promise(grade=grade, shapes=tuple(sorted(shapes)), padded=largest[0], step_by_step=largest[1], places=places)


def promise_of(
    plan: Plan | Rollout,
    model: Model,
    speculation: Speculation,
    *,
    feeds: Iterable[int] | None = None,
    **options: Any,
) -> Promise:
    """The same of a plan; of windows that slide the least that holds of any.

    Args:
        plan: the plan, or the rollout of all windows.
        model: the model, loaded.
        speculation: how it is replayed.
        feeds: as for ``probed_promise``.
        options: as for ``diagplan.backends.speculative.prepare``.

    Raises:
        DiagplanError: as ``prepare``.
    """
    plans = [plan] if isinstance(plan, Plan) else plan.plans
    used = None if feeds is None else tuple(feeds)
    probed = [probed_promise(prepare(one, model, speculation, **options), used) for one in plans]
    grades: tuple[str, ...] = get_args(Grade)
    return max(probed, key=lambda promise: (grades.index(promise.grade), promise.step_by_step))


class _Probe:
    """Passes over a cache of random numbers: what bits depend on is shapes, not what the numbers are."""

    def __init__(self, prepared: PreparedSpeculation, length: int) -> None:
        model = prepared.model
        self.prepared, self.random = prepared, np.random.default_rng(0)
        self.length = length + GRANULE * GRANULE
        self.cache: Any = model.new_cache(prepared.rows, self.length)
        empty = self.cache.read(self.length)
        self.cache.write([_random_like(array, self.random) for array in empty])
        self.ids = self.random.integers(0, input_vocab_of(model), (prepared.rows, self.length))
        place = np.linspace(0, prepared.plan.positions - 1, self.length).astype(np.int64)
        places = coordinates_of(model, prepared.plan.layout)
        self.places = place if places is None else places[place]

    def window(self, start: int, feeds: int, length: int) -> Float32:
        """The logits of entries from ``start`` on in one pass, float32 [feeds, rows, V]."""
        prepared, put = self.prepared, self.prepared.runtime.put
        slot = np.arange(start, start + feeds)
        logits = prepared.model.forward(
            put(self.ids[:, slot]),
            put(self.places[slot]),
            put(slot),
            put(np.arange(length) <= slot[:, None]),
            self.cache,
        )
        runtime = prepared.runtime
        return np.array(runtime.numpy(runtime.float32(logits))).swapaxes(0, 1)

    def one(self, at: int, feeds: int, length: int) -> Float32:
        """The logits of entry ``at`` alone, others behind it in the same pass, float32 [rows, V]."""
        first: Float32 = self.window(at, feeds, length)[0]
        return first


def _random_like(array: NDArray[Any], random: np.random.Generator) -> NDArray[Any]:
    """Numbers of a trained cache's scale; bfloat16 comes as its bits."""
    numbers = random.standard_normal(array.shape).astype(np.float32)
    if array.dtype == np.uint16:
        return (numbers.view(np.uint32) >> 16).astype(np.uint16)
    return numbers.astype(array.dtype)
