"""Predicted against measured seconds of plans: ``python -m bench.tune``.

For each of three models' shapes, on each runtime: a cost curve is measured, plans are replayed, and the time that the
curve predicts is compared with the median of the replays. Replays and timed passes take turns, so that both see the
machine equally busy: the comparison is of the curve, not of two minutes of a machine that others use too. Then the plan
that ``diagplan tune`` would take as fastest is replayed in turn with the fastest of all that ran, and plans under width
caps are held against those without. The curves go to ``bench/results/`` too. Small shapes have random weights; a replay
is greedy, and has run once before it is timed.

    python -m bench.tune [--models crafter-mini,wide,300M_16f] [--batch 1] [--seconds 32]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.plan import machine
from diagplan import Layout, Policies, compile_plan, preset_layout
from diagplan.adapters.contract import Model
from diagplan.adapters.mc_ar import CONFIGS, McAr, McArConfig
from diagplan.adapters.options import LoadOptions
from diagplan.backends.onnx_runtime import load_onnx_model
from diagplan.backends.replay import Prepared, new_state, prepare, replay
from diagplan.models.exporting import export_onnx
from diagplan.models.loading import load_model
from diagplan.models.measuring import measure_curve
from diagplan.planner.cost import plan_cost
from diagplan.planner.passes import pass_shapes
from diagplan.planner.roofline import DEVICES, PassWork, roofline_curve
from diagplan.planner.schedule import Diagonal, NextToken, Schedule
from diagplan.planner.tuning import Candidate, candidate_plan, price
from diagplan.schemas.curve import CurveDocument, curve_of, write_curve
from diagplan.worlds import SHIPPED

RESULTS = Path(__file__).parent / "results"
#: Width caps that are replayed.
_CAPS = (4, 8, 16, 32)
#: The uncapped diagonal plans of the demonstration.
DEMO = ("k=4", "k=2", "k=1", "k=2 d=14")
#: Feeds of the widest pass: wide enough for these prompts in few passes, and soon measured.
_CHUNK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model's sizes and the clip that is generated; no config: the model that ships.

    Plans of more than ``most_passes`` are not replayed, for time. ``share`` is this model's of ``--seconds``.
    """

    layout: Layout
    config: McArConfig | None = None
    most_passes: int = 100_000
    share: float = 1.0


SHAPES: Mapping[str, Shape] = {
    "crafter-mini": Shape(layout=Layout(frames=7, rows=9, cols=12, prompt_frames=1, between_frames=3), share=0.7),
    # A small transformer with a vocabulary of WHAM's size, on frames that are wider than high.
    "wide": Shape(
        layout=Layout(frames=2, rows=8, cols=20, prompt_frames=1, between_frames=16),
        config=McArConfig(
            hidden_size=512, intermediate_size=2048, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8,
            vocab_size=4096, max_position_embeddings=2048,
        ),
        most_passes=60,
    ),
    # A released size, on a smaller frame: a pass takes long here.
    "300M_16f": Shape(
        layout=Layout(frames=1, rows=4, cols=8, prompt_frames=1, between_frames=11), config=CONFIGS["300M_16f"],
        most_passes=30, share=1.8,
    ),
}  # fmt: skip


def loaded(shape: Shape, threads: int | None) -> Iterator[tuple[str, Model]]:
    """The model on torch, then exported on ONNX Runtime."""
    folder = SHIPPED["crafter-mini"]
    if threads is not None:
        torch.set_num_threads(threads)
    if shape.config is None:
        yield "torch", load_model("mc-ar", folder, threads=threads or "auto")
        portable: Any = load_model("mc-ar", folder, portable=True, threads=threads or "auto")
    else:
        yield "torch", McAr.random(shape.config)
        portable = McAr.random(shape.config, portable=True)
    with tempfile.TemporaryDirectory() as place:
        export_onnx(portable, place)
        del portable
        yield "onnx", load_onnx_model(place, threads=torch.get_num_threads())


def candidates(layout: Layout) -> dict[str, Candidate]:
    """The plans that are replayed on each: the demonstration's, overlapping frames, and some under width caps."""
    stacked = 2 * layout.rows
    schedules: list[Schedule] = [NextToken(), Diagonal(k=4), Diagonal(k=2), Diagonal(k=1)]
    if layout.frames > 1:
        schedules += [Diagonal(k=2, d=14), Diagonal(k=2, d=stacked // 2), Diagonal(k=1, d=5), Diagonal(k=1, d=1)]
    some = [Candidate(schedule=schedule) for schedule in schedules]
    densest = schedules[-1]
    some += [Candidate(schedule=densest, max_width=cap) for cap in _CAPS]
    return {one.name: one for one in some}


class Turns:
    """Replays that take turns with the passes of a curve: a clock that stands still while a plan is replayed.

    Args:
        ready: plans by name, laid out.
        given: the prompt's ids.
        share: seconds of replays for one of timed passes.
    """

    def __init__(self, ready: Mapping[str, Prepared], given: np.ndarray, share: float) -> None:
        self.ready, self.given, self.share = ready, given, share
        self.times: dict[str, list[float]] = {name: [] for name in ready}
        self.order, self.queue = np.random.default_rng(0), list[str]()
        self.away = 0.0
        for prepared in ready.values():
            self.replayed(prepared)
        self.begin, self.away = time.perf_counter(), 0.0

    def clock(self) -> float:
        """Seconds without those of replays."""
        return time.perf_counter() - self.begin - self.away

    def replayed(self, prepared: Prepared) -> float:
        """Seconds of one replay."""
        begin = time.perf_counter()
        state = new_state(prepared, self.given)
        ready = time.perf_counter()
        replay(prepared, state)
        self.away += (end := time.perf_counter()) - begin
        return end - ready

    def one(self) -> None:
        """The next plan in an order that is another in each round."""
        if not self.queue:
            self.queue = self.order.permutation(list(self.ready)).tolist()
        name = self.queue.pop()
        self.times[name].append(self.replayed(self.ready[name]))

    def turn(self, _: float) -> None:
        """As many replays as are due; called between two groups of timed passes."""
        while self.away < self.share * self.clock():
            self.one()

    def duel(self, names: Sequence[str], *, seconds: float) -> dict[str, float]:
        """Median seconds of some plans that are replayed in turn, an odd number of times."""
        times: dict[str, list[float]] = {name: [] for name in names}
        begin = time.perf_counter()
        while len(times[names[0]]) < 3 or time.perf_counter() - begin < seconds or len(times[names[0]]) % 2 == 0:
            for name in self.order.permutation(list(names)).tolist():
                times[name].append(self.replayed(self.ready[name]))
        return {name: float(np.median(some)) for name, some in times.items()}


def laid_out(
    layout: Layout, model: Model, batch: int, most: int, asked: Mapping[str, Candidate]
) -> dict[str, Prepared]:
    """Plans that can be replayed, without caps that change nothing."""
    ready = {}
    for name, candidate in asked.items():
        plan = candidate_plan(layout, candidate)
        cap, whole = candidate.max_width, compile_plan(layout, candidate.schedule)
        same = cap is not None and pass_shapes(whole).widest <= cap
        if not same and plan.steps <= most:
            ready[name] = prepare(plan, model, batch=batch, chunk=_CHUNK)
    return ready


def measured_beside(
    name: str, shape: Shape, model: Model, *, runtime: str, batch: int, seconds: float
) -> tuple[CurveDocument, dict[str, Any]]:
    """A curve, and every plan's prediction beside its measured time; the fastest by prediction is among them."""
    begin, layout = time.perf_counter(), shape.layout
    asked = candidates(layout)
    ready = laid_out(layout, model, batch, shape.most_passes, asked)
    random = np.random.default_rng(0)
    size = len(next(iter(ready.values())).given_slots)
    given = random.integers(model.vocabulary[0].low, model.vocabulary[0].high, (batch, size))
    turns = Turns(ready, given, share=1.5)
    document, measured = measure_curve(
        model, name=name, options=LoadOptions(backend=runtime), batch=batch, seconds=0.3 * seconds,
        longest=layout.positions, chunk=_CHUNK, clock=turns.clock, on_progress=turns.turn,
    )  # fmt: skip
    curve = curve_of(document)
    while turns.queue or min(map(len, turns.times.values())) < 3:
        turns.one()
    priced = price(layout, curve)
    fastest = min(priced, key=lambda one: one.cost.seconds)
    plain = min((one for one in priced if one.candidate.max_width is None), key=lambda one: one.cost.seconds)
    under = [one for one in priced if one.candidate.max_width is not None]  # none where all plans are narrow
    capped = min(under, key=lambda one: one.cost.seconds) if under else None
    wanted = {one.candidate.name: one.candidate for one in (fastest, plain, capped) if one is not None}
    new = {name: one for name, one in wanted.items() if name not in ready}
    turns.ready = ready | laid_out(layout, model, batch, layout.positions, new)
    for name in set(turns.ready) - set(ready):
        turns.replayed(turns.ready[name])
    medians = {name: float(np.median(some)) for name, some in turns.times.items()}
    among = sorted(medians, key=lambda name: medians[name])[:3]
    finals = list(dict.fromkeys([*(name for name in wanted if name in turns.ready), *among]))
    left = seconds - (time.perf_counter() - begin)
    final = turns.duel(finals, seconds=max(0.1 * seconds, min(left, 0.4 * seconds)))
    rows: list[dict[str, Any]] = []
    for name, prepared in ready.items():
        cost = plan_cost(prepared.plan, curve)
        rows.append(
            {
                "plan": name, "passes": cost.passes, "widest": cost.widest, "predicted": cost.seconds,
                "measured": medians[name], "all_seconds": turns.times[name],
                "error": cost.seconds / medians[name] - 1, "capped": asked[name].max_width is not None,
            }
        )  # fmt: skip
    best, own = min(final, key=lambda name: final[name]), fastest.candidate.name
    chosen = None if capped is None else capped.candidate.name
    demo = [medians[one] for one in DEMO if one in medians]
    return document, {
        "rows": rows, "picked": own, "fastest": best, "final_seconds": final,
        "picked_over_fastest": final[own] / final[best],
        "fastest_under_a_cap": chosen, "fastest_without_cap": plain.candidate.name,
        "cap_gains": None if chosen is None else final[plain.candidate.name] / final[chosen],
        "cap_gains_over_demo": None if chosen is None or not demo else min(demo) / final[chosen],
        "points": len(document.points), "rounds": measured.rounds, "spread": measured.spread,
        "median_error_of_points": measured.error, "residual": float(np.median(curve.residuals)),
    }  # fmt: skip


def pricing_seconds() -> tuple[int, float, float]:
    """How many candidates there are for the Cosmos grid, and what it takes to price them: seconds, and of a core."""
    layout = preset_layout("cosmos")
    work = PassWork(weight_bytes=7.5e9, slot_bytes=65536, feed_flops=7.5e9, pair_flops=262144)
    curve = roofline_curve(work, DEVICES["H200"], longest=layout.positions)
    begin, core = time.perf_counter(), time.process_time()
    priced = price(layout, curve, policies=[Policies(), Policies(row_end="keep")])
    return len(priced), time.perf_counter() - begin, time.process_time() - core


def show(screen: Console, title: str, found: dict[str, Any]) -> None:
    table = Table(title=title)
    for head in ("plan", "passes", "widest", "predicted s", "measured s", "error %"):
        table.add_column(head, justify="left" if head == "plan" else "right")
    for row in found["rows"]:
        mark = "* " if row["plan"] == found["picked"] else ""
        table.add_row(
            mark + row["plan"], str(row["passes"]), str(row["widest"]), f"{row['predicted']:.3f}",
            f"{row['measured']:.3f}", f"{100 * row['error']:+.1f}",
        )  # fmt: skip
    screen.print(table)
    screen.print(
        f"picked {found['picked']}: {100 * (found['picked_over_fastest'] - 1):+.1f} % against the fastest, "
        f"{found['fastest']}"
    )
    if found["cap_gains"] is not None:
        gains = f"{found['cap_gains']:.3f} x as fast as {found['fastest_without_cap']}"
        if found["cap_gains_over_demo"] is not None:
            gains += f", {found['cap_gains_over_demo']:.3f} x as fast as the demonstration's plans"
        screen.print(f"under a width cap the fastest is {found['fastest_under_a_cap']}: {gains}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(SHAPES), help=f"out of {', '.join(SHAPES)}")
    parser.add_argument("--runtimes", default="torch,onnx", help="torch, onnx or both")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=32, help="to spend on each model and runtime, about")
    parser.add_argument("--threads", type=int, help="CPU threads; left out: as the models choose")
    parser.add_argument("--out", type=Path, help="default: bench/results/tune-bBATCH.json")
    options = parser.parse_args()
    out = options.out or RESULTS / f"tune-b{options.batch}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    screen, results = Console(width=110), []
    for name in options.models.split(","):
        shape = SHAPES[name]
        for runtime, model in loaded(shape, options.threads):
            if runtime not in options.runtimes.split(","):
                continue
            document, found = measured_beside(
                name, shape, model, runtime=runtime, batch=options.batch, seconds=shape.share * options.seconds
            )
            write_curve(document, out.parent / f"curve-{name}-{runtime}-b{options.batch}.json")
            found |= {"model": name, "runtime": runtime, "batch": options.batch, "threads": document.threads}
            show(screen, f"{name} on {runtime}, batch {options.batch}, {document.threads} thread(s)", found)
            results.append(found)
    pricing = pricing_seconds()
    errors = np.array([abs(row["error"]) for found in results for row in found["rows"]])
    summary = {
        "plans": len(errors), "median_error": float(np.median(errors)), "worst_error": float(errors.max()),
        "worst_picked_over_fastest": max(found["picked_over_fastest"] for found in results),
        "cosmos_candidates": pricing[0], "cosmos_seconds": pricing[1], "cosmos_core_seconds": pricing[2],
    }  # fmt: skip
    screen.print(
        f"{summary['plans']} plans: median error {100 * summary['median_error']:.1f} %, worst "
        f"{100 * summary['worst_error']:.1f} %; the picked plan takes at worst "
        f"{summary['worst_picked_over_fastest']:.3f} x the fastest"
    )
    screen.print(
        f"{pricing[0]} plans of the Cosmos grid are priced in {pricing[1]:.1f} s, {pricing[2]:.1f} s of one core"
    )
    about = machine() | {"torch": torch.__version__}
    out.write_text(json.dumps({"machine": about, "summary": summary, "models": results}, indent=1) + "\n")
    screen.print(f"wrote {out}")


if __name__ == "__main__":
    main()
