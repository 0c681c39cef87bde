"""Write a model for ONNX Runtime, and run it once against the original."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.models import (
    MODEL,
    AdapterOption,
    ConfigOption,
    ContextOption,
    DtypeOption,
    ThreadsOption,
    load_options,
    option,
    world_option,
)
from diagplan.cli.shared.output import (
    FINE,
    JsonOption,
    command,
    console,
    print_json,
    print_table,
    working,
)
from diagplan.planner.errors import SpecError
from diagplan.planner.extras import require_packages

__all__ = ["export_onnx_command"]


@command
def export_onnx_command(
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder to write.", show_default=False)],
    model: Annotated[str | None, world_option("A whole world model: crafter-mini, or its folder.")] = None,
    adapter: AdapterOption = "mc-ar",
    weights: Annotated[
        Path | None, option(MODEL, "Instead of --model: a checkpoint, .ckpt, .safetensors or a folder.")
    ] = None,
    config: ConfigOption = None,
    context: ContextOption = None,
    tokenizer: Annotated[
        Path | None, option(MODEL, "With --weights: the image tokenizer's folder, WHAM's checkpoint.")
    ] = None,
    dtype: DtypeOption = "float32",
    int8: Annotated[bool, option(MODEL, "Compute int8 products, for CPUs: faster, less exact.", "--int8")] = False,
    threads: ThreadsOption = None,
    opset: Annotated[int, typer.Option(help="The version of ONNX's operators: 23 or 24.", min=23, max=24)] = 23,
    as_json: JsonOption = False,
) -> int:
    """Write a model for ONNX Runtime, and run it once against the original."""
    from diagplan.backends.table import options_for
    from diagplan.models.exporting import export_onnx, exported_pictures
    from diagplan.models.loading import load_model_as
    from diagplan.worlds.loading import folder_of, open_world

    require_packages("export", "torch", "safetensors", "onnx", "onnxscript", "onnxruntime")
    require_outputs(Output("-o", out))
    if (model is None) == (weights is None):
        got = "neither" if model is None else "both"
        raise SpecError(f"expected --model or --weights, got {got}. Give one of them.")
    if model is not None and (config is not None or tokenizer is not None):
        raise SpecError("expected --config and --tokenizer with --weights only, got them with --model. Leave them out.")
    if int8 and dtype != "float32":
        raise SpecError(f"expected --int8 with --dtype float32, got {dtype}. Leave one of them out.")
    options = load_options(config=config, context=context, dtype=dtype, portable=True, threads=threads)
    source = folder_of(model) if model is not None else weights
    if source is not None and options_for(source, options) != options:
        raise SpecError(f"expected a model to export, got {source}, which is exported already. Give its source.")
    pictures: Any = None
    rows = cols = None
    world_json: Path | None = None
    with working("loading", quiet=as_json):
        if model is not None:
            world = open_world(model, options)
            loaded, pictures, rows, cols = world.model, world.tokenizer, world.rows, world.cols
            world_json = folder_of(model) / "world.json"
        else:
            assert weights is not None
            loaded = load_model_as(adapter, weights, options)
            if tokenizer is not None:
                pictures, rows, cols = exported_pictures(loaded, tokenizer)
    with working("exporting", quiet=as_json):
        done = export_onnx(
            loaded, out, tokenizer=pictures, rows=rows, cols=cols, world_json=world_json,
            quantize="int8" if int8 else None, opset=opset, threads=options.threads,
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
