"""Replay speed against passes: ``python -m bench.replay``.

Real shapes with random weights, one prompt frame. Every plan is compared with next-token prediction in the same
process, and with transformers' ``generate`` over a static cache. *Efficiency* is the speed-up in time over the
speed-up in passes. The roofline is the bytes that a pass must read (weights, and the cache in use) over the memory
bandwidth measured here. Attention, sampling and bookkeeping are all inside the clock; the prompt's pass is too.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.plan import machine
from diagplan import Diagonal, Layout, NextToken, Plan, compile_plan
from diagplan.adapters.mc_ar import CONFIGS, McAr
from diagplan.backends.torch_eager import Prepared, new_state, prepare, replay
from diagplan.planner.schedule import Schedule

RESULTS = Path(__file__).parent / "results" / "replay.json"


def bandwidth(device: torch.device) -> float:
    """Bytes a second of reading memory: the best of several sums over 1 GiB."""
    block = torch.ones(1 << 28, dtype=torch.float32, device=device)
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        float(block.sum())
        best = min(best, time.perf_counter() - start)
    return block.numel() * 4 / best


def floor_seconds(prepared: Prepared, model: McAr, bytes_per_second: float) -> float:
    """The roofline of all passes: weights and the cache in use, read once a pass."""
    weights = sum(int(np.prod(shape)) for name, shape in model.config.shapes().items() if "embed" not in name)
    per_slot = model.cache_bytes(prepared.rows, 1)
    read = sum(weights * model.dtype.itemsize + per_slot * p.mask.shape[1] for p in prepared.passes)
    return read / bytes_per_second


def timed(prepared: Prepared, given: torch.Tensor) -> tuple[float, np.ndarray]:
    """Seconds of one replay, and of each pass."""
    state = new_state(prepared, given)
    if prepared.model.device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    done = replay(prepared, state)
    done.tokens.cpu()
    return time.perf_counter() - start, np.array(done.pass_seconds)


def transformers_seconds(model: McAr, prompt: torch.Tensor, new_tokens: int) -> float:
    """Seconds of ``generate`` with a static cache for the same shape; tokens between frames are generated too."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = model.config
    with torch.device(model.device):
        other: Any = LlamaForCausalLM(
            LlamaConfig(
                hidden_size=config.hidden_size,
                intermediate_size=config.intermediate_size,
                num_hidden_layers=config.num_hidden_layers,
                num_attention_heads=config.num_attention_heads,
                num_key_value_heads=config.num_key_value_heads,
                vocab_size=config.vocab_size,
                max_position_embeddings=config.max_position_embeddings,
                tie_word_embeddings=False,
            )
        )
    torch.nn.Module.to(other, model.dtype)
    other.generation_config.eos_token_id = None
    other.train(False)

    generate = other.generate

    def run(count: int) -> float:
        start = time.perf_counter()
        generate(prompt, do_sample=False, max_new_tokens=count, cache_implementation="static", disable_compile=True)
        return time.perf_counter() - start

    run(4)
    return run(new_tokens)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=CONFIGS, default="300M_16f")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--frames", type=int, default=2, help="generated frames")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each plan, in turn; the median is shown")
    parser.add_argument("--no-transformers", action="store_true", help="leave transformers' generate out")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    model = McAr.random(CONFIGS[options.size], dtype=getattr(torch, options.dtype), device=options.device)
    layout = Layout(frames=options.frames, rows=14, cols=24, prompt_frames=1, between_frames=11)
    schedules: dict[str, Schedule] = {
        "next-token": NextToken(),
        "k=4": Diagonal(k=4),
        "k=2": Diagonal(k=2),
        "k=1": Diagonal(k=1),
        "k=2 d=28": Diagonal(k=2, d=28),
    }
    plans: dict[str, Plan] = {name: compile_plan(layout, schedule) for name, schedule in schedules.items()}
    ready = {name: prepare(plan, model) for name, plan in plans.items()}
    given = torch.randint(
        0, 8192, (1, len(ready["next-token"].given_slots)), generator=torch.Generator().manual_seed(0)
    )
    speed = bandwidth(model.device)
    runs: dict[str, list[tuple[float, np.ndarray]]] = {name: [] for name in ready}
    timed(ready["k=2"], given)
    for _ in range(options.repeats):
        for name, prepared in ready.items():
            runs[name].append(timed(prepared, given))
    seconds = {name: float(np.median([whole for whole, _ in some])) for name, some in runs.items()}
    rows: list[dict[str, Any]] = []
    for name, plan in plans.items():
        by_width: dict[int, list[float]] = {}
        for _, passes in runs[name]:
            for p, took in zip(ready[name].passes, passes.tolist(), strict=True):
                by_width.setdefault(len(p.source), []).append(took)
        rows.append(
            {
                "plan": name,
                "passes": plan.steps,
                "seconds": seconds[name],
                "seconds_a_frame": seconds[name] / layout.frames,
                "tokens_per_second": layout.tokens / seconds[name],
                "speedup_passes": plans["next-token"].steps / plan.steps,
                "speedup_time": seconds["next-token"] / seconds[name],
                "efficiency": seconds["next-token"] / seconds[name] * plan.steps / plans["next-token"].steps,
                "over_roofline": seconds[name] / floor_seconds(ready[name], model, speed),
                "ms_by_width": {str(n): 1e3 * float(np.median(took)) for n, took in sorted(by_width.items())},
            }
        )
    other = None
    if not options.no_transformers:
        new_tokens = 336
        prompt = given[:, : layout.first_generated].to(model.device)
        other = {"new_tokens": new_tokens, "seconds": transformers_seconds(model, prompt, new_tokens)}
        other["ms_per_token"] = 1e3 * other["seconds"] / new_tokens
    _print(options, rows, speed, other)
    about = machine() | {"torch": torch.__version__, "threads": str(torch.get_num_threads()), "device": options.device}
    if options.device.startswith("cuda"):
        about["gpu"] = torch.cuda.get_device_name()
    result = {
        "machine": about,
        "size": options.size,
        "dtype": options.dtype,
        "frames": options.frames,
        "bandwidth_gb_s": speed / 1e9,
        "plans": rows,
        "transformers_generate": other,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {options.out}")


def _print(options: argparse.Namespace, rows: list[dict[str, Any]], speed: float, other: dict[str, Any] | None) -> None:
    table = Table(title=f"{options.size} {options.dtype} on {options.device}, {options.frames} frames, 1 prompt frame")
    for name in ("plan", "passes", "s a frame", "tokens/s", "x passes", "x time", "efficiency", "x roofline"):
        table.add_column(name, justify="left" if name == "plan" else "right")
    for row in rows:
        table.add_row(
            row["plan"],
            str(row["passes"]),
            f"{row['seconds_a_frame']:.2f}",
            f"{row['tokens_per_second']:.1f}",
            f"{row['speedup_passes']:.2f}",
            f"{row['speedup_time']:.2f}",
            f"{row['efficiency']:.2f}",
            f"{row['over_roofline']:.2f}",
        )
    screen = Console(width=110)
    screen.print(table)
    screen.print(f"memory read at {speed / 1e9:.1f} GB/s")
    widths = {n: ms for row in rows for n, ms in row["ms_by_width"].items()}
    screen.print("ms a pass by width: " + ", ".join(f"{n}: {widths[n]:.1f}" for n in sorted(widths, key=int)))
    if other is not None:
        screen.print(f"transformers generate, static cache: {other['ms_per_token']:.1f} ms a token")


if __name__ == "__main__":
    main()
