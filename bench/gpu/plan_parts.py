"""Parts that time plans: MC-AR at three sizes, Cosmos at two, and batches."""

from typing import Any

import torch

from bench.gpu.bench import Bench
from bench.gpu.passes import Mode, Timed, floor_seconds, timed
from bench.gpu.shapes import MC_AR_SCHEDULES, cosmos, cosmos_layout, mc_ar, mc_ar_layout
from diagplan import Diagonal, NextToken, Plan, compile_plan
from diagplan.adapters.samplers import Sample

__all__ = ["batches", "compiled", "cosmos_4b", "cosmos_12b", "large", "medium", "small"]

#: About what compiling a shape's layers takes, in seconds.
_COMPILING = 40
_THREE = ("next-token", "k=2", "k=2 d=28")


def small(bench: Bench) -> None:
    """300M_16f: all plans in our kernels, two of them in torch's operators, as graphs and one by one."""
    _mc_ar(bench, "300M_16f", {"kernels": tuple(MC_AR_SCHEDULES), "graphs": _THREE[:2], "eager": _THREE[:2]})


def medium(bench: Bench) -> None:
    """700M_16f: three plans."""
    _mc_ar(bench, "700M_16f", {"kernels": _THREE})


def large(bench: Bench) -> None:
    """1200M_16f: three plans."""
    _mc_ar(bench, "1200M_16f", {"kernels": _THREE, "graphs": _THREE[:2]})


def cosmos_4b(bench: Bench) -> None:
    """The shape of Cosmos 4B."""
    _cosmos(bench, "cosmos-4b", ("graphs",))


def cosmos_12b(bench: Bench) -> None:
    """The shape of Cosmos 12B."""
    _cosmos(bench, "cosmos-12b", ("graphs",))


def compiled(bench: Bench) -> None:
    """Graphs of layers that torch.compile has fused."""
    if not bench.device.on_gpu:
        bench.part.status = "skipped"
        bench.note("Left out: a CPU takes minutes to compile, and says nothing of a GPU's kernels.")
        return
    _mc_ar(bench, "300M_16f", {"compiled": _THREE[:2]})
    if bench.room(_COMPILING, "Cosmos 4B, compiled"):
        torch._dynamo.reset()
        _cosmos(bench, "cosmos-4b", ("compiled",))


def batches(bench: Bench) -> None:
    """300M_16f with eight samples, sampled tokens, and guidance."""
    model = mc_ar("300M_16f", bench.device.device, quick=bench.quick)
    layout = mc_ar_layout(quick=bench.quick)
    ways: dict[str, dict[str, Any]] = {
        "8 samples": {"batch": 8},
        "8 samples, top-p 0.8": {"batch": 8, "sampler": Sample(top_p=0.8)},
        "1 sample, top-p 0.8": {"sampler": Sample(top_p=0.8)},
        "4 samples, guidance": {"batch": 4, "guidance": 2.0},
    }
    for way, options in ways.items():
        base: Timed | None = None
        for name in ("next-token", "k=2"):
            if not bench.room(4 * (not bench.quick), f"{way}, {name}"):
                return
            plan = compile_plan(layout, MC_AR_SCHEDULES[name])
            took = timed(bench.device, plan, model, mode="kernels", **options, **_repeats(bench))
            base = base or took
            samples = options.get("batch", 1)
            _row(bench, model, f"{way}, {name}", "kernels", plan, took, base, samples=samples)


def _mc_ar(bench: Bench, size: str, ways: dict[Mode, tuple[str, ...]]) -> None:
    layout = mc_ar_layout(quick=bench.quick)
    bench.part.facts["generated frames"] = layout.frames
    for mode, names in ways.items():
        if not bench.room((_COMPILING if mode == "compiled" else 4) * (not bench.quick), f"{size}, {mode}"):
            continue
        model = mc_ar(size, bench.device.device, quick=bench.quick, kernels=mode == "kernels")
        bench.part.facts["weights GB"] = model.weight_bytes() / 1e9
        run = model.compiled() if mode == "compiled" else model
        base: Timed | None = None
        for name in names:
            if not bench.room(3 * (not bench.quick), f"{size}, {name}, {mode}"):
                continue
            plan = compile_plan(layout, MC_AR_SCHEDULES[name])
            whole = 1.0 if bench.quick else 2.0 if mode == "kernels" else 0.0
            took = timed(bench.device, plan, run, mode=mode, whole=whole, **_repeats(bench, mode))
            base = base or took
            _row(bench, model, name, mode, plan, took, base)


def _cosmos(bench: Bench, name: str, modes: tuple[Mode, ...]) -> None:
    model = cosmos(name, bench.device.device, quick=bench.quick)
    layout = cosmos_layout(model)
    bench.part.facts |= {"weights GB": model.weight_bytes() / 1e9, "generated frames": layout.frames}
    for mode in modes:
        run = model.compiled() if mode == "compiled" else model
        base: Timed | None = None
        for label, schedule in (("next-token", NextToken()), ("k=2 d=10", Diagonal(k=2, d=2 if bench.quick else 10))):
            plan = compile_plan(layout, schedule)
            took = timed(bench.device, plan, run, mode=mode, **_repeats(bench, mode))
            base = base or took
            _row(bench, model, label, mode, plan, took, base)


def _repeats(bench: Bench, mode: Mode = "kernels") -> dict[str, Any]:
    return {"row": 2, "repeats": 1} if bench.quick else {"row": 4, "repeats": 2} if mode == "eager" else {}


def _row(
    bench: Bench, model: Any, name: str, mode: Mode, plan: Plan, took: Timed, base: Timed, *, samples: int = 1
) -> None:
    """A plan's figures beside those of next-token prediction in the same mode."""
    ratio, passes = base.seconds / took.seconds, base.passes / took.passes
    # A shape that comes once is not captured, and says nothing of graphs.
    narrow = {shape: s for shape, s in took.by_shape.items() if shape[0] == 1 and took.counts[shape] > 1}
    floors = [seconds / floor_seconds(model, samples, shape[1], bench.bandwidth) for shape, seconds in narrow.items()]
    bench.part.facts.setdefault("ms by feeds x cache length", {})[f"{name}, {mode}"] = {
        f"{n} x {length}": round(1e3 * seconds, 4) for (n, length), seconds in sorted(took.by_shape.items())
    }
    bench.row(
        plan=name,
        mode=mode,
        passes=took.passes,
        **{
            "ms a pass": 1e3 * took.seconds / took.passes,
            "s a clip": took.seconds,
            "frames/s": samples * plan.layout.frames / took.seconds,
            "whole replay s": "" if took.whole_seconds is None else took.whole_seconds,
            "x time": ratio,
            "x passes": passes,
            "efficiency": ratio / passes,
            "x floor, one feed": max(floors) if floors else "",
            "graphs": took.graphs,
            "capture s": took.capture_seconds,
            "graphs MiB": took.graph_bytes / 2**20,
        },
    )
