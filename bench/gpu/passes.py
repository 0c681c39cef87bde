"""What a plan takes on a device: its passes timed by shape, and summed over the plan.

A shape is (feeds, cache length). Of every width the shortest, a middle and the longest cache length are timed, in rows
of passes between two waits, and the median of several rows counts; lengths between are interpolated. The sum over all
passes of the plan is its time. Where a whole replay is short it is timed too, and stands beside the sum.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from bench.gpu.clock import Device
from diagplan.adapters.contract import Model
from diagplan.adapters.samplers import Sampler
from diagplan.backends.guidance import branches_of
from diagplan.backends.memory import cache_bytes
from diagplan.backends.prepared import Prepared, State, new_state, prepare
from diagplan.backends.replay import replay
from diagplan.backends.torch_graphs import StaticPasses
from diagplan.planner.plan import Plan

__all__ = ["Mode", "Timed", "floor_seconds", "given_ids", "timed"]

#: torch's operators one by one; the same as CUDA graphs; graphs of layers that torch.compile has fused; graphs of a
#: model's own kernels, where it has some.
Mode = Literal["eager", "graphs", "compiled", "kernels"]
_LENGTHS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One plan in one mode.

    Attributes:
        passes: of the plan.
        seconds: of all of them, summed over shapes.
        prompt_seconds: those of step 0.
        whole_seconds: of a whole replay; ``None``: it was not run.
        by_shape: (feeds, cache length) -> seconds of a pass, of those that were timed.
        counts: (feeds, cache length) -> passes of the plan.
        graphs, capture_seconds, graph_bytes: that were captured, the time it took, and what they hold.
    """

    passes: int
    seconds: float
    prompt_seconds: float
    whole_seconds: float | None
    by_shape: dict[tuple[int, int], float]
    counts: dict[tuple[int, int], int]
    graphs: int
    capture_seconds: float
    graph_bytes: int


def given_ids(prepared: Prepared) -> np.ndarray:
    """Random ids for the given slots, int64 [rows, G]."""
    low, high = prepared.model.vocabulary[0].low, prepared.model.vocabulary[0].high
    return np.random.default_rng(0).integers(low, high, (prepared.rows, len(prepared.given_slots)))


def timed(
    device: Device,
    plan: Plan,
    model: Model,
    *,
    mode: Mode,
    batch: int = 1,
    guidance: float | None = None,
    sampler: Sampler | None = None,
    row: int = 8,
    repeats: int = 3,
    whole: float = 0.0,
) -> Timed:
    """Time a plan.

    Args:
        device: where the model is.
        plan: the plan.
        model: with compiled layers for the mode ``"compiled"``.
        mode: how passes run; without CUDA there are no graphs.
        batch: as for ``prepare``.
        guidance: likewise.
        sampler: likewise.
        row: passes between two waits, at most.
        repeats: rows of each shape.
        whole: run a whole replay where the sum says that it takes at most so many seconds.
    """
    options: dict[str, Any] = {"batch": batch, "guidance": guidance, "sampler": sampler}
    prepared = prepare(plan, model, static=True, unverified=True, **options)
    assert prepared.rows == batch * branches_of(guidance)
    ids = given_ids(prepared)
    state = new_state(prepared, ids)
    state.tokens.clamp_(0)  # passes are timed out of order: every slot holds an id
    held = device.reserved()
    passes = StaticPasses(prepared, state, capture=device.on_gpu and mode != "eager")
    counts, chosen = _shapes(prepared)
    by_shape: dict[tuple[int, int], float] = {}
    with torch.inference_mode():
        for shape, numbers in chosen.items():
            numbers = numbers[:: max(1, len(numbers) // row)][:row]

            def run(numbers: list[int] = numbers) -> None:
                for number in numbers:
                    passes.advance(number)

            by_shape[shape] = device.median(run, repeats) / len(numbers)
    total = sum(count * _between(by_shape, shape) for shape, count in counts.items())
    whole_seconds = _whole(device, prepared, state, passes, ids) if total <= whole else None
    return Timed(
        passes=len(prepared.passes),
        seconds=total,
        prompt_seconds=sum(_between(by_shape, _shape(p)) for p in prepared.passes if p.step == 0),
        whole_seconds=whole_seconds,
        by_shape=by_shape,
        counts=dict(counts),
        graphs=passes.graphs,
        capture_seconds=passes.capture_seconds,
        graph_bytes=max(0, device.reserved() - held),
    )


def floor_seconds(model: Any, rows: int, length: int, bytes_per_second: float) -> float:
    """The least time of a pass: weights but the embedding, and the cache in use, read once."""
    read = model.weight_bytes() - model.embedding.nbytes + cache_bytes(model, rows, length)
    return float(read / bytes_per_second)


def _shape(p: Any) -> tuple[int, int]:
    return int(p.mask.shape[0]), int(p.mask.shape[1])


def _shapes(prepared: Prepared) -> tuple[Counter[tuple[int, int]], dict[tuple[int, int], list[int]]]:
    """How often each shape comes, and the passes of those that are timed."""
    numbers: dict[tuple[int, int], list[int]] = {}
    for number, p in enumerate(prepared.passes):
        numbers.setdefault(_shape(p), []).append(number)
    counts = Counter({shape: len(some) for shape, some in numbers.items()})
    kept = set()
    for width in {width for width, _ in numbers}:
        lengths = sorted(length for other, length in numbers if other == width)
        at = np.linspace(0, len(lengths) - 1, min(_LENGTHS, len(lengths))).round().astype(int)
        kept |= {(width, lengths[i]) for i in at.tolist()}
    return counts, {shape: some for shape, some in numbers.items() if shape in kept}


def _between(by_shape: dict[tuple[int, int], float], shape: tuple[int, int]) -> float:
    """Seconds of a shape, between the lengths of its width that were timed."""
    points = sorted((length, took) for (width, length), took in by_shape.items() if width == shape[0])
    return float(np.interp(shape[1], [length for length, _ in points], [took for _, took in points]))


def _whole(device: Device, prepared: Prepared, state: State, passes: StaticPasses, ids: np.ndarray) -> float:
    """Seconds of a whole replay with the graphs that there are; others are captured before the clock starts."""
    begun = prepared.runtime.put(np.full((prepared.rows, prepared.plan.positions + 1), -1, dtype=np.int64))
    begun[:, torch.from_numpy(prepared.given_slots).to(begun.device)] = prepared.runtime.put(ids)

    def run() -> None:
        state.tokens.copy_(begun)
        state.done, state.static = 0, passes
        replay(prepared, state)

    run()
    return device.seconds(run)
