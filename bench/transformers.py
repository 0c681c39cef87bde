"""Models of transformers: ms a token against the library's own ``generate``: ``python -m bench.transformers``.

Published shapes with random weights and as many layers as are asked for. In one process, in turn: ``generate`` with a
static cache for the whole picture, greedy, which is stopped after a few tokens; then passes of next-token plans through
the library's decoder (*wrapped*) and through diagplan's own layers (*fast*), and of k=2 through both. Passes are a
sample, evenly spaced over the plan, each at the cache length that it has there; what ``generate`` takes a token does
not depend on the place, for its static cache is attended over whole. Prompts' passes are left out of all. Two rows are
guidance, as Janus' ``generate`` always has; Emu3's runs without.

*Ratio* is generate's time a token over the row's; *efficiency* the speed-up in time over that in passes, over the same
layers' next-token plan; *x read* the time of a pass over that of reading its weights once, of which the floor is 1.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from bench.hf_shapes import BOI, BOS, SHAPES, random_model
from bench.plan import machine
from diagplan import Diagonal, Layout, NextToken, compile_plan
from diagplan.adapters.transformers import TransformersModel
from diagplan.backends.replay import Prepared, new_state, prepare, replay
from diagplan.planner.schedule import Schedule

RESULTS = Path(__file__).parent / "results"
PROMPT = 32
#: Rows and columns of a picture, as published; the layers that take a minute and a half on two cores, with everything.
SIDES, LAYERS = {"janus-pro-1b": 24, "emu3": 90}, {"janus-pro-1b": 8, "emu3": 1}


class _EnoughError(Exception):
    """Stops ``generate``."""


def generated(module: Any, shape: str, tokens: int, count: int) -> list[float]:
    """Seconds of each of ``count`` tokens of a picture of ``tokens``, the library's own way."""
    ids = torch.full((1, PROMPT), 9)
    ids[0, 0], ids[0, -1] = BOS, BOI
    options: dict[str, Any] = {
        "attention_mask": torch.ones_like(ids), "do_sample": False, "disable_compile": True
    }  # fmt: skip
    if shape == "emu3":
        options |= {"max_new_tokens": tokens, "cache_implementation": "static"}
    else:
        module.model.vision_model.config.num_image_tokens = tokens
        options |= {"generation_mode": "image", "guidance_scale": 5, "num_return_sequences": 1}
    began: list[float] = []

    def clock(*_: Any) -> None:
        began.append(time.perf_counter())
        if len(began) > count + 1:  # the first is the prompt's
            raise _EnoughError

    hook = module.get_decoder().register_forward_pre_hook(clock)
    with suppress(_EnoughError):
        module.generate(ids, **options)
    hook.remove()
    return np.diff(began[1:]).tolist()


def sampled(ready: Prepared, given: Any, count: int) -> list[float]:
    """Seconds of ``count`` passes evenly spaced over a plan, of tokens that mean nothing."""
    state = new_state(ready, given)
    state.tokens.clamp_(min=ready.model.vocabulary[0].low)
    places = np.linspace(1, len(ready.passes) - 1, count + 2).round().astype(int)[1:-1]
    seconds: list[float] = []
    for place in places.tolist():
        state.done = place
        seconds.extend(replay(ready, state, cancelled=lambda: True).pass_seconds)
    return seconds


def reading(size: int) -> Callable[[], list[float]]:
    """What measures how long ``size`` bytes take to be read."""
    block = torch.ones(size // 4)

    def read() -> list[float]:
        before = time.perf_counter()
        float(block.sum())
        return [time.perf_counter() - before]

    return read


def bytes_of_a_pass(module: Any, model: TransformersModel) -> int:
    """Of the layers, and of the head's rows that make logits of a picture's ids."""
    layers = sum(part.nbytes for part in module.get_decoder().layers.parameters())
    low, high = model.raster.ids
    return int(layers + (high - low) * model.widths.hidden * model.dtype.itemsize)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.transformers", description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="janus-pro-1b")
    parser.add_argument("--layers", type=int, help="default: Janus-Pro-1B 8 of 24, Emu3 1 of 32")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="bfloat16")
    parser.add_argument("--side", type=int, help="rows and columns of the picture; default: as published")
    parser.add_argument("--passes", type=int, default=5, help="of each plan that are timed, and tokens of generate")
    parser.add_argument("--repeats", type=int, default=2, help="runs of each, in turn; the median is shown")
    parser.add_argument("--out", type=Path, help="default: bench/results/transformers-SHAPE-DTYPE.json")
    options = parser.parse_args(arguments)
    shape, layers = options.shape, options.layers or LAYERS[options.shape]
    side = options.side or SIDES[shape]
    module = random_model(shape, layers, getattr(torch, options.dtype))
    models = {"wrapped": TransformersModel(module), "fast": TransformersModel(module, fast=True)}
    assert models["fast"].fast
    between = len(models["fast"].raster.between_rows)
    layout = Layout(frames=1, rows=side, cols=side, lead=PROMPT, between_rows=between)
    size = bytes_of_a_pass(module, models["fast"])
    runs: dict[str, Callable[[], list[float]]] = {
        "reading the weights once": reading(size),
        "generate": lambda: generated(module, shape, layout.positions - PROMPT, options.passes),
    }
    passes, rows = {"reading the weights once": layout.tokens, "generate": layout.tokens}, {}
    schedules: dict[str, Schedule] = {"next-token": NextToken(), "k=2": Diagonal(k=2)}
    for plan_name, schedule in schedules.items():
        plan = compile_plan(layout, schedule)
        for name, model in models.items():
            for scale in (5.0,) if shape == "janus-pro-1b" else (None, 5.0):
                ready = prepare(plan, model, guidance=scale, unverified=True)
                given = np.full((ready.rows, len(ready.given_slots)), model.input_vocab_size - 1)
                label = f"{name}, {plan_name}" + ("" if scale is None else ", two rows")
                runs[label] = lambda ready=ready, given=given: sampled(ready, given, options.passes)  # type: ignore[misc]
                passes[label], rows[label] = plan.steps, ready.rows
    seconds: dict[str, list[list[float]]] = {label: [] for label in runs}
    for turn in range(options.repeats + 1):
        for label, run in runs.items():
            took = run()
            if turn:  # the first warms up
                seconds[label].append(took)
    summary = summaries(seconds, passes, layout.tokens)
    _print(f"{shape}, {layers} of {SHAPES[shape][1]} layers, {options.dtype}, {side} x {side}", summary)
    result = {
        "machine": machine() | {
            "torch": torch.__version__, "threads": str(torch.get_num_threads()), "transformers": version("transformers")
        },
        "shape": shape, "layers": layers, "dtype": options.dtype, "side": side, "read_bytes": size,
        "sampled_passes": options.passes, "repeats": options.repeats, "runs": summary,
    }  # fmt: skip
    out = options.out or RESULTS / f"transformers-{shape}-{options.dtype}.json"
    out.write_text(json.dumps(result, indent=1) + "\n")
    print(f"wrote {out}")


def summaries(seconds: dict[str, list[list[float]]], passes: dict[str, int], tokens: int) -> list[dict[str, Any]]:
    """The figures of each run; a plan of k=2 is compared with the next-token plan on the same layers."""
    # Of each sampled pass the median over turns; the mean over passes is that of the whole picture.
    each = {
        label: np.median([some[-min(map(len, turns)) :] for some in turns], axis=0) for label, turns in seconds.items()
    }
    a_pass = {label: float(middle.mean()) for label, middle in each.items()}
    a_token = {label: took * passes[label] / tokens for label, took in a_pass.items()}
    rows = []
    for label, took in a_token.items():
        base = label.replace("k=2", "next-token")
        rows.append(
            {
                "run": label,
                "passes": passes[label],
                "ms_a_token": 1e3 * took,
                "ms_a_pass": 1e3 * a_pass[label],
                "ratio": a_token["generate"] / took,
                "efficiency": a_token[base] / took / (passes[base] / passes[label]),
                "x_read": a_pass[label] / a_pass["reading the weights once"],
                "all_seconds": seconds[label],
            }
        )
    return rows


def _print(title: str, rows: list[dict[str, Any]]) -> None:
    table = Table(title=title)
    names = {"ms_a_token": "ms a token", "ms_a_pass": "ms a pass", "ratio": "ratio", "efficiency": "efficiency"}
    names["x_read"] = "x read"
    for name in ("run", "passes", *names.values()):
        table.add_column(name, justify="left" if name == "run" else "right")
    for row in rows:
        table.add_row(row["run"], str(row["passes"]), *(f"{row[name]:.2f}" for name in names))
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
