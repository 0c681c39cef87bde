"""The record of WHAM."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagplan.adapters.contract import Config, ImageTokenizer, Model, Ranks
from diagplan.adapters.families import Family, Inspection, Opened, Pictures
from diagplan.adapters.options import LoadOptions
from diagplan.adapters.parallel_cuts import Part
from diagplan.adapters.samplers import Sample, require_temperature
from diagplan.planner.arguments import require_number
from diagplan.planner.errors import SpecError
from diagplan.planner.shown import shown

if TYPE_CHECKING:
    from diagplan.adapters.headers import Comparison
    from diagplan.adapters.weights import Checkpoint

__all__ = ["FAMILY"]

#: The release's temperature by default, and the least that it lets through.
_TEMPERATURE, _COOLEST = 0.9, 0.1
_LEAST = 1e-300


def _load(weights: str | Path, options: LoadOptions) -> Model:
    from diagplan.adapters.wham_files import load_wham

    return load_wham(weights, **options.of_files(), ranks=options.ranks)


def _open(weights: str | Path, options: LoadOptions) -> Opened:
    from diagplan.adapters.wham_files import checked_wham

    config = checked_wham(weights, options.config)[1]
    return Opened(config=config, vocab_size=config.vocab_size)


def _sampler(temperature: float | None, top_k: int | None, top_p: float | None) -> Sample:
    """As the release samples: no temperature below 0.1; top-p drops the id that crosses the bound; 1 keeps all."""
    warmth = require_temperature(_TEMPERATURE if temperature is None else temperature)
    if top_p is not None and not 0 <= require_number("top_p", top_p, "Give one, such as 0.9.") <= 1:
        raise SpecError(f"expected 0 <= top_p <= 1, got top_p={shown(top_p)}.")
    share = None if top_p in (None, 1) else max(top_p, _LEAST)
    return Sample(temperature=max(warmth, _COOLEST), top_k=top_k, top_p=share, crossing="drop")


def _open_files(path: Path) -> "Checkpoint":
    from diagplan.adapters.lightning import open_lightning

    return open_lightning(path).checkpoint  # its files pickle classes of their own, which are not run


def _closest(checkpoint: "Checkpoint") -> "tuple[list[tuple[str, Comparison]], str | None]":
    from diagplan.adapters.headers import nearest
    from diagplan.adapters.wham_files import compare_wham, released_configs

    configs = released_configs(checkpoint)
    return [nearest(checkpoint.headers, configs, lambda config: compare_wham(checkpoint, config))], None


def _against(checkpoint: "Checkpoint", config: str) -> "Comparison":
    from diagplan.adapters.wham_files import WhamNotes, compare_wham, wham_config_for

    return compare_wham(checkpoint, wham_config_for(checkpoint, WhamNotes(), config))


def _pictures(weights: Path, rows: int, cols: int, device: str) -> ImageTokenizer:
    from diagplan.adapters.wham_tokenizer import load_wham_tokenizer

    return load_wham_tokenizer(weights, rows=rows, cols=cols, device=device)


def _picture_bytes(weights: Path) -> int:
    from diagplan.adapters.wham_files import open_wham
    from diagplan.adapters.wham_tokenizer import tokenizer_config_for

    config = tokenizer_config_for(*open_wham(weights))
    return 4 * sum(math.prod(shape) for shape in config.shapes().values())


def _config_named(name: str) -> Config:
    from diagplan.adapters.wham import CONFIGS

    return CONFIGS[name]


def _part(config: Any, ranks: Ranks | None) -> Part:
    from diagplan.adapters.parallel_parts import wham_part

    return wham_part(config, ranks)


FAMILY = Family(
    name="wham",
    title="WHAM, the world and human action model of Xbox gameplay",
    weights="a release .ckpt, or what `diagplan convert-weights` made of it",
    load=_load,
    configs=("wham-200m", "wham-1.6b"),
    config_named=_config_named,
    open=_open,
    sampler=_sampler,
    part=_part,
    presets=("wham",),
    inspection=Inspection(
        layer=r"(?:.*\.)?transformer\.h\.(\d+)\.attn\.c_attn\.weight",
        sizes={
            "vocab_size": ("transformer.wte.weight", 0),
            "hidden_size": ("transformer.wte.weight", 1),
            "positions": ("transformer.wpe.weight", 0),
            "intermediate_size": ("mlp.c_fc.weight", 0),  # heads of a GPT-2 cannot be told from shapes
        },
        closest=_closest,
        against=_against,
        open=_open_files,
    ),
    pictures=Pictures(load=_pictures, weight_bytes=_picture_bytes),
    releases=("wham", "wham-200m", "wham-1.6b"),
    notes={"prompt_frames": "10", "keep": "9", "temperature": "0.1", "config": "a file"},
    world="diagplan.worlds.wham:open_world",
)
