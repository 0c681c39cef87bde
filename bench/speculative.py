"""Exact and faster: ``python -m bench.speculative``. Speculation against next-token prediction and diagonal plans.

``crafter-mini`` on clips of test worlds, one given frame, one process: next-token prediction, diagonal plans and
speculation by windows, each in turn for every clip and sampler. *x time* is the mean over clips of next-token
prediction's seconds over those of the same clip; *same* the share of tokens equal to its own; *overhead* what is not
the model's forward, choice of tokens included. ``auto`` is the window chosen by measurement (which is not in its
seconds), and *of the best* its x time over that of the best row by windows. Then a model whose guesses all fail (the
same weights, and logits that a hash of each id decides), drafts by their passes, and the other runtimes and int8.
With ``--size`` a released shape too, whose seconds a pass are measured and whose passes are taken from crafter-mini:
random weights accept nothing that a trained model would.

Parts run in this order, and the file is written after each. Once ``--limit`` seconds are over the parts that are left
are named and left out.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from bench.plan import machine
from diagplan import (
    Diagonal,
    Greedy,
    Layout,
    NextToken,
    Plan,
    Sample,
    Speculation,
    compile_plan,
    load_model,
    load_world,
)
from diagplan.adapters.mc_ar import CONFIGS, McAr
from diagplan.backends import replay as executor
from diagplan.backends import speculative
from diagplan.backends.measured import measured_speculation, pass_seconds
from diagplan.backends.sampling import Sampler
from diagplan.games.recorder import SPLITS, Recording, play
from diagplan.models.exporting import export_onnx
from diagplan.planner.schedule import Schedule
from diagplan.planner.speculation import DraftName
from diagplan.video.frames import fit

RESULTS = Path(__file__).parent / "results"
SAMPLERS: dict[str, Sampler] = {"greedy": Greedy(), "temperature 1": Sample(), "top-p 0.8": Sample(top_p=0.8)}
DIAGONAL: dict[str, Schedule] = {"k=2": Diagonal(k=2), "k=1": Diagonal(k=1), "k=1 d=5": Diagonal(k=1, d=5)}
WINDOWS = (16, 32, 40, 56, 72, 104)
RUNTIMES = ("torch", "onnx")
GENERATED = 7


@dataclass(slots=True)
class Way:
    """One way of replaying, and its runs over clips."""

    name: str
    run: Callable[[NDArray[np.int64], int], Any]
    seconds: list[float] = field(default_factory=list)
    passes: list[int] = field(default_factory=list)
    overhead: list[float] = field(default_factory=list)
    same: list[float] = field(default_factory=list)
    ratio: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, Any]:
        """Means over clips, and the worst clip's passes."""
        names = ("passes", "seconds", "ratio", "same", "overhead")
        means = {name: float(np.mean(getattr(self, name))) for name in names}
        return {"way": self.name, "worst_passes": max(self.passes), "ms_a_pass": self.ms_a_pass(), **means}

    def ms_a_pass(self) -> float:
        """Of all clips."""
        return 1e3 * sum(self.seconds) / sum(self.passes)


@contextmanager
def forward_seconds(model: Any) -> Iterator[list[float]]:
    """Adds up the seconds of a model's forward passes."""
    kind, spent = type(model), [0.0]
    forward = kind.forward

    def timed(*inputs: Any) -> Any:
        begin = time.perf_counter()
        logits = forward(*inputs)
        spent[0] += time.perf_counter() - begin
        return logits

    kind.forward = timed
    try:
        yield spent
    finally:
        kind.forward = forward


def failing(model: McAr) -> McAr:
    """The same model with logits that no guess foresees: each fed id decides what follows it."""

    class Failing(McAr):
        def forward(self, ids: Any, position: Any, *others: Any) -> Any:
            logits = super().forward(ids, position, *others)
            rows = others[3] if len(others) > 3 else None
            hashed = (ids * 7919 + position * 104_729 + 12_345) % 1009 * 31 % self.vocabulary[0].high
            hashed = hashed if rows is None else hashed[:, rows]
            return logits.scatter_add(-1, hashed[..., None], torch.full_like(logits[..., :1], 1e4))

    other = Failing.__new__(Failing)
    other.__dict__ = model.__dict__
    return other


def step_by_step(plan: Plan, model: Any, sampler: Sampler) -> Callable[[NDArray[np.int64], int], Any]:
    """Replay of a plan, laid out once."""
    laid_out: dict[int, executor.Prepared] = {}

    def run(given: NDArray[np.int64], seed: int) -> Any:
        if seed not in laid_out:
            laid_out.clear()
            laid_out[seed] = executor.prepare(plan, model, sampler=sampler, seed=seed)
        return executor.replay(laid_out[seed], executor.new_state(laid_out[seed], given))

    return run


def speculatively(
    plan: Plan, model: Any, sampler: Sampler, how: Speculation
) -> Callable[[NDArray[np.int64], int], Any]:
    """Speculative replay of it."""

    def run(given: NDArray[np.int64], seed: int) -> Any:
        ready = speculative.prepare(plan, model, how, sampler=sampler, seed=seed)
        return speculative.replay(ready, speculative.new_state(ready, given))

    return run


def compared(ways: list[Way], model: Any, clips: list[NDArray[np.int64]], repeats: int, what: str) -> list[Way]:
    """Every way on every clip, in turn; the first is what the others are compared with."""
    for seed, given in track(list(enumerate(clips, start=1)), description=what, transient=True):
        best: dict[str, tuple[float, Any, float]] = {}
        for _ in range(repeats):
            for way in ways:
                with forward_seconds(model) as spent:
                    done = way.run(given, seed)
                if way.name not in best or done.seconds < best[way.name][0]:
                    best[way.name] = done.seconds, done, spent[0]
        base = best[ways[0].name]
        for way in ways:
            seconds, done, inside = best[way.name]
            way.seconds.append(seconds)
            way.passes.append(len(done.pass_seconds))
            way.overhead.append(1 - inside / seconds)
            way.same.append(float((done.tokens == base[1].tokens).mean()))
            way.ratio.append(base[0] / seconds)
    return ways


def shown(title: str, ways: list[Way]) -> list[dict[str, Any]]:
    """The table, printed."""
    table = Table(title=title)
    for name in ("way", "passes", "worst", "ms a pass", "seconds", "x time", "same", "overhead"):
        table.add_column(name, justify="left" if name == "way" else "right")
    rows = [way.summary() for way in ways]
    for row in rows:
        table.add_row(
            row["way"], f"{row['passes']:.1f}", str(row["worst_passes"]), f"{row['ms_a_pass']:.2f}",
            f"{row['seconds']:.3f}", f"{row['ratio']:.2f}", f"{row['same']:.1%}", f"{row['overhead']:.1%}",
        )  # fmt: skip
    Console(width=110).print(table)
    return rows


def sweep(
    title: str,
    plan: Plan,
    model: Any,
    sampler: Sampler,
    clips: list[NDArray[np.int64]],
    *,
    windows: Sequence[int],
    diagonal: dict[str, Plan],
    repeats: int,
) -> tuple[list[dict[str, Any]], dict[int, float], float]:
    """Next-token prediction, diagonal plans, windows, ``auto``: rows, passes by window, auto's gain over the best's."""
    ways = [Way("next-token", step_by_step(plan, model, sampler))]
    ways += [Way(name, step_by_step(other, model, sampler)) for name, other in diagonal.items()]
    ways += [Way(f"window {n}", speculatively(plan, model, sampler, Speculation(window=n))) for n in windows]
    auto = measured_speculation(plan, model, sampler=sampler).speculation
    ways.append(Way(f"auto ({auto.window})", speculatively(plan, model, sampler, auto)))
    rows = shown(title, compared(ways, model, clips, repeats, title))
    swept = rows[1 + len(diagonal) : -1]
    near = rows[-1]["ratio"] / max(row["ratio"] for row in swept)
    print(f"auto, of the best window: {near:.1%} ({'within' if near >= 0.9 else 'not within'} 10 %)")
    return rows, {n: row["passes"] for n, row in zip(windows, swept, strict=True)}, near


def loaders(options: argparse.Namespace, name: str, scratch: Path) -> dict[str, Callable[[], Any]]:
    """Functions that load a model in each runtime and precision; crafter-mini's first is measured before."""

    def loaded(runtime: str, *, int8: bool) -> Any:
        quantize: Any = "int8" if int8 else None
        portable = runtime == "onnx"
        own = None if portable else quantize
        if name in CONFIGS:
            model: Any = McAr.random(CONFIGS[name], quantize=own, portable=portable)
        else:
            model = load_world(name, quantize=own, portable=portable).model
        if not portable:
            return model
        folder = scratch / f"{name}{int8}"
        export_onnx(model, folder, quantize=quantize, threads=options.threads)
        return load_model(model.family, folder, backend="onnx", threads=options.threads)

    kinds = [(runtime, int8) for runtime in options.runtimes for int8 in (False, True)]
    if name not in CONFIGS:
        kinds = [kind for kind in kinds if kind != ("torch", False)]
    if options.quick:
        kinds = [kind for kind in kinds if not kind[1]]
    return {
        f"{name}, {runtime}{', int8' if int8 else ''}": partial(loaded, runtime, int8=int8) for runtime, int8 in kinds
    }


def overhead_of_some(plan: Plan, model: Any, window: int, passes: int = 6) -> float:
    """The share of a pass that is not the model's forward, of the first passes behind the prompt."""
    ready = speculative.prepare(plan, model, Speculation(window=window))
    state = speculative.new_state(ready, np.zeros((1, len(ready.given_slots)), dtype=np.int64))
    with forward_seconds(model) as spent:
        speculative.replay(ready, state, cancelled=lambda: True)
        before, left = spent[0], iter(range(passes - 1))
        done = speculative.replay(ready, state, cancelled=lambda: next(left, None) is None)
        inside = spent[0] - before
    return 1 - inside / sum(done.pass_seconds)


def shape(model: Any, title: str, passes: dict[int, float]) -> list[dict[str, Any]]:
    """What windows would gain on a released shape whose passes accept as crafter-mini's."""
    layout = Layout(frames=2, rows=14, cols=24, prompt_frames=1, between_frames=11)
    plan = compile_plan(layout, NextToken())
    one = pass_seconds(plan, model, Greedy(), 1, 1)
    rows, tokens = [], 108 * GENERATED
    for window, count in passes.items():
        took = pass_seconds(plan, model, Greedy(), 1, window)
        rows.append(
            {
                "window": window, "ms_a_pass": 1e3 * took, "gain": one * tokens / (took * count),
                "overhead": overhead_of_some(plan, model, window),
            }
        )  # fmt: skip
    table = Table(title=f"{title}: random weights, crafter-mini's passes; one feed takes {1e3 * one:.1f} ms")
    for name in ("window", "ms a pass", "x time", "overhead"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(str(row["window"]), f"{row['ms_a_pass']:.1f}", f"{row['gain']:.2f}", f"{row['overhead']:.2%}")
    Console(width=110).print(table)
    return [{"window": 1, "ms_a_pass": 1e3 * one, "gain": 1.0}, *rows]


def shipped_clips(world: Any, layout: Layout, count: int) -> list[NDArray[np.int64]]:
    """Given ids of clips of test worlds."""
    words = world.words
    what = Recording(game="crafter", rows=world.rows, cols=world.cols, frames=GENERATED + 1)
    clips = []
    for number in range(count):
        clip = play(what, SPLITS["test"] + number)
        first = fit(clip.frames[0], world.height, world.width)[None]
        blocks = np.array([[words.begin, words.ids[name], words.end] for name in clip.actions], dtype=np.int64)
        clips.append(world.given(layout, world.encode(first), blocks))
    return clips


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=3, help="clips of test worlds")
    parser.add_argument("--repeats", type=int, default=1, help="runs of each way on each clip; the quickest counts")
    parser.add_argument("--windows", type=int, nargs="+", default=WINDOWS)
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=RUNTIMES)
    parser.add_argument("--size", choices=CONFIGS, help="a released shape as well, in float32 and int8")
    parser.add_argument("--quick", action="store_true", help="one clip, two windows, PyTorch in float32 alone")
    parser.add_argument("--limit", type=float, default=240, help="seconds after which no other part begins")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "speculative.json")
    options = parser.parse_args()
    if options.quick:
        options.clips, options.windows, options.runtimes = 1, (16, 40), ("torch",)
    return options


class Parts:
    """What was measured so far, written after each part; none begins after the limit."""

    def __init__(self, options: argparse.Namespace, tokens: int) -> None:
        self.out, self.end = options.out, time.monotonic() + options.limit
        self.result: dict[str, Any] = {
            "machine": machine() | {"torch": torch.__version__, "threads": str(options.threads)},
            "clips": options.clips,
            "repeats": options.repeats,
            "tokens": tokens,
            "tables": {},
            "auto_of_the_best": {},
            "shapes": {},
            "left_out": [],
        }

    def due(self, name: str) -> bool:
        """Whether there is time for a part."""
        if time.monotonic() < self.end:
            return True
        self.result["left_out"].append(name)
        print(f"left out: {name}; --limit is over")
        self.write()
        return False

    def write(self) -> None:
        """Write what there is."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(self.result, indent=1) + "\n")


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    world = load_world("crafter-mini")
    model: Any = world.model
    layout = world.layout(GENERATED, 1)
    clips = shipped_clips(world, layout, options.clips)
    plan = compile_plan(layout, NextToken())
    diagonal = {name: compile_plan(layout, schedule) for name, schedule in DIAGONAL.items()}
    parts, passes = Parts(options, layout.tokens), {}
    tables, near = parts.result["tables"], parts.result["auto_of_the_best"]
    for name, sampler in SAMPLERS.items():
        if parts.due(name):
            tables[name], passes[name], near[name] = sweep(
                f"crafter-mini, {name}", plan, model, sampler, clips,
                windows=options.windows, diagonal=diagonal, repeats=options.repeats,
            )  # fmt: skip
            parts.write()
    if parts.due("every guess fails"):
        worst = failing(model)
        ways = [Way("next-token", step_by_step(plan, worst, Greedy()))]
        for adaptive in (False, True):
            how = Speculation(window=40, adaptive=adaptive)
            ways.append(Way(f"window 40{', adaptive' if adaptive else ''}", speculatively(plan, worst, Greedy(), how)))
        tables["every guess fails"] = shown(
            "every guess fails", compared(ways, worst, clips[:2], options.repeats + 1, "fails")
        )
        parts.write()
    for name in ("greedy", "temperature 1"):
        if not parts.due(f"{name}, drafts"):
            continue
        ways = [Way("next-token", step_by_step(plan, model, SAMPLERS[name]))]
        ways += [
            Way(draft, speculatively(plan, model, SAMPLERS[name], Speculation(window=40, draft=draft)))
            for draft in get_args(DraftName)
        ]
        tables[f"{name}, drafts"] = shown(f"drafts, window 40, {name}", compared(ways, model, clips, 1, "drafts"))
        parts.write()
    parts.write()
    with tempfile.TemporaryDirectory(dir=options.out.parent) as scratch:
        name = "temperature 1"
        for title, loaded in loaders(options, "crafter-mini", Path(scratch)).items():
            if parts.due(title):
                tables[title], _, near[title] = sweep(
                    f"crafter-mini, {title}, {name}", plan, loaded(), SAMPLERS[name], clips,
                    windows=options.windows, diagonal={}, repeats=options.repeats,
                )  # fmt: skip
                parts.write()
        for title, loaded in loaders(options, options.size, Path(scratch)).items() if options.size else ():
            if name in passes and parts.due(title):
                parts.result["shapes"][title] = shape(loaded(), title, passes[name])
                parts.write()
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
