"""Replay a plan on PyTorch and on ONNX Runtime side by side."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import TimeRemainingColumn
from rich.text import Text

from diagplan.cli.run import read_ids
from diagplan.cli.shared.models import (
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
from diagplan.cli.shared.output import (
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
from diagplan.cli.shared.requests import sampler_from_options
from diagplan.planner.extras import require_packages

__all__ = ["compare_command"]


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
    temperature: Annotated[float | None, option("Sampling", "Sample; greedy without the next four.")] = None,
    top_k: Annotated[int | None, option("Sampling", "Keep the k most probable tokens.")] = None,
    top_p: Annotated[float | None, option("Sampling", "Keep the most probable tokens up to this probability.")] = None,
    min_p: Annotated[float | None, option("Sampling", "Keep tokens this share as probable as the first.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Replay a plan on PyTorch and on ONNX Runtime side by side: tokens, logits, time."""
    from diagplan.models.loading import given_ids, load_model_as
    from diagplan.models.running import compare_runtimes
    from diagplan.schemas.files import read_plan

    require_packages("a comparison", "torch", "safetensors", "onnx", "onnxruntime")
    read = read_plan(plan)
    sampler = sampler_from_options(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, adapter=adapter)
    options = load_options(config=config, context=context, dtype=dtype, device=device, threads=threads)
    ids = None
    if not (prompt is None and actions is None and given is None):
        ids = given_ids(read, *(None if path is None else read_ids(path) for path in (prompt, actions, given)))
    with working("loading", quiet=as_json):
        first = load_model_as(adapter, weights, options)
        second = load_model_as(adapter, onnx, load_options(backend="onnx", device=device, threads=threads))
    with progress_bar("comparing", "passes", TimeRemainingColumn(), quiet=as_json) as progress:
        task = progress.add_task("comparing", total=3 * read.steps)
        done = compare_runtimes(
            read, first, second, ids, sampler=sampler, seed=seed, on_step=lambda: progress.advance(task)
        )
    compared, earliest = done.found, done.found.earliest
    seconds = dict(zip(("torch", "onnx"), done.seconds, strict=True))
    if as_json:
        print_json(
            {
                "same": not compared.different,
                "tokens": compared.tokens,
                "different": compared.different,
                "first_difference": None if earliest is None else earliest._asdict(),
                "largest_logit_difference": compared.logits,
                "passes": read.steps,
                "seconds": seconds,
            }
        )
    else:
        rows = [
            (name, f"{took:.3f}", f"{1e3 * took / read.steps:.2f}", f"{compared.tokens / took:,.1f}")
            for name, took in seconds.items()
        ]
        print_table(["", ">seconds", ">ms a pass", ">tokens/s"], rows)
        say = (
            "the same tokens" if not compared.different else f"{compared.different} of {compared.tokens} tokens differ"
        )
        console().print(Text(f"{say}; logits differ by {compared.logits:.3g} at most"), soft_wrap=True)
        if earliest is not None:
            console().print(
                Text(
                    f"first in step {earliest.step}, sample {earliest.sample}, frame {earliest.frame}, row "
                    f"{earliest.row}, column {earliest.col}: {earliest.first} on PyTorch, {earliest.second} on ONNX "
                    f"Runtime; PyTorch's logits of the two differ by {earliest.margin:.3g}"
                ),
                soft_wrap=True,
            )
    return PROBLEM if compared.different else FINE
