"""Times single passes of a loaded model over a grid of (feeds, cache slots), robustly: what a cost curve is made of.

Every timed pass is what replay makes of a step: the forward pass, the choice of tokens, and noting them. Points come in
rounds, each in another order, so that a busy minute of the machine spoils one round and not one point; of every point
the median counts. Short passes are timed behind one of their own kind, as those of a plan are: after a wide pass the
weights of a small model have to come back into the processor's caches. Each round begins with a new cache where a
runtime has caches of its own, so that what the first pass of a shape costs there is seen too.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Model, coordinates_of, own_runtime
from diagplan.adapters.samplers import Sampler
from diagplan.backends.passes import Layer, Pass
from diagplan.backends.prepared import STATIC_WIDTHS, Prepared, State, choose, forward, know, new_state, prepare
from diagplan.backends.program import PassColumns
from diagplan.backends.runtime import STATIC_STEP, runtime_of
from diagplan.backends.sampling import keys_for
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout, require_int
from diagplan.planner.rounding import rounded_up
from diagplan.planner.schedule import NextToken

__all__ = ["Measured", "TimedPoint", "grid_points", "measure_passes"]

#: Widths that are timed, those that say most first; of wide passes, which are prompts, one feed chooses a token.
_COARSE, _FINE = (1, 8, 32, 128, 512), (4, 16, 64, 2, 24, 3, 6, 12, 48, 96, 256)
_PROMPT = 128
#: Rounds that are wanted and at most; points that are kept rather than more rounds.
_WANTED_ROUNDS, _MOST_ROUNDS, _KEPT_POINTS = 3, 25, 6
#: Shares of the time: that warming up may take, and at which a round is broken off.
_WARM_UP, _TOO_LONG = 0.35, 1.2
#: On a GPU passes are launched in rows of so many, and waited for once.
_ROW = 8
#: A pass of so many seconds is timed once a round, not twice; one that is shorter so often that it takes about so many.
_SLOW, _SHORT, _MOST_AGAIN = 0.25, 0.01, 4
#: Shares of the time: what the first pass of a shape must cost more to count, and the error of a median that is too
#: large to choose by.
_SHAPE_COSTS, _NOISY = 0.05, 0.05

Clock = Callable[[], float]
#: Feeds, cache slots, and feeds that choose a token.
Shape = tuple[int, int, int]
#: Seconds of the first pass of a shape in a round, and of those that follow it at once, if it is no slow one.
Running = tuple[float, ...]


class TimedPoint(NamedTuple):
    """One point of the grid.

    Attributes:
        width, length, targets: feeds, cache slots, and feeds that chose a token.
        seconds: the median.
        spread: the middle half of the passes lies within so many seconds.
        passes: that were timed.
    """

    width: int
    length: int
    targets: int
    seconds: float
    spread: float
    passes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was timed.

    Attributes:
        points: in the order of lengths and widths.
        target_seconds: what a feed that chooses a token costs more than one that does not.
        shape_seconds: what the first pass of a shape costs more than later ones.
        static_widths, length_step, chunk: how the runtime lays passes out.
        rounds: in which the points were timed.
    """

    points: tuple[TimedPoint, ...]
    target_seconds: float
    shape_seconds: float
    static_widths: tuple[int, ...]
    length_step: int
    chunk: int
    rounds: int

    @property
    def spread(self) -> float:
        """The middle half of a point's passes, as a share of its time; the median over points."""
        return float(np.median([point.spread / point.seconds for point in self.points]))

    @property
    def error(self) -> float:
        """The standard error of a point's median, as a share of its time; the median over points."""
        errors = [0.93 * point.spread / point.seconds / np.sqrt(point.passes) for point in self.points]
        return float(np.median(errors))

    @property
    def noisy(self) -> bool:
        """Whether the times are too uncertain to choose between plans by them."""
        return self.few or self.error > _NOISY

    @property
    def few(self) -> bool:
        """Whether a point was timed too few times to tell how uncertain it is: the model is slow, or the time short."""
        return min(point.passes for point in self.points) < _WANTED_ROUNDS


def grid_points(positions: int, length_step: int, *, chunk: int = 512) -> list[tuple[int, int]]:
    """The points (feeds, cache slots) that are worth a measurement, those first that say most.

    >>> grid_points(100, 64)[:6]
    [(1, 128), (8, 128), (32, 128), (1, 64), (8, 64), (32, 64)]
    """
    longest = rounded_up(positions, length_step)
    middle = [rounded_up(int(longest * part), length_step) for part in (0.5, 0.25)]
    lengths = list(dict.fromkeys([longest, length_step, *middle]))
    coarse = [width for width in _COARSE if width <= chunk]
    ends = [(width, length) for length in lengths[:2] for width in coarse if width <= _PROMPT]
    points = ends + [(width, length) for length in lengths for width in coarse if (width, length) not in ends]
    points += [(width, length) for length in lengths for width in _FINE if width <= chunk]
    room = min(positions, chunk)
    return [(width, length) for width, length in points if width <= min(length, room)]


def measure_passes(
    model: Model,
    *,
    batch: int = 1,
    points: Sequence[tuple[int, int]] | None = None,
    longest: int | None = None,
    chunk: int = 512,
    sampler: Sampler | None = None,
    seconds: float = 40.0,
    static: bool | None = None,
    clock: Clock = time.perf_counter,
    on_progress: Callable[[float], None] | None = None,
) -> Measured:
    """Time passes of a model.

    Args:
        model: from ``load_model``.
        batch: rows of its batch.
        points: (feeds, cache slots) to time; ``None``: those of ``grid_points``, as many as there is time for.
        longest: cache slots of the longest passes; as many as the model has positions by default.
        chunk: feeds of the widest pass.
        sampler: how tokens are chosen; greedy by default.
        seconds: to spend: at most a fifth more, and a pass or two. A pass that would take too large a part is left out;
            only that of one feed is timed however long it takes, twice. ``points`` of one's own are all timed.
        static: as for ``prepare``.
        clock: seconds; tests bring one of their own.
        on_progress: called with the share of the time that is spent.

    Raises:
        SpecError: a number below 1.
        CapacityError: too little memory.
        NumericError: logits that are not finite.
    """
    grid = _Grid(model, batch, require_int("chunk", chunk, 1), longest, sampler, static, clock)
    own = points is not None
    asked = list(dict.fromkeys(points or grid_points(grid.positions, grid.length_step, chunk=chunk)))
    begin, spent = clock(), 0.0
    times: dict[Shape, list[Running]] = {}

    def went_on() -> float:
        if on_progress is not None:
            on_progress(min(1.0, (clock() - begin) / seconds))
        return clock() - begin

    with grid.prepared.runtime.inference():
        for shape in _with_targets(asked):  # the first time warms up, and says how long the others will take
            if own or not times or spent + _expected(shape, times) <= _WARM_UP * seconds:
                times[shape] = [grid.timed([shape])[shape]]
                spent = went_on()
        shapes, rounds = _affordable(times, seconds - spent, own=own)
        kept: dict[Shape, list[Running]] = {shape: [] for shape in shapes}
        order, done, last = np.random.default_rng(0), 0, 0.0
        while done < rounds and (not done or own or went_on() + last <= seconds):
            begun = clock()
            for length in order.permutation(sorted({length for _, length, _ in shapes})).tolist():
                mine = [shape for shape in shapes if shape[1] == length]
                until = np.inf if own else begin + _TOO_LONG * seconds
                for shape, running in grid.timed([mine[i] for i in order.permutation(len(mine))], until).items():
                    kept[shape].append(running)
                went_on()
            done, last = done + 1, clock() - begun
    return grid.measured({shape: kept[shape] or times[shape] for shape in shapes}, done)


def _expected(shape: Shape, times: Mapping[Shape, list[Running]]) -> float:
    """At most so many seconds of timing a shape: in proportion to its width, from those that were timed already.

    Infinite for a prompt with one target whose pass with all of them was left out: there is nothing to compare.
    """
    width, length, targets = shape
    if 1 == targets < width <= _PROMPT and (width, length, width) not in times:
        return np.inf
    once = min(running[-1] * max(1.0, width / other) for (other, _, _), (running, *_) in times.items())
    return once * (1 + _again(once))


def _pair(running: Running) -> tuple[float, float]:
    """Seconds of the first pass and of those that follow it, but for the next, where there are more."""
    return running[0], float(np.median(running[min(2, len(running) - 1) :]))


def _again(seconds: float) -> int:
    """How often a pass that takes so long is timed once more."""
    return 0 if seconds > _SLOW else max(1, min(_MOST_AGAIN, int(_SHORT / max(seconds, 1e-9))))


def _with_targets(points: Sequence[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Points with the feeds that choose a token: all of them, of a prompt one; and one point both ways."""
    shapes = [(width, length, width if width <= _PROMPT else 1) for width, length in points]
    both = [shape for shape in shapes[:_KEPT_POINTS] if 1 < shape[0] <= _PROMPT]
    if both:
        width, length, _ = max(both)
        shapes.insert(min(len(shapes), _KEPT_POINTS - 1), (width, length, 1))
    return shapes


def _affordable(times: Mapping[Shape, list[Running]], seconds: float, *, own: bool) -> tuple[list[Shape], int]:
    """As many points as can be timed often enough, those first that say most, and how often."""
    shapes, each = list(times), [sum(times[shape][0]) for shape in times]
    while not own and len(shapes) > 1:
        wanted = _WANTED_ROUNDS if len(shapes) > _KEPT_POINTS else 1
        if wanted * sum(each) <= seconds:
            break
        shapes, each = shapes[:-1], each[:-1]
    if not own:
        based = {length for width, length, _ in shapes if width == 1}
        shapes = [shape for shape in shapes if shape[1] in based]
    rounds = min(_MOST_ROUNDS, int(seconds / max(sum(each), 1e-9)))
    return shapes, max(_WANTED_ROUNDS if own else 1, rounds)


class _Grid:
    """A model with a plan's worth of room, whose passes can have any shape."""

    def __init__(
        self, model: Model, batch: int, chunk: int, longest: int | None, sampler: Sampler | None,
        static: bool | None, clock: Clock,
    ) -> None:  # fmt: skip
        self.clock, self.chunk = clock, chunk
        self.positions = min(
            model.positions, require_int("longest", model.positions if longest is None else longest, 1)
        )
        # One long prompt and one cell: the plan only makes room. Its passes are replaced.
        self.layout = Layout(frames=1, rows=1, cols=1, lead=max(1, self.positions - 1))
        plan = compile_plan(self.layout, NextToken())
        self.prepared = prepare(plan, model, sampler=sampler, batch=batch, chunk=chunk, static=static, unverified=True)
        self.positions = plan.positions
        self.length_step = STATIC_STEP if self.prepared.static else runtime_of(model).length_step
        self.own_caches = own_runtime(model) is not None
        self.state: State | None = None
        random = np.random.default_rng(0)
        low, high = model.vocabulary[0].low, model.vocabulary[0].high
        self.ids = random.integers(low, high, (self.prepared.rows, plan.positions + 1))
        ranges = np.tile(np.array([[low, high]], dtype=np.int64), (plan.positions, 1))
        samples = np.arange(batch)
        keys = keys_for(np.zeros(batch, dtype=np.int64), samples, np.arange(plan.positions))
        self.layer = Layer(self.prepared.runtime, keys, ranges, coordinates_of(model, self.layout), None)

    def timed(self, shapes: Sequence[Shape], until: float = np.inf) -> dict[Shape, Running]:
        """Seconds of passes of each shape, all of one cache length; on a GPU of one that follows, the mean of a row.

        Those that the clock leaves no time for are left out.
        """
        passes = [self._pass(*shape) for shape in shapes]
        twice = (*passes, *passes)  # graphs are captured of shapes that come again
        prepared = replace(self.prepared, passes=twice)
        state = self._state(prepared, shapes[0][1])
        advance = _stepper(prepared, state)
        row = _ROW if prepared.runtime.on_gpu else 1
        times: dict[Shape, Running] = {}

        def took(number: int, passes: int) -> float:
            begin = self.clock()
            for _ in range(passes):
                advance(number)
            self._wait(state)
            return (self.clock() - begin) / passes

        for number, shape in enumerate(shapes):
            self._wait(state)
            if self.clock() > until:
                break
            first = took(number, 1)
            again = min(1, _again(first)) if row > 1 else _again(first)
            times[shape] = first, *(took(number, row) for _ in range(again))
        return times

    def _state(self, prepared: Prepared, length: int) -> State:
        """A state whose cache holds something: pages that were never written are read faster than real ones."""
        if self.state is None or self.own_caches:
            given = self.ids[:, : len(prepared.given_slots)]
            whole = self.prepared if not self.own_caches else prepared
            self.state = new_state(whole, given)
            self.state.tokens = prepared.runtime.put(self.ids)
            slots = length if self.own_caches else whole.cache_slots
            self.state.cache.write(self.state.cache.read(slots))
        return self.state

    def _wait(self, state: State) -> None:
        if self.prepared.runtime.on_gpu:
            self.prepared.runtime.numpy(state.tokens[:1, :1])

    def _pass(self, width: int, length: int, targets: int) -> Pass:
        last = min(length, self.positions)
        at = np.arange(last - width, last)
        rows = np.arange(width - targets, width)
        columns = PassColumns(
            step=0, last=True, source=at, position=at, slot=at, mask=at[:, None] >= np.arange(length)[None],
            own=at, rows=rows, target=at[rows],
        )  # fmt: skip
        return next(iter(self.layer.laid_out([columns], {})))

    def measured(self, kept: dict[Shape, list[Running]], rounds: int) -> Measured:
        """Medians. Of short passes a round counts once, by those that are warm; of others every pass counts."""
        pairs = {shape: np.array([_pair(one) for one in times if len(one) > 1]) for shape, times in kept.items()}
        pairs = {shape: pair.reshape(-1, 2) for shape, pair in pairs.items()}
        first, later = np.concatenate(list(pairs.values())).T
        costs = len(later) > 0 and np.median(first - later) > _SHAPE_COSTS * np.median(later)
        samples = {}
        for shape, times in kept.items():
            warm = pairs[shape][:, 1]
            once = len(warm) > 0 and (costs or np.median(warm) < _SHORT)
            samples[shape] = warm if once else np.concatenate(times)
        apart = [shape for shape in samples if shape[2] == 1 and 1 < shape[0] <= _PROMPT]
        target_seconds = 0.0
        for width, length, _ in apart:
            whole = np.median(samples[width, length, width]) if (width, length, width) in samples else np.nan
            target_seconds = max(0.0, float(whole - np.median(samples[width, length, 1])) / (width - 1))
        points = [
            _point(shape, samples[shape]) for shape in sorted(samples, key=lambda s: (s[1], s[0])) if shape not in apart
        ]
        return Measured(
            points=tuple(points), target_seconds=target_seconds if np.isfinite(target_seconds) else 0.0,
            shape_seconds=float(np.median(first - later)) if costs else 0.0,
            static_widths=STATIC_WIDTHS if self.prepared.static else (), length_step=self.length_step,
            chunk=self.chunk, rounds=rounds,
        )  # fmt: skip


def _point(shape: tuple[int, int, int], seconds: NDArray[np.float64]) -> TimedPoint:
    low, median, high = np.percentile(seconds, [25, 50, 75])
    return TimedPoint(*shape, float(median), float(high - low), len(seconds))


def _stepper(prepared: Prepared, state: State) -> Callable[[int], Any]:
    """What runs pass number i as replay does."""
    if prepared.static and prepared.runtime.graphs:
        from diagplan.backends.torch_graphs import StaticPasses

        return StaticPasses(prepared, state, capture=prepared.runtime.on_gpu).advance

    def advance(number: int) -> None:
        p = prepared.passes[number]
        logits = forward(prepared, state, p)
        if logits is not None:
            know(prepared, state, p, choose(prepared, p, logits))

    return advance
