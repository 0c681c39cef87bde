"""Time passes of a model, or estimate them: a cost curve."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from diagplan.cli.shared.extras import require_for
from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.models import (
    MODEL,
    AdapterOption,
    BackendOption,
    ConfigOption,
    ContextOption,
    DeviceOption,
    DtypeOption,
    Int8Option,
    ThreadsOption,
    load_options,
    option,
    world_option,
)
from diagplan.cli.shared.output import FINE, JsonOption, command, console, print_json, print_table
from diagplan.planner.errors import SpecError

if TYPE_CHECKING:
    from diagplan.adapters.options import LoadOptions
    from diagplan.backends.measure import Measured
    from diagplan.schemas.curve import CurveDocument

__all__ = ["measure_command"]

GRID = "Grid"
#: Cache slots of an estimate, where nobody says how many.
_LONGEST = 16384
#: Widths that are printed.
_SHOWN = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@command
def measure_command(
    out: Annotated[Path, typer.Option("-o", "--out", help="The curve to write, .json.", show_default=False)],
    model: Annotated[
        str | None,
        world_option("The model: crafter-mini, or a world model's folder. Left out: --weights names it."),
    ] = None,
    weights: Annotated[
        Path | None,
        option(MODEL, "Checkpoint: .ckpt, .pt, .safetensors, or a folder, also one that export-onnx wrote."),
    ] = None,
    adapter: AdapterOption = "mc-ar",
    config: ConfigOption = None,
    context: ContextOption = None,
    backend: BackendOption = "torch",
    dtype: DtypeOption = "float32",
    device: DeviceOption = "cpu",
    int8: Int8Option = False,
    threads: ThreadsOption = None,
    batch: Annotated[
        int, typer.Option(help="Rows of the model's batch; twice the samples under guidance.", min=1, max=4096)
    ] = 1,
    longest: Annotated[
        int | None,
        option(GRID, "Cache slots of the longest passes. Left out: as many as the model has positions.", min=1),
    ] = None,
    chunk: Annotated[
        int, typer.Option(help="Feeds of the widest pass, as for `run`.", min=1, rich_help_panel=GRID)
    ] = 512,
    seconds: Annotated[
        float,
        option(GRID, "Spend so many seconds on timing, at most a fifth more.", min=1, max=3600),
    ] = 30.0,
    roofline: Annotated[
        str | None,
        option(
            GRID,
            "Time nothing; estimate from sizes and a device's peak figures: H200, or H200:4.3TB/s,790TFLOP/s. Needs "
            "the model's files, or --adapter and --config.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Time passes of a model over a grid of widths and cache lengths: the curve that `tune` chooses by."""
    from diagplan.schemas.curve import write_curve

    require_outputs(Output("-o", out, (".json", "")), inputs={"--weights": weights})
    asked = load_options(
        backend=backend, config=config, dtype=dtype, device=device, int8=int8, threads=threads, context=context
    )
    name, family, files = _named(model, weights, adapter, config)
    if roofline is not None:
        document = _estimate(roofline, name, family, files, asked, longest or _LONGEST, batch)
        write_curve(document, out)
        _print(document, None, out, as_json=as_json)
        return FINE
    if files is None:
        raise SpecError("expected --model or --weights, got neither. Give one; --roofline does with --config alone.")
    document, measured = _measure(name, family, files, asked, batch, seconds, chunk, longest, quiet=as_json)
    write_curve(document, out)
    _print(document, measured, out, as_json=as_json)
    return FINE


def _named(model: str | None, weights: Path | None, adapter: str, config: str | None) -> tuple[str, str, Path | None]:
    """What the model is called, its family, and its files."""
    from diagplan.adapters.families import FAMILIES
    from diagplan.worlds.loading import SHIPPED, folder_of

    if model is None:
        return config or (adapter if weights is None else weights.name), adapter, weights
    if weights is not None:
        raise SpecError(f"expected --model or --weights, got both: {model} and {weights}. Give one.")
    folder = folder_of(model)
    marks = ((family.name, family.folder_file) for family in FAMILIES.records())
    family = next((name for name, mark in marks if mark is not None and (folder / mark).is_file()), None)
    if family is None:
        raise SpecError(
            f"expected --model to be one of {', '.join(SHIPPED)}, or a world model's folder, got {model!r}. Give the "
            "files of a release with --weights and --adapter."
        )
    return model if model in SHIPPED else folder.name, family, folder


def _estimate(
    device: str, name: str, family: str, files: Path | None, options: "LoadOptions", longest: int, batch: int
) -> "CurveDocument":
    from diagplan.models.measuring import config_for, estimate_curve
    from diagplan.planner.roofline import device_named

    named = device_named(device)
    sizes = config_for(family, files, options)
    return estimate_curve(sizes, named, name=name, adapter=family, positions=longest, options=options, batch=batch)


def _measure(
    name: str, family: str, files: Path, options: "LoadOptions", batch: int, seconds: float, chunk: int,
    longest: int | None, *, quiet: bool,
) -> "tuple[CurveDocument, Measured]":  # fmt: skip
    from diagplan.backends.table import options_for
    from diagplan.models.loading import load_model_as
    from diagplan.models.measuring import measure_curve

    asked = options_for(files, options)
    require_for("measuring a model", files, options.backend)
    err = console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=quiet or not err.is_terminal) as progress:
        task = progress.add_task("loading", total=1.0)
        loaded = load_model_as(family, files, asked)
        progress.update(task, description="timing passes")
        return measure_curve(
            loaded, name=name, options=asked, files=files, batch=batch, seconds=seconds, chunk=chunk, longest=longest,
            on_progress=lambda share: progress.update(task, completed=share),
        )  # fmt: skip


def _print(document: "CurveDocument", measured: "Measured | None", out: Path, *, as_json: bool) -> None:
    from diagplan.schemas.curve import curve_of

    curve = curve_of(document)
    facts: dict[str, Any] = {
        "kind": document.kind, "points": len(document.points), "batch": document.batch, "backend": document.backend,
        "device": document.device, "dtype": document.dtype, "threads": document.threads,
        "residual": float(np.median(curve.residuals)), "worst_residual": float(curve.residuals.max()),
        "target_seconds": document.target_seconds, "shape_seconds": document.shape_seconds,
        "rounds": None if measured is None else measured.rounds,
        "spread": None if measured is None else measured.spread,
        "error": None if measured is None else measured.error,
        "noisy": None if measured is None else measured.noisy,
        "few": None if measured is None else measured.few,
    }  # fmt: skip
    if as_json:
        print_json(facts | {"out": str(out)})
        return
    lengths = sorted({point.length for point in document.points})
    chosen = lengths if len(lengths) <= 4 else [lengths[0], lengths[len(lengths) // 2], lengths[-1]]
    widths = [width for width in _SHOWN if width <= max(point.width for point in document.points)]
    title = f"{document.model.name} on {document.machine}, {document.backend}, {document.dtype}, batch {document.batch}"
    print_table(
        [">feeds", *(f">ms at {length} slots" for length in chosen)],
        [
            (width, *(f"{1e3 * float(curve.at(width, n)):.3f}" if width <= n else "-" for n in chosen))
            for width in widths
        ],
        title=title + (": an estimate, nothing was timed" if measured is None else ""),
    )
    screen = console()
    if measured is not None:
        screen.print(
            Text(
                f"{len(document.points)} points, {measured.rounds} rounds; half of a point's passes lie within "
                f"{100 * measured.spread:.1f}% of its time, the error of its median is "
                f"{100 * measured.error:.1f}%; the monotone curve is off by {100 * facts['residual']:.1f}%, "
                f"at worst {100 * facts['worst_residual']:.1f}%."
            ),
            soft_wrap=True,
        )
        if measured.few:
            screen.print(Text("Some passes were timed fewer than three times. Give it more --seconds."))
        elif measured.noisy:
            screen.print(Text("The spread is too large to choose by. Measure again when the machine is idle."))
    screen.print(Text(f"wrote {out} ({out.stat().st_size:,} bytes)"), soft_wrap=True)
