"""What a pass of a small model costs, and where it goes: ``python -m bench.passes``.

``crafter-mini`` on one thread. The same plans are replayed in turn in every way of running it: as it is loaded; with
its weights in float32 in oneDNN's order, as they would be if float16 did not hold them; in int8; and on ONNX Runtime.
Of every pass the quickest of ``--repeats`` counts, so that other programs on the machine hardly show; the mean over the
passes is what is told, and how many tokens are those of the first way. Then the parts of a pass of one feed, half way
through a replay: each alone, in turn, the quickest of many. Alone they find their numbers in the processor's caches
more often than in a pass, so that the rest of a pass is more than its own operators.

    python -m bench.passes [--frames 7] [--repeats 8] [--no-onnx] [--compiled]
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.plan import machine
from diagplan import Diagonal, NextToken, Plan, Speculation, compile_plan, load_model, load_world
from diagplan.adapters import linear
from diagplan.adapters.attention import attend, mask_bias, mask_values
from diagplan.adapters.contract import Model
from diagplan.backends import replay as executor
from diagplan.backends import speculative
from diagplan.backends.onnx_runtime import load_onnx_model
from diagplan.backends.prepared import choose, forward, know
from diagplan.games.recorder import SPLITS, Recording, play
from diagplan.models.exporting import export_onnx
from diagplan.video.frames import fit
from diagplan.worlds import SHIPPED

RESULTS = Path(__file__).parent / "results" / "passes.json"
#: As --exact chose for this model.
WINDOW = 40
AS_LOADED, ONEDNN = "as loaded", "float32 weights (oneDNN)"


def ways(*, onnx: bool, compiled: bool) -> dict[str, Model]:
    """The model in every way that is compared."""
    folder = SHIPPED["crafter-mini"]
    models: dict[str, Model] = {AS_LOADED: load_model("mc-ar", folder, threads=1)}
    kept = linear._HALF_NUMBERS
    linear._HALF_NUMBERS = 0
    try:
        models[ONEDNN] = load_model("mc-ar", folder, threads=1)
    finally:
        linear._HALF_NUMBERS = kept
    models["int8"] = load_model("mc-ar", folder, quantize="int8", threads=1)
    if compiled:
        plain: Any = load_model("mc-ar", folder, portable=True, threads=1)
        models["torch.compile"] = plain.compiled()
    if onnx:
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as place:
            export_onnx(load_model("mc-ar", folder, portable=True, threads=1), place)
            models["ONNX Runtime"] = load_onnx_model(place, threads=1)
        print(f"exported in {time.perf_counter() - begin:.1f} s")
    return models


def given_clip(frames: int) -> tuple[Any, NDArray[np.int64]]:
    """The layout of a clip of a test world, and its given ids."""
    world = load_world("crafter-mini", threads=1)
    layout, words = world.layout(frames, 1), world.words
    assert words is not None
    what = Recording(game="crafter", rows=world.rows, cols=world.cols, frames=frames + 1)
    clip = play(what, SPLITS["test"])
    first = fit(clip.frames[0], world.height, world.width)[None]
    blocks = np.array([[words.begin, words.ids[name], words.end] for name in clip.actions], dtype=np.int64)
    return layout, world.given(layout, world.encode(first), blocks)


def replayed(
    plan: Plan, model: Model, given: NDArray[np.int64], window: int | None
) -> tuple[NDArray[Any], Sequence[float]]:
    """Tokens, and seconds of the passes without the prompt's."""
    if window is None:
        ready = executor.prepare(plan, model)
        done: Any = executor.replay(ready, executor.new_state(ready, given))
    else:
        guessing = speculative.prepare(plan, model, Speculation(window=window))
        done = speculative.replay(guessing, speculative.new_state(guessing, given))
    return done.tokens, done.pass_seconds[1:]


def compared(models: Mapping[str, Model], layout: Any, given: NDArray[np.int64], repeats: int) -> list[dict[str, Any]]:
    """Every plan in every way, in turn."""
    plans: dict[str, tuple[Plan, int | None]] = {
        "next-token": (compile_plan(layout, NextToken()), None),
        "k=2": (compile_plan(layout, Diagonal(k=2)), None),
        "k=1": (compile_plan(layout, Diagonal(k=1)), None),
        f"next-token, window {WINDOW}": (compile_plan(layout, NextToken()), WINDOW),
    }
    rows = []
    for name, (plan, window) in plans.items():
        times: dict[str, list[Sequence[float]]] = {way: [] for way in models}
        took: dict[str, list[float]] = {way: [] for way in models}
        tokens = {}
        for _ in range(repeats):
            for way, model in models.items():
                begin = time.perf_counter()
                tokens[way], seconds = replayed(plan, model, given, window)
                took[way].append(time.perf_counter() - begin)
                times[way].append(seconds)
        for way, runs in times.items():
            best = np.min([run[: min(map(len, runs))] for run in runs], axis=0)
            same = float((tokens[way] == tokens[AS_LOADED]).mean())
            first = took[way][0]  # with what a first replay compiles
            rows.append(
                {
                    "plan": name,
                    "way": way,
                    "passes": 1 + len(best),
                    "ms": 1e3 * best.mean(),
                    "same": same,
                    "first": first,
                }
            )
    return rows


def parts_of_a_pass(model: Any, layout: Any, given: NDArray[np.int64], repeats: int) -> dict[str, float]:
    """Milliseconds of a pass of one feed, and of its parts, alone and in turn."""
    plan = compile_plan(layout, NextToken())
    ready = executor.prepare(plan, model)
    state = executor.new_state(ready, given)
    some = range(len(ready.passes) // 2, len(ready.passes))
    half = next(i for i in some if len(ready.passes[i].source) == 1)  # not the tokens between frames
    executor.replay(ready, state, cancelled=lambda: state.done >= half)
    p = ready.passes[half]
    config, length = model.config, p.mask.shape[1]
    h, wide = torch.randn(1, 1, config.hidden_size), torch.randn(1, 1, config.intermediate_size)
    q = torch.randn(1, config.num_attention_heads, 1, config.head_size)
    bias = mask_bias(
        p.seen, mask_values(model.device, model.dtype), config.num_attention_heads // config.num_key_value_heads
    )
    ids = state.tokens[:, p.source]

    def products() -> None:
        for layer in model.layers:
            layer.qkv(h), layer.out(h, h), layer.gate_up(h), layer.down(wide, h)
        model.head(h)

    def attention() -> None:
        for number in range(len(model.layers)):
            keys, values = (x[:, :, :length] for x in state.cache.layer(number))  # type: ignore[attr-defined]
            attend(q, keys, values, bias, config.head_size**-0.5, parts=1)

    def norms() -> None:
        for _ in range(2 * len(model.layers) + 1):
            model.norm(h)

    def whole() -> None:
        logits = forward(ready, state, p)
        assert logits is not None
        know(ready, state, p, choose(ready, p, logits))

    timed: dict[str, Callable[[], Any]] = {
        "pass": whole,
        "forward": lambda: model.forward(ids, p.position, p.slot, p.seen, state.cache, p.rows),
        "products": products,
        "attention": attention,
        "norms": norms,
    }
    best = dict.fromkeys(timed, float("inf"))
    with ready.runtime.inference():
        for _ in range(repeats):
            for name, run in timed.items():
                run()  # brings what it reads nearer, as the pass before does
                begin = time.perf_counter()
                run()
                best[name] = min(best[name], 1e3 * (time.perf_counter() - begin))
    rest = best["forward"] - best["products"] - best["attention"] - best["norms"]
    return best | {"rest of forward": rest, "outside forward": best["pass"] - best["forward"], "slots": float(length)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=7, help="generated frames")
    parser.add_argument("--repeats", type=int, default=8, help="runs of each plan in each way; the quickest counts")
    parser.add_argument("--no-onnx", action="store_true", help="leave ONNX Runtime out")
    parser.add_argument("--compiled", action="store_true", help="layers by torch.compile as well, which takes minutes")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where to write the JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    layout, given = given_clip(options.frames)
    models = ways(onnx=not options.no_onnx, compiled=options.compiled)
    rows = compared(models, layout, given, options.repeats)
    table = Table(title="Milliseconds a pass of crafter-mini, one thread")
    for name in ("plan", "passes", "way", "ms a pass", "same tokens", "first replay s"):
        table.add_column(name, justify="left" if name in ("plan", "way") else "right")
    for row in rows:
        ms, same, first = f"{row['ms']:.2f}", f"{100 * row['same']:.1f}%", f"{row['first']:.1f}"
        table.add_row(row["plan"], str(row["passes"]), row["way"], ms, same, first)
    Console(width=110).print(table)
    parts = {way: parts_of_a_pass(models[way], layout, given, 100 * options.repeats) for way in (AS_LOADED, ONEDNN)}
    where = Table(title=f"One feed over {parts[AS_LOADED]['slots']:.0f} slots, milliseconds")
    where.add_column("part")
    for way in parts:
        where.add_column(way, justify="right")
    for name in parts[AS_LOADED]:
        if name != "slots":
            where.add_row(name, *(f"{parts[way][name]:.3f}" for way in parts))
    Console(width=100).print(where)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    about = {"machine": machine() | {"torch": torch.__version__}, "repeats": options.repeats, "frames": options.frames}
    options.out.write_text(json.dumps(about | {"rows": rows, "parts": parts}, indent=1) + "\n")
    print(f"wrote {options.out}")


if __name__ == "__main__":
    main()
