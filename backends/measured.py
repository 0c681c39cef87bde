"""The window of a speculative replay by measurement: a few passes of each width are timed on the model's own device.

What a window gains is the tokens that a pass accepts times the seconds of next-token prediction's pass over those of
its own. Seconds are measured; how many tokens a model's passes will accept is not known before, and taken from
crafter-mini (``ACCEPTED``): the optimum is flat, and ``adaptive`` passes follow what is accepted indeed. So the
narrowest of windows that are about as good is taken, which loses least where guesses fail more often.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from diagplan.adapters.contract import Model, allowed_ids, coordinates_of, ranks_of
from diagplan.backends.agreement import slowest_rank
from diagplan.backends.arguments import require_model, require_sampler
from diagplan.backends.runtime import runtime_of
from diagplan.backends.sampling import Greedy, Sampler
from diagplan.backends.speculative_columns import few_lengths
from diagplan.backends.window import feeds_of
from diagplan.planner.arguments import require_kind
from diagplan.planner.layout import require_int
from diagplan.planner.plan import Plan
from diagplan.planner.rounding import rounded_up
from diagplan.planner.speculation import DraftName, Speculation, plan_entries, widest_step

__all__ = [
    "ACCEPTED",
    "Measured",
    "SpeculationChoice",
    "accepted",
    "measured_speculation",
    "pass_seconds",
    "settled_speculation",
    "timed_pass",
    "widest_measured",
]

#: A speculation, or ``"auto"``: its window and draft chosen for plan, model and device.
SpeculationChoice = Speculation | Literal["auto"]

#: Window -> tokens that a pass accepts: crafter-mini at temperature 1, 756 tokens over the mean passes of 8 clips of
#: test worlds (``python -m bench.speculative``).
ACCEPTED: dict[int, float] = {1: 1.0, 8: 6.2, 16: 11.2, 24: 14.9, 32: 17.3, 40: 20.6, 56: 25.6, 72: 28.8, 104: 36.2}
ACCEPTED |= {160: 43.2}

_WIDTHS = (1, 8, 16, 32, 64, 128)
#: Passes of each width, as long as all together take no more seconds than that; but so many at least.
_ROUNDS, _SECONDS, _LEAST = 12, 0.6, 2
#: Wider passes are not timed once a pass costs this many times what a pass of the best width costs a token.
_WORSE = 1.5
#: A window is as good as another with this share of its expected gain.
_ALIKE = 0.97


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A choice, and what it rests on.

    Attributes:
        speculation: the choice; its window is the narrowest of those with about the largest expected gain.
        seconds: width -> seconds of a pass, choice of tokens included, the least of a few; on a CPU those of all its
            threads.
        expected: times next-token prediction's speed, if passes accept as crafter-mini's do.
    """

    speculation: Speculation
    seconds: dict[int, float]
    expected: float


def measured_speculation(plan: Plan, model: Model, *, sampler: Sampler | None = None, rows: int = 1) -> Measured:
    """Choose window and draft for a plan, a model and its device.

    Args:
        plan: the plan.
        model: the model, loaded.
        sampler: as for ``diagplan.backends.prepared.prepare``.
        rows: of the model's batch.

    Raises:
        SpecError: a plan that lists mask rows, or arguments of another kind.
    """
    require_kind("plan", plan, Plan, "Compile one first.")
    require_model(model)
    require_sampler(sampler)
    rows = require_int("rows", rows, 1)
    entries = plan_entries(plan)
    seconds = _timed(plan, model, sampler or Greedy(), rows, max(1, entries.entries))
    least = widest_step(entries)
    windows = [w for w in range(8, max(seconds) + 1, 8) if w >= min(least, max(seconds))] or [least]
    gain = {w: accepted(w) * seconds[1] / _between(seconds, feeds_of(w)) for w in windows}
    window = next(w for w in windows if gain[w] >= _ALIKE * max(gain.values()))
    draft: DraftName = "previous-frame" if plan.layout.frames + plan.layout.prompt_frames > 1 else "above"
    return Measured(
        speculation=Speculation(window=window, draft=draft, adaptive=True),
        seconds=seconds,
        expected=gain[window],
    )


def widest_measured(plan: Plan) -> Speculation:
    """The widest that ``measured_speculation`` may choose: what memory is estimated for before it is known.

    >>> from diagplan.planner.compiler import compile_plan
    >>> from diagplan.planner.layout import Layout
    >>> from diagplan.planner.schedule import NextToken
    >>> widest_measured(compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), NextToken())).window
    128
    """
    return Speculation(window=max(_WIDTHS[-1], widest_step(plan_entries(plan))), adaptive=True)


def settled_speculation(
    speculation: SpeculationChoice, plan: Plan, model: Model, *, sampler: Sampler | None = None, rows: int = 1
) -> Speculation:
    """A speculation as it is, or the measured one for ``"auto"``.

    Raises:
        SpecError: something else.
    """
    if isinstance(speculation, str) and speculation == "auto":
        return measured_speculation(plan, model, sampler=sampler, rows=rows).speculation
    require_kind(
        "speculation", speculation, Speculation, "Give Speculation(window=...).", what="a Speculation or 'auto'"
    )
    return speculation


def accepted(window: int) -> float:
    """Tokens that a pass accepts, between the windows of ``ACCEPTED``.

    >>> accepted(40), round(accepted(36), 2)
    (20.6, 18.95)
    """
    return _between(ACCEPTED, window)


def _between(table: dict[int, float], at: int) -> float:
    return float(np.interp(at, list(table), list(table.values())))


def _timed(plan: Plan, model: Model, sampler: Sampler, rows: int, most: int) -> dict[int, float]:
    """Width -> least seconds of a pass, of all widths that may be worth it.

    Passes of all widths take turns: what disturbs a busy machine for a moment then decides about none of them. On a CPU
    seconds are the process' own: where others run there too, a pass that outlasts a slice of time has to wait in the
    middle, and would seem worse than short ones, which wait between them.
    """
    own = time.get_clock_info("process_time").resolution < 1e-5 and ranks_of(model) is None  # ranks wait for each other
    clock = time.process_time if own and not runtime_of(model).on_gpu else time.perf_counter
    passes: dict[int, Callable[[], float]] = {}
    seconds: dict[int, float] = {}

    def cost(width: int) -> float:
        return seconds[width] / accepted(width)

    def again(width: int) -> float:
        took = passes[width]()
        seconds[width] = min(took, seconds[width])
        return took

    for width in (width for width in _WIDTHS if width == 1 or width <= most):
        passes[width] = timed_pass(plan, model, sampler, rows, width, clock)
        passes[width]()  # the first one allocates
        seconds[width] = passes[width]()
        for _ in range(_LEAST):  # is it too wide, or was it disturbed?
            if cost(width) > _WORSE * min(map(cost, seconds)):
                again(width)
        if cost(width) > _WORSE * min(map(cost, seconds)):
            break
    spent = 0.0
    for turn in range(1, _ROUNDS):
        if spent > _SECONDS and turn >= _LEAST:
            break
        spent += sum(again(width) for width in passes)
    return seconds


def pass_seconds(plan: Plan, model: Model, sampler: Sampler, rows: int, width: int) -> float:
    """The least seconds of a few passes of ``timed_pass``."""
    one = timed_pass(plan, model, sampler, rows, width)
    return min(one() for _ in range(3))


def timed_pass(
    plan: Plan, model: Model, sampler: Sampler, rows: int, width: int, clock: Callable[[], float] = time.perf_counter
) -> Callable[[], float]:
    """A function that does a pass of so many feeds over half the plan's cache, and gives its seconds by a clock.

    The choice of their tokens is included. Of a model that is spread over ranks they are the slowest one's, so that all
    of them choose the same window.
    """
    runtime = runtime_of(model)
    put, step = runtime.put, few_lengths(runtime)
    length = rounded_up(max(width, plan.positions // 2), step)
    slot = np.arange(length - width, length)
    ranges = allowed_ids(model.vocabulary, plan.layout)
    low, high = (int(end) for end in ranges[plan.layout.cell_slots()[0, 0, 0]])
    ids = put(np.random.default_rng(0).integers(low, high, (rows, width)))
    place, places = np.linspace(0, plan.positions - 1, width).astype(np.int64), coordinates_of(model, plan.layout)
    position = put(place if places is None else places[place])
    mask, keys = put(np.arange(length) <= slot[:, None]), put(np.arange(rows * width).reshape(rows, width))
    cache, slots = model.new_cache(rows, length), put(slot)

    def once() -> float:
        with runtime.inference():
            begin = clock()
            logits = model.forward(ids, position, slots, mask, cache)
            runtime.numpy(runtime.choose(logits, sampler, keys, (low, high)))
            return slowest_rank(model, clock() - begin)

    return once
