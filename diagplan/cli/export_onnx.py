"""Write a model for ONNX Runtime, and run it once against the original."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from diagplan.cli.shared.models import (
    MODEL,
    AdapterOption,
    ConfigOption,
    ContextOption,
    DtypeOption,
    option,
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

__all__ = ["export_onnx_command"]


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
    from diagplan.models.exporting import export_onnx
    from diagplan.models.loading import load_model
    from diagplan.worlds import SHIPPED, load_world

    if (model is None) == (weights is None):
        raise SpecError("expected --model or --weights, got neither or both. Give one of them.")
    if model is not None and (config is not None or tokenizer is not None):
        raise SpecError("expected --config and --tokenizer with --weights only, got them with --model. Leave them out.")
    if int8 and dtype != "float32":
        raise SpecError(f"expected --int8 with --dtype float32, got {dtype}. Leave one of them out.")
    pictures: Any = None
    rows = cols = None
    world_json: Path | None = None
    with working("loading", quiet=as_json):
        if model is not None:
            world = load_world(model, dtype=dtype, portable=True)
            loaded, pictures, rows, cols = world.model, world.tokenizer, world.rows, world.cols
            world_json = SHIPPED.get(model, Path(model)) / "world.json"
        else:
            assert weights is not None
            loaded = load_model(adapter, weights, config=config, context=context, dtype=dtype, portable=True)
            if tokenizer is not None:
                pictures, rows, cols = _pictures(loaded, tokenizer)
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


def _pictures(loaded: Any, tokenizer: Path) -> tuple[Any, int, int]:
    """The image tokenizer of a transformer, and the grid that it is exported for."""
    from diagplan.adapters.image_tokenizer import load_image_tokenizer
    from diagplan.adapters.wham_tokenizer import load_wham_tokenizer

    if loaded.family == "cosmos":
        raise SpecError(
            "expected no --tokenizer for cosmos, got one. Its video tokenizer is a pair of TorchScript files already, "
            "and runs on torch. Leave it out."
        )
    rows, cols = loaded.config.rows, loaded.config.cols
    if loaded.family == "wham":
        return load_wham_tokenizer(tokenizer, rows=rows, cols=cols), rows, cols
    return load_image_tokenizer(tokenizer), rows, cols
