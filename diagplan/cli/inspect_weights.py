"""The command about checkpoints: what one holds, read from its headers alone."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from diagplan.cli.shared.output import FINE, JsonOption, command, console, print_json, print_table
from diagplan.planner.errors import DiagplanError, DocumentError, MissingExtraError

if TYPE_CHECKING:
    from diagplan.adapters.headers import Comparison, Header
    from diagplan.adapters.weights import Checkpoint

__all__ = ["inspect_weights_command"]

#: A family is known by one name of every layer; the group is the layer's number.
FAMILIES = {
    "mc-ar": r"(?:transformer\.)?model\.layers\.(\d+)\.self_attn\.q_proj\.weight",
    "cosmos": r"(?:model\.)?layers\.(\d+)\.attention\.wq\.weight",
    "wham": r"(?:.*\.)?transformer\.h\.(\d+)\.attn\.c_attn\.weight",
}
#: Which axis of which tensor tells a size. Heads of a Llama and of a GPT-2 cannot be told from shapes.
SIZES: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "mc-ar": {
        "vocab_size": ("model.embed_tokens.weight", 0),
        "hidden_size": ("model.embed_tokens.weight", 1),
        "intermediate_size": ("mlp.gate_proj.weight", 0),
        "query_width": ("self_attn.q_proj.weight", 0),
        "key_value_width": ("self_attn.k_proj.weight", 0),
    },
    "cosmos": {
        "vocab_size": ("tok_embeddings.weight", 0),
        "hidden_size": ("tok_embeddings.weight", 1),
        "intermediate_size": ("feed_forward.w1.weight", 0),
        "query_width": (".attention.wq.weight", 0),
        "key_value_width": (".attention.wk.weight", 0),
        "head_dim": (".attention.q_norm.weight", 0),
    },
    "wham": {
        "vocab_size": ("transformer.wte.weight", 0),
        "hidden_size": ("transformer.wte.weight", 1),
        "positions": ("transformer.wpe.weight", 0),
        "intermediate_size": ("mlp.c_fc.weight", 0),
    },
}


@command
def inspect_weights_command(
    file: Annotated[Path, typer.Argument(help="A .ckpt, .pt or .safetensors file, or a folder.", show_default=False)],
    as_json: JsonOption = False,
) -> int:
    """Show what a checkpoint holds, and which model's tensors it lacks or has too many. Reads headers only."""
    try:
        from diagplan.adapters.cosmos_files import open_cosmos
        from diagplan.adapters.lightning import open_lightning
        from diagplan.adapters.weights import open_checkpoint
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtraError(
            "expected PyTorch for reading checkpoints, got none. Install it: pip install 'diagplan[torch]'."
        ) from None

    try:
        checkpoint = open_cosmos(file) if "{rank}" in file.name else open_checkpoint(file)
    except DocumentError as error:
        try:
            checkpoint = open_lightning(file).checkpoint  # WHAM's files pickle classes of their own, which are not run
        except DocumentError:
            raise error from None
    report = _summary(checkpoint)
    closest, refused = _closest(checkpoint, report["family"])
    if as_json:
        print_json(report | {"closest": [_document(*one) for one in closest], "config_json": refused})
        return FINE
    rows = [(name.replace("_", " "), _shown(value)) for name, value in report.items() if value]
    print_table(["", ""], rows, title=str(file))
    for configs, one in closest:
        said = f"not those of {configs}: {one.words(4)}" if one.problems else f"those of {configs}"
        console().print(Text(f"the tensors are {said}"), soft_wrap=True)
    if refused:
        console().print(Text(f"config.json is refused: {refused}"), soft_wrap=True)
    return FINE


def _summary(checkpoint: "Checkpoint") -> dict[str, Any]:
    headers = checkpoint.headers
    family, layers = _family(headers)
    numbers = {name: _elements(header) for name, header in headers.items()}
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


def _family(headers: Mapping[str, "Header"]) -> tuple[str | None, int]:
    """The family with the most layers, and how many."""
    layers = {
        family: {int(match[1]) for name in headers if (match := re.fullmatch(pattern, name))}
        for family, pattern in FAMILIES.items()
    }
    family = max(layers, key=lambda name: len(layers[name]))
    return (family, len(layers[family])) if layers[family] else (None, 0)


def _sizes(headers: Mapping[str, "Header"], family: str | None, layers: int) -> dict[str, int]:
    """The sizes that names and shapes tell."""
    if family is None:
        return {}
    sizes = {"num_hidden_layers": layers}
    for size, (ending, axis) in SIZES[family].items():
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


def _closest(checkpoint: "Checkpoint", family: str | None) -> "tuple[list[tuple[str, Comparison]], str | None]":
    """The config.json of the folder and the closest released configs, and why that file was refused, if it was."""
    if family == "cosmos":
        from diagplan.adapters import cosmos, cosmos_files

        return [_nearest(checkpoint, cosmos.CONFIGS, cosmos_files.compare_cosmos)], None
    if family == "wham":
        from diagplan.adapters.wham_files import compare_wham, released_configs

        return [_nearest(checkpoint, released_configs(checkpoint), compare_wham)], None
    if family != "mc-ar":
        return [], None
    from diagplan.adapters.mc_ar import CONFIGS
    from diagplan.adapters.mc_ar_files import compare_mc_ar, config_beside

    beside, refused, found = config_beside(checkpoint), None, []
    if beside is not None:
        try:
            found.append((beside.name, compare_mc_ar(checkpoint, beside)))
        except DiagplanError as error:
            refused = str(error)
    return [*found, _nearest(checkpoint, CONFIGS, compare_mc_ar)], refused


def _nearest(
    checkpoint: "Checkpoint", configs: Mapping[str, Any], compare: "Callable[[Checkpoint, Any], Comparison]"
) -> "tuple[str, Comparison]":
    """Closest is the fewest problems, then the nearest number of parameters; configs of the same shapes are one."""
    ranked: dict[tuple[int, int], list[str]] = {}
    comparisons = {name: compare(checkpoint, config) for name, config in configs.items()}
    for name, comparison in comparisons.items():
        held = sum(_elements(header) for other, header in checkpoint.headers.items() if other not in comparison.ignored)
        expected = sum(math.prod(shape) for shape in configs[name].shapes().values())
        ranked.setdefault((comparison.problems, abs(held - expected)), []).append(name)
    nearest = ranked[min(ranked)]
    return " and ".join(nearest), comparisons[nearest[0]]


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


def _elements(header: "Header") -> int:
    return 0 if header.dtype.endswith("no tensor") else math.prod(header.shape)


def _item_bytes(dtype: str) -> int:
    import torch

    found = getattr(torch, dtype, None)
    return found.itemsize if isinstance(found, torch.dtype) else 0


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {number:,}" for name, number in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
