"""The commands about the second runtime: export a model for it, compare it with the first."""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import TimeRemainingColumn
from rich.text import Text

from diagplan.cli.models import (
    MODEL,
    AdapterOption,
    ConfigOption,
    ContextOption,
    DeviceOption,
    DtypeOption,
    ThreadsOption,
    load_options,
    option,
)
from diagplan.cli.output import (
    FINE,
    PROBLEM,
    JsonOption,
    command,
    console,
    print_json,
    print_table,
    progress_bar,
    working,
)
from diagplan.cli.requests import sampler_from_options
from diagplan.cli.run import read_ids
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.plan import Plan

__all__ = ["register"]


@command
def export_onnx_command(
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.", show_default=False)],
    model: Annotated[str | None, option(MODEL, "A whole world model: crafter-mini, or its folder.")] = None,
    adapter: AdapterOption = "mc-ar",
    weights: Annotated[Path | None, option(MODEL, "Instead: a checkpoint, .ckpt, .safetensors or a folder.")] = None,
    config: ConfigOption = None,
    context: ContextOption = None,
    tokenizer: Annotated[
        Path | None, option(MODEL, "With --weights: the image tokenizer's folder, WHAM's checkpoint.")
    ] = None,
    dtype: DtypeOption = "float32",
    int8: Annotated[bool, option(MODEL, "Int8 products, for CPUs: faster, less exact.", "--int8")] = False,
    opset: Annotated[int, typer.Option(help="Of ONNX: 23 or 24.", min=23, max=24)] = 23,
    as_json: JsonOption = False,
) -> int:
    """Write a model for ONNX Runtime, and run it once against the original."""
    from diagplan.models.exporting import export_onnx, exported_pictures
    from diagplan.models.loading import load_model_as
    from diagplan.worlds.loading import SHIPPED, open_world

    if (model is None) == (weights is None):
        raise SpecError("expected --model or --weights, got neither or both. Give one of them.")
    if model is not None and (config is not None or tokenizer is not None):
        raise SpecError("expected --config and --tokenizer with --weights only, got them with --model. Leave them out.")
    if int8 and dtype != "float32":
        raise SpecError(f"expected --int8 with --dtype float32, got {dtype}. Leave one of them out.")
    options = load_options(config=config, context=context, dtype=dtype, portable=True)
    pictures: Any = None
    rows = cols = None
    world_json: Path | None = None
    with working("loading", quiet=as_json):
        if model is not None:
            world = open_world(model, options)
            loaded, pictures, rows, cols = world.model, world.tokenizer, world.rows, world.cols
            world_json = SHIPPED.get(model, Path(model)) / "world.json"
        else:
            assert weights is not None
            loaded = load_model_as(adapter, weights, options)
            if tokenizer is not None:
                pictures, rows, cols = exported_pictures(loaded, tokenizer)
    with working("exporting", quiet=as_json):
        done = export_onnx(
            loaded, out, tokenizer=pictures, rows=rows, cols=cols, world_json=world_json,
            quantize="int8" if int8 else None, opset=opset,
        )  # fmt: skip
    figures = {
        "family": done.document.family,
        "dtype": done.document.dtype,
        "int8": int8,
        "opset": done.document.opset,
        "positions": done.document.positions,
        "largest_logit_difference": None if done.difference is None else done.difference[0],
        "largest_logit": None if done.difference is None else done.difference[1],
    }
    if as_json:
        print_json(figures | {"out": str(out), "files": done.files})
        return FINE
    shown = [(name.replace("_", " "), f"{x:.3g}" if isinstance(x, float) else x) for name, x in figures.items()]
    print_table(["", ">"], shown)
    if done.difference is None:
        console().print(Text(f"not run: ONNX Runtime has no {dtype} on the CPU"), soft_wrap=True)
    console().print(Text(f"wrote {out}, {sum(done.files.values()) / 2**20:,.1f} MiB"), soft_wrap=True)
    return FINE


@command
def compare_command(
    plan: Annotated[Path, typer.Argument(help="A plan file.", show_default=False)],
    weights: Annotated[Path, option(MODEL, "For PyTorch: a checkpoint, .ckpt, .safetensors, or a folder.")],
    onnx: Annotated[Path, option(MODEL, "For ONNX Runtime: the folder that export-onnx wrote of it.")],
    adapter: AdapterOption = "mc-ar",
    config: ConfigOption = None,
    context: ContextOption = None,
    dtype: DtypeOption = "float32",
    device: DeviceOption = "cpu",
    threads: ThreadsOption = None,
    prompt: Annotated[Path | None, option("Ids", "Prompt frames' tokens, .npy; random ids without it.")] = None,
    actions: Annotated[Path | None, option("Ids", "Tokens between frames, .npy.")] = None,
    given: Annotated[Path | None, option("Ids", "Instead of both: every given slot's id in slot order, .npy.")] = None,
    seed: Annotated[
        int, typer.Option(help="Of the sampling and of random ids.", min=0, rich_help_panel="Sampling")
    ] = 0,
    temperature: Annotated[float | None, option("Sampling", "Sample; greedy without the next three.")] = None,
    top_k: Annotated[int | None, option("Sampling", "Keep the k most probable tokens.")] = None,
    top_p: Annotated[float | None, option("Sampling", "Keep the most probable tokens up to this probability.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Replay a plan on PyTorch and on ONNX Runtime side by side: tokens, logits, time."""
    from diagplan.backends.compare import compare
    from diagplan.backends.replay import new_state, prepare, replay, require_grid
    from diagplan.models.loading import given_ids, load_model_as
    from diagplan.schemas.files import read_plan

    made = read_plan(plan)
    sampler = sampler_from_options(temperature=temperature, top_k=top_k, top_p=top_p, adapter=adapter)
    options = load_options(config=config, context=context, dtype=dtype, device=device, threads=threads)
    with working("loading", quiet=as_json):
        models = {
            "torch": load_model_as(adapter, weights, options),
            "onnx": load_model_as(adapter, onnx, load_options(backend="onnx", device=device, threads=threads)),
        }
    first, second = models.values()
    if (first.vocab_size, first.cache_shapes) != (second.vocab_size, second.cache_shapes):
        raise DocumentError(f"expected {onnx} to be exported from {weights}, got models of other sizes.")
    said: Any = second
    if said.document.dtype == dtype and said.document.source != first.fingerprint():
        raise DocumentError(f"expected {onnx} to be exported from {weights}, got one of other weights. Export it anew.")
    if prompt is None and actions is None and given is None:
        ids = _random_ids(made, first.vocabulary[0].low, first.vocabulary[0].high, seed)
    else:
        ids = given_ids(made, *(None if path is None else read_ids(path) for path in (prompt, actions, given)))
    require_grid(made, first)
    ready = {
        name: prepare(made, model, sampler=sampler, seed=seed, batch=len(ids), static=False)
        for name, model in models.items()
    }
    first_run, second_run = ready.values()
    with progress_bar("comparing", "passes", TimeRemainingColumn(), quiet=as_json) as progress:
        task = progress.add_task("comparing", total=3 * made.steps)

        def on_step(*_: object) -> None:
            progress.advance(task)

        found = compare(first_run, second_run, ids, on_step=on_step)
        seconds = {}
        for name, prepared in ready.items():
            replay(prepared, new_state(prepared, ids), cancelled=lambda: True)  # the first pass warms up
            seconds[name] = replay(prepared, new_state(prepared, ids), on_step=on_step).seconds
    earliest = found.earliest
    if as_json:
        print_json(
            {
                "same": not found.different,
                "tokens": found.tokens,
                "different": found.different,
                "first_difference": None if earliest is None else earliest._asdict(),
                "largest_logit_difference": found.logits,
                "passes": made.steps,
                "seconds": seconds,
            }
        )
    else:
        rows = [
            (name, f"{took:.3f}", f"{1e3 * took / made.steps:.2f}", f"{found.tokens / took:,.1f}")
            for name, took in seconds.items()
        ]
        print_table(["", ">seconds", ">ms a pass", ">tokens/s"], rows)
        say = "the same tokens" if not found.different else f"{found.different} of {found.tokens} tokens differ"
        console().print(Text(f"{say}; logits differ by {found.logits:.3g} at most"), soft_wrap=True)
        if earliest is not None:
            console().print(
                Text(
                    f"first in step {earliest.step}, sample {earliest.sample}, frame {earliest.frame}, row "
                    f"{earliest.row}, column {earliest.col}: {earliest.first} on PyTorch, {earliest.second} on ONNX "
                    f"Runtime; PyTorch's logits of the two differ by {earliest.margin:.3g}"
                ),
                soft_wrap=True,
            )
    return PROBLEM if found.different else FINE


def _random_ids(plan: Plan, low: int, high: int, seed: int) -> NDArray[np.int64]:
    """Random given ids, int64 [1, G]."""
    from diagplan.backends.given import given_slots

    return np.random.default_rng(seed).integers(low, high, (1, len(given_slots(plan.layout))))


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("export-onnx")(export_onnx_command)
    app.command("compare")(compare_command)
