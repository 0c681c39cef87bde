"""Replay speed against passes: ``python -m bench.replay``.

Real shapes with random weights, one prompt frame. Every plan is compared with next-token prediction in the same
process, and with transformers' ``generate`` over a static cache. *Efficiency* is the speed-up in time over the
speed-up in passes. The roofline is the bytes that a pass must read (weights, and the cache in use) over the memory
bandwidth measured here. *Decoding* is the efficiency without step 0, the prompt's pass, which costs
every plan the same. With ``--int8`` the same plans run on the same weights in int8 too, in turn with the others, and
with ``--onnx`` on ONNX Runtime; speed-up and efficiency are over each one's own next-token prediction. Attention,
sampling and bookkeeping are all inside the clock; the prompt's pass is too. ``--family janus-pro`` or ``emu3`` is
``python -m bench.transformers`` of that family's shape, with its options.
"""

import argparse
import json
import tempfile
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.plan import machine
from diagplan import Diagonal, Layout, NextToken, Plan, compile_plan
from diagplan.adapters.contract import Model
from diagplan.adapters.mc_ar import CONFIGS, McAr
from diagplan.backends.memory import cache_bytes
from diagplan.backends.onnx_runtime import OnnxModel, load_onnx_model
from diagplan.backends.replay import Prepared, new_state, prepare, replay
from diagplan.models.exporting import export_onnx
from diagplan.planner.schedule import Schedule

RESULTS = Path(__file__).parent / "results"
#: Families that python -m bench.transformers measures, and their shapes there.
FAMILIES = {"janus-pro": "janus-pro-1b", "emu3": "emu3"}


def bandwidth(device: torch.device) -> float:
    """Bytes a second of reading memory: the best of several sums over 1 GiB."""
    block = torch.ones(1 << 28, dtype=torch.float32, device=device)
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        float(block.sum())
        best = min(best, time.perf_counter() - start)
    return block.numel() * 4 / best


def floor_seconds(prepared: Prepared, embedding: int, bytes_per_second: float) -> float:
    """The roofline of all passes: weights but the embedding, and the cache in use, read once a pass."""
    weights = prepared.model.weight_bytes() - embedding
    per_slot = cache_bytes(prepared.model, prepared.rows, 1)
    read = sum(weights + per_slot * int(p.mask.shape[1]) for p in prepared.passes)
    return read / bytes_per_second


def exported(model: McAr, quantize: Literal["int8"] | None) -> OnnxModel:
    """A portable model on ONNX Runtime, with as many threads as torch has."""
    with tempfile.TemporaryDirectory() as folder:
        export_onnx(model, folder, quantize=quantize)
        return load_onnx_model(folder, device=str(model.device), threads=torch.get_num_threads())


def timed(prepared: Prepared, given: torch.Tensor) -> tuple[float, np.ndarray]:
    """Seconds of one replay, and of each pass."""
    state = new_state(prepared, given)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    done = replay(prepared, state)
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


def summaries(ready: dict[str, Prepared], runs: dict[str, list[tuple[float, np.ndarray]]]) -> list[dict[str, Any]]:
    """The figures of each plan of one model; the first is next-token prediction."""
    seconds = {name: float(np.median([whole for whole, _ in some])) for name, some in runs.items()}
    base = next(iter(ready))
    decoding = {
        name: float(np.median([passes[[p.step > 0 for p in ready[name].passes]].sum() for _, passes in some]))
        for name, some in runs.items()
    }
    rows: list[dict[str, Any]] = []
    for name, prepared in ready.items():
        plan = prepared.plan
        by_width: dict[int, list[float]] = {}
        for _, passes in runs[name]:
            for p, took in zip(prepared.passes, passes.tolist(), strict=True):
                by_width.setdefault(len(p.source), []).append(took)
        passes_saved, time_saved = ready[base].plan.steps / plan.steps, seconds[base] / seconds[name]
        decoding_saved = (ready[base].plan.steps - 1) / (plan.steps - 1)
        rows.append(
            {
                "plan": name,
                "passes": plan.steps,
                "seconds": seconds[name],
                "all_seconds": [whole for whole, _ in runs[name]],
                "seconds_a_frame": seconds[name] / plan.layout.frames,
                "frames_per_second": plan.layout.frames / seconds[name],
                "tokens_per_second": plan.layout.tokens / seconds[name],
                "speedup_passes": passes_saved,
                "speedup_time": time_saved,
                "efficiency": time_saved / passes_saved,
                "decoding_seconds": decoding[name],
                "decoding_efficiency": decoding[base] / decoding[name] / decoding_saved,
                "ms_by_width": {str(n): 1e3 * float(np.median(took)) for n, took in sorted(by_width.items())},
            }
        )
    return rows


def main() -> None:
    family = argparse.ArgumentParser(add_help=False)
    family.add_argument("--family", choices=("mc-ar", *FAMILIES), default="mc-ar", help="whose shape is measured")
    named, others = family.parse_known_args()
    if named.family in FAMILIES:
        import_module("bench.transformers").main(["--shape", FAMILIES[named.family], *others])
        return
    parser = argparse.ArgumentParser(description=__doc__, parents=[family])
    parser.add_argument("--size", choices=CONFIGS, default="300M_16f")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--int8", action="store_true", help="run the weights in int8 beside float32 on the CPU")
    parser.add_argument("--onnx", action="store_true", help="run everything on ONNX Runtime too")
    parser.add_argument("--frames", type=int, default=2, help="generated frames")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each plan, in turn; the median is shown")
    parser.add_argument("--no-transformers", action="store_true", help="leave transformers' generate out")
    parser.add_argument("--out", type=Path, help="default: bench/results/replay-SIZE-DTYPE-[onnx-]DEVICE.json")
    options = parser.parse_args()
    where = {"dtype": getattr(torch, options.dtype), "device": options.device}
    model = McAr.random(CONFIGS[options.size], **where)
    models: dict[str, Model] = {options.dtype: model}
    if options.int8:
        models["int8"] = McAr.random(CONFIGS[options.size], quantize="int8", **where)
    if options.onnx:
        portable = McAr.random(CONFIGS[options.size], portable=True, **where)
        models[f"{options.dtype} onnx"] = exported(portable, None)
        if options.int8:
            models["int8 onnx"] = exported(portable, "int8")
        del portable
    layout = Layout(frames=options.frames, rows=14, cols=24, prompt_frames=1, between_frames=11)
    schedules: dict[str, Schedule] = {
        "next-token": NextToken(),
        "k=4": Diagonal(k=4),
        "k=2": Diagonal(k=2),
        "k=1": Diagonal(k=1),
        "k=2 d=28": Diagonal(k=2, d=28),
    }
    plans: dict[str, Plan] = {name: compile_plan(layout, schedule) for name, schedule in schedules.items()}
    ready = {kind: {name: prepare(plan, m) for name, plan in plans.items()} for kind, m in models.items()}
    given = torch.randint(
        0, 8192, (1, len(ready[options.dtype]["next-token"].given_slots)), generator=torch.Generator().manual_seed(0)
    )
    speed = bandwidth(model.device)
    runs: dict[str, dict[str, list[tuple[float, np.ndarray]]]] = {kind: {name: [] for name in plans} for kind in models}
    for kind in models:
        timed(ready[kind]["k=2"], given)
    for _ in range(options.repeats):
        for name in plans:
            for kind in models:
                runs[kind][name].append(timed(ready[kind][name], given))
    tables = {kind: summaries(ready[kind], runs[kind]) for kind in models}
    for kind, rows in tables.items():
        for row in rows:
            row["over_roofline"] = row["seconds"] / floor_seconds(
                ready[kind][row["plan"]], model.embedding.nbytes, speed
            )
    other = None
    if not options.no_transformers:
        new_tokens = 336
        prompt = given[:, : layout.first_generated].to(model.device)
        other = {"new_tokens": new_tokens, "seconds": transformers_seconds(model, prompt, new_tokens)}
        other["ms_per_token"] = 1e3 * other["seconds"] / new_tokens
    for kind, rows in tables.items():
        _print(f"{options.size} {kind} on {options.device}, {options.frames} frames, 1 prompt frame", rows)
    screen = Console(width=110)
    screen.print(f"memory read at {speed / 1e9:.1f} GB/s")
    if other is not None:
        screen.print(f"transformers generate, static cache: {other['ms_per_token']:.1f} ms a token")
    about = machine() | {"torch": torch.__version__, "threads": str(torch.get_num_threads()), "device": options.device}
    if other is not None:
        about["transformers"] = version("transformers")
    if options.onnx:
        about["onnxruntime"] = import_module("onnxruntime").__version__
    if options.device.startswith("cuda"):
        about["gpu"] = torch.cuda.get_device_name()
    result = {
        "machine": about,
        "size": options.size,
        "frames": options.frames,
        "repeats": options.repeats,
        "bandwidth_gb_s": speed / 1e9,
        "plans": tables,
        "transformers_generate": other,
    }
    name = f"replay-{options.size}-{options.dtype}-{'onnx-' if options.onnx else ''}{options.device.partition(':')[0]}"
    out = options.out or RESULTS / f"{name}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {out}")


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title)
    for name in (
        "plan",
        "passes",
        "s a frame",
        "tokens/s",
        "x passes",
        "x time",
        "efficiency",
        "decoding",
        "x roofline",
    ):
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
            f"{row['decoding_efficiency']:.2f}",
            f"{row['over_roofline']:.2f}",
        )
    screen = Console(width=110)
    screen.print(table)
    widths = {n: ms for row in reversed(rows) for n, ms in row["ms_by_width"].items()}  # next-token's own come first
    screen.print("ms a pass by width: " + ", ".join(f"{n}: {widths[n]:.1f}" for n in sorted(widths, key=int)))


if __name__ == "__main__":
    main()
