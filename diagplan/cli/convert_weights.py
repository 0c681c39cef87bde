"""The command that converts a published checkpoint, once, to a file that loads fast and runs nothing."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from diagplan.cli.shared.files import STATE, Output, require_outputs
from diagplan.cli.shared.output import FINE, JsonOption, command, console, print_json, print_table
from diagplan.planner.extras import require_packages

__all__ = ["convert_weights_command"]


@command
def convert_weights_command(
    file: Annotated[Path, typer.Argument(help="The published checkpoint to read, .ckpt.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write, .safetensors.", show_default=False)],
    adapter: Annotated[Literal["wham"], typer.Option(help="The model family.")] = "wham",
    config: Annotated[
        str | None,
        typer.Option(
            help="A released size, or a JSON file of a size that was not published. Left out: as the file tells it.",
            show_default=False,
        ),
    ] = None,
    head_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The head width of the image tokenizer. Left out: as the file tells it, else 64.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Convert a published checkpoint to safetensors, without what only training needs. Nothing in it is run."""
    require_outputs(
        Output("-o", out, STATE), inputs={"FILE": file, "--config": None if config is None else Path(config)}
    )
    require_packages("checkpoints", "torch", "safetensors")
    from diagplan.adapters.wham_convert import convert_wham

    assert adapter == "wham"
    err = console(stderr=True)
    with Progress(
        TextColumn("converting"), BarColumn(), MofNCompleteColumn(), TextColumn("tensors"),
        console=err, disable=as_json or not err.is_terminal,
    ) as progress:  # fmt: skip
        task = progress.add_task("converting", total=None)
        done = convert_wham(
            file, out, config=config, head_size=head_size,
            on_tensor=lambda number, of: progress.update(task, completed=number, total=of),
        )  # fmt: skip
    figures = {name: getattr(done, name) for name in ("tensors", "left_out", "bytes_read", "bytes_written")}
    if as_json:
        print_json(figures | {"config": asdict(done.config), "tokenizer": asdict(done.tokenizer), "out": str(out)})
        return FINE
    sizes = done.config
    shown = {
        "transformer": f"version {sizes.nanogpt_version}, {'with' if sizes.bias else 'without'} biases",
        "layers, heads, width": f"{sizes.n_layer}, {sizes.n_head}, {sizes.n_embd}",
        "sequence": f"{sizes.seq_len} frames of {sizes.rows} x {sizes.cols} + {sizes.action_tokens} tokens",
        "image tokenizer": f"{done.tokenizer.codes:,} codes, heads of {done.tokenizer.head_size}",
    } | {name.replace("_", " "): f"{value:,}" for name, value in figures.items()}
    print_table(["", ""], shown.items())
    console().print(Text(f"wrote {out}"), soft_wrap=True)
    return FINE
