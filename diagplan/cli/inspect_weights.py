"""The command about checkpoints: what one holds, read from its headers alone."""

import contextlib
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from diagplan.adapters.families import FAMILIES, Inspection, family_named
from diagplan.adapters.headers import elements
from diagplan.cli.shared.output import FINE, JsonOption, command, console, print_json, print_table
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.extras import require_packages

if TYPE_CHECKING:
    from diagplan.adapters.headers import Comparison, Header
    from diagplan.adapters.weights import Checkpoint

__all__ = ["inspect_weights_command"]


@command
def inspect_weights_command(
    file: Annotated[Path, typer.Argument(help="A .ckpt, .pt or .safetensors file, or a folder.", show_default=False)],
    config: Annotated[
        str | None,
        typer.Option(
            help="Compare with this configuration: a released name or a file. Left out: with the closest released one.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Show what a checkpoint holds, and which model's tensors it lacks or has too many. Reads headers only."""
    require_packages("checkpoints", "torch", "safetensors")
    checkpoint = _opened(file)
    report = _summary(checkpoint)
    closest, refused = _closest(checkpoint, report["family"], config)
    if as_json:
        print_json(report | {"closest": [_document(*one) for one in closest], "config_json": refused})
        return FINE
    rows = [(name.replace("_", " "), _shown(value)) for name, value in report.items() if value]
    print_table(["", ""], rows, title=str(file))
    for configs, one in closest:
        verdict = f"not those of {configs}: {one.words(4)}" if one.problems else f"those of {configs}"
        console().print(Text(f"the tensors are {verdict}"), soft_wrap=True)
    if refused:
        console().print(Text(f"config.json is refused: {refused}"), soft_wrap=True)
    return FINE


def _summary(checkpoint: "Checkpoint") -> dict[str, Any]:
    headers = checkpoint.headers
    family, layers = _family(headers)
    numbers = {name: elements(header) for name, header in headers.items()}
    return {
        "kind": checkpoint.kind,
        "files": len(checkpoint.files),
        "tensors": len(headers),
        "parameters": sum(numbers.values()),
        "bytes": sum(numbers[name] * _item_bytes(header.dtype) for name, header in headers.items()),
        "dtypes": dict(Counter(header.dtype for header in headers.values()).most_common()),
        "family": family,
        "sizes": _sizes(headers, family, layers),
        "image_tokenizer_tensors": sum(name.startswith(("tokenizer.", "context_encoders.images.")) for name in headers),
        "first_names": [] if family else list(headers)[:8],
    }


def _opened(file: Path) -> "Checkpoint":
    """A checkpoint of any family, by its name or by who can read it."""
    from diagplan.adapters.weights import open_checkpoint

    own = [(one.claims(file), one.open) for _, one in _inspections() if one.open is not None]
    for claims, open_ in own:
        if claims:
            return open_(file)
    try:
        return open_checkpoint(file)
    except DocumentError as error:
        for _, open_ in own:
            with contextlib.suppress(DocumentError):
                return open_(file)
        raise error from None


def _inspections() -> list[tuple[str, Inspection]]:
    return [(family.name, family.inspection) for family in FAMILIES.records() if family.inspection is not None]


def _family(headers: Mapping[str, "Header"]) -> tuple[str | None, int]:
    """The family with the most layers, and how many."""
    layers = {
        family: {match[1] for name in headers if (match := re.fullmatch(one.layer, name))}
        for family, one in _inspections()
    }
    family = max(layers, key=lambda name: len(layers[name]))
    return (family, len(layers[family])) if layers[family] else (None, 0)


def _sizes(headers: Mapping[str, "Header"], family: str | None, layers: int) -> dict[str, int]:
    """The sizes that names and shapes tell."""
    inspection = None if family is None else family_named(family).inspection
    if inspection is None:
        return {}
    sizes = {"num_hidden_layers": layers}
    for size, (ending, axis) in inspection.sizes.items():
        shape = next((header.shape for name, header in headers.items() if name.endswith(ending)), ())
        if len(shape) > axis:
            sizes[size] = shape[axis]
    head = sizes.get("head_dim", 0)
    if head:
        sizes |= {
            f"num_{kind}_heads": sizes[f"{width}_width"] // head
            for kind, width in (("attention", "query"), ("key_value", "key_value"))
            if f"{width}_width" in sizes
        }
    return sizes


def _closest(
    checkpoint: "Checkpoint", family: str | None, config: str | None
) -> "tuple[list[tuple[str, Comparison]], str | None]":
    """The config.json of the folder and the closest released configs, and why that file was refused, if it was.

    Where a configuration is named, that one alone.
    """
    inspection = None if family is None else family_named(family).inspection
    if config is not None:
        if inspection is None or inspection.against is None:
            raise SpecError(
                f"expected --config with a checkpoint of a known family, got one of {family or 'none'}. Leave it out."
            )
        return [(config, inspection.against(checkpoint, config))], None
    return ([], None) if inspection is None else inspection.closest(checkpoint)


def _document(configs: str, comparison: "Comparison") -> dict[str, Any]:
    """A comparison for JSON: the names of all tensors that do not fit."""
    return {
        "configs": configs.split(" and "),
        "fits": not comparison.problems,
        "prefix": comparison.prefix,
        "missing": comparison.missing,
        "unexpected": comparison.unexpected,
        "misshaped": [{"name": n, "shape": got, "expected": want} for n, got, want in comparison.misshaped],
        "not_float": [{"name": n, "dtype": dtype} for n, dtype in comparison.not_float],
        "ignored": len(comparison.ignored),
    }


def _item_bytes(dtype: str) -> int:
    import torch

    kind = getattr(torch, dtype, None)
    return kind.itemsize if isinstance(kind, torch.dtype) else 0


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:,}" for name, number in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
