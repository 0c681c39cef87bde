"""Predicted against measured seconds of plans: ``python -m bench.tune``.

For each of three models' shapes, on each runtime: a cost curve is measured, plans are replayed in turn, and the time
that the curve predicts is compared with the median of the replays. Then what ``diagplan tune`` would take as fastest is
held against the fastest of all that were replayed, and plans under width caps against the same plans without. The
curves go to ``bench/results/`` too. Small shapes have random weights; a replay is greedy, and has run once before it is
timed.

    python -m bench.tune [--models crafter-mini,wide,300M_16f] [--batch 1] [--repeats 3] [--seconds 30]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
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
from diagplan.planner.cost import CostCurve, plan_cost
from diagplan.planner.roofline import DEVICES, PassWork, roofline_curve
from diagplan.planner.schedule import Diagonal, NextToken, Schedule
from diagplan.planner.tuning import Candidate, Priced, candidate_plan, price
from diagplan.schemas.curve import curve_of, write_curve
from diagplan.worlds import SHIPPED

RESULTS = Path(__file__).parent / "results"
#: The plans of the demonstration, by frame shape: h is a frame's rows.
_CAPS = (8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A model's sizes and the clip that is generated; no config: the model that ships."""

    layout: Layout
    config: McArConfig | None = None


SHAPES: Mapping[str, Shape] = {
    "crafter-mini": Shape(layout=Layout(frames=7, rows=9, cols=12, prompt_frames=1, between_frames=3)),
    # WHAM's grid on a small transformer with a vocabulary of its size.
    "wide": Shape(
        layout=Layout(frames=2, rows=18, cols=30, prompt_frames=1, between_frames=16),
        config=McArConfig(
            hidden_size=512, intermediate_size=2048, num_hidden_layers=8, num_attention_heads=8, num_key_value_heads=8,
            vocab_size=4096, max_position_embeddings=2048,
        ),
    ),
    "300M_16f": Shape(
        layout=Layout(frames=1, rows=14, cols=24, prompt_frames=1, between_frames=11), config=CONFIGS["300M_16f"]
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
        schedules += [Diagonal(k=2, d=stacked), Diagonal(k=2, d=stacked // 2), Diagonal(k=1, d=5), Diagonal(k=1, d=1)]
    some = [Candidate(schedule=schedule) for schedule in schedules]
    densest = schedules[-1]
    some += [Candidate(schedule=densest, max_width=cap) for cap in _CAPS]
    return {one.name: one for one in some}


def seconds_of(prepared: Prepared, given: np.ndarray) -> float:
    state = new_state(prepared, given)
    begin = time.perf_counter()
    replay(prepared, state)
    return time.perf_counter() - begin


def compared(
    layout: Layout, model: Model, curve: CostCurve, *, batch: int, repeats: int, priced: list[Priced]
) -> dict[str, Any]:
    """Every plan's prediction beside its measured time; the fastest by prediction is among them."""
    asked = candidates(layout)
    fastest = min(priced, key=lambda one: one.cost.seconds).candidate
    without = min(
        (one for one in priced if one.candidate.max_width is None), key=lambda one: one.cost.seconds
    ).candidate
    asked |= {fastest.name: fastest, without.name: without}
    ready: dict[str, Prepared] = {}
    for name, candidate in asked.items():
        plan = candidate_plan(layout, candidate)
        if candidate.max_width is None or plan.steps > compile_plan(layout, candidate.schedule).steps:
            ready[name] = prepare(plan, model, batch=batch)
    random = np.random.default_rng(0)
    size = len(next(iter(ready.values())).given_slots)
    given = random.integers(model.vocabulary[0].low, model.vocabulary[0].high, (batch, size))
    times: dict[str, list[float]] = {name: [] for name in ready}
    for prepared in ready.values():
        seconds_of(prepared, given)
    for _ in range(repeats):
        for name in random.permutation(list(ready)).tolist():
            times[name].append(seconds_of(ready[name], given))
    rows: list[dict[str, Any]] = []
    for name, prepared in ready.items():
        cost, measured = plan_cost(prepared.plan, curve), float(np.median(times[name]))
        rows.append(
            {
                "plan": name, "passes": cost.passes, "widest": cost.widest, "predicted": cost.seconds,
                "measured": measured, "all_seconds": times[name], "error": cost.seconds / measured - 1,
                "capped": asked[name].max_width is not None,
            }
        )  # fmt: skip
    best = min(rows, key=lambda row: row["measured"])
    picked = next(row for row in rows if row["plan"] == fastest.name)
    plain = min((row for row in rows if not row["capped"]), key=lambda row: row["measured"])
    return {
        "rows": rows, "picked": picked["plan"], "fastest": best["plan"], "fastest_without_cap": plain["plan"],
        "picked_over_fastest": picked["measured"] / best["measured"],
        "cap_gains": plain["measured"] / best["measured"] if best["capped"] else None,
    }  # fmt: skip


def pricing_seconds() -> tuple[int, float]:
    """How many candidates there are for the Cosmos grid, and what it takes to price them."""
    layout = preset_layout("cosmos")
    work = PassWork(weight_bytes=7.5e9, slot_bytes=65536, feed_flops=7.5e9, pair_flops=262144)
    curve = roofline_curve(work, DEVICES["H200"], longest=layout.positions)
    begin = time.perf_counter()
    priced = price(layout, curve, policies=[Policies(), Policies(row_end="keep")])
    return len(priced), time.perf_counter() - begin


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
        screen.print(f"the width cap gains {100 * (found['cap_gains'] - 1):.1f} % over {found['fastest_without_cap']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=",".join(SHAPES), help=f"out of {', '.join(SHAPES)}")
    parser.add_argument("--runtimes", default="torch,onnx", help="torch, onnx or both")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="timed replays of each plan; the median counts")
    parser.add_argument("--seconds", type=float, default=30, help="to spend on each curve")
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
            document, measured = measure_curve(
                model, name=name, options=LoadOptions(backend=runtime), batch=options.batch, seconds=options.seconds,
                longest=shape.layout.positions,
            )  # fmt: skip
            curve = curve_of(document)
            write_curve(document, out.parent / f"curve-{name}-{runtime}-b{options.batch}.json")
            priced = price(shape.layout, curve)
            found = compared(
                shape.layout, model, curve, batch=options.batch, repeats=options.repeats, priced=priced
            )  # fmt: skip
            found |= {
                "model": name, "runtime": runtime, "batch": options.batch, "threads": document.threads,
                "points": len(document.points), "rounds": measured.rounds, "spread": measured.spread,
                "median_error_of_points": measured.error, "residual": float(np.median(curve.residuals)),
            }  # fmt: skip
            show(screen, f"{name} on {runtime}, batch {options.batch}, {document.threads} thread(s)", found)
            results.append(found)
    pricing = pricing_seconds()
    errors = np.array([abs(row["error"]) for found in results for row in found["rows"]])
    summary = {
        "plans": len(errors), "median_error": float(np.median(errors)), "worst_error": float(errors.max()),
        "worst_picked_over_fastest": max(found["picked_over_fastest"] for found in results),
        "cosmos_candidates": pricing[0], "cosmos_seconds": pricing[1],
    }  # fmt: skip
    screen.print(
        f"{summary['plans']} plans: median error {100 * summary['median_error']:.1f} %, worst "
        f"{100 * summary['worst_error']:.1f} %; the picked plan takes at worst "
        f"{summary['worst_picked_over_fastest']:.3f} x the fastest"
    )
    screen.print(f"{pricing[0]} plans of the Cosmos grid are priced in {pricing[1]:.1f} s")
    about = machine() | {"torch": torch.__version__}
    out.write_text(json.dumps({"machine": about, "summary": summary, "models": results}, indent=1) + "\n")
    screen.print(f"wrote {out}")


if __name__ == "__main__":
    main()
