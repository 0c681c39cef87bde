"""The record of MC-AR."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagplan.adapters.contract import Config, ImageTokenizer, Model, Ranks
from diagplan.adapters.families import Family, Inspection, Opened, Pictures
from diagplan.adapters.options import LoadOptions
from diagplan.adapters.parallel_cuts import Part
from diagplan.planner.errors import DiagplanError

if TYPE_CHECKING:
    from diagplan.adapters.headers import Comparison
    from diagplan.adapters.weights import Checkpoint

__all__ = ["FAMILY"]


def _load(weights: str | Path, options: LoadOptions) -> Model:
    from diagplan.adapters.mc_ar_files import load_mc_ar

    return load_mc_ar(weights, **options.of_files(), ranks=options.ranks)


def _open(weights: str | Path, options: LoadOptions) -> Opened:
    from diagplan.adapters.mc_ar_files import open_mc_ar

    config = open_mc_ar(weights, options.config)[1]
    return Opened(config=config, vocab_size=config.vocab_size)


def _closest(checkpoint: "Checkpoint") -> "tuple[list[tuple[str, Comparison]], str | None]":
    from diagplan.adapters.headers import nearest
    from diagplan.adapters.mc_ar import CONFIGS
    from diagplan.adapters.mc_ar_files import compare_mc_ar, config_beside

    beside, refused, closest = config_beside(checkpoint), None, []
    if beside is not None:
        try:
            closest.append((beside.name, compare_mc_ar(checkpoint, beside)))
        except DiagplanError as error:
            refused = str(error)
    return [*closest, nearest(checkpoint.headers, CONFIGS, lambda config: compare_mc_ar(checkpoint, config))], refused


def _against(checkpoint: "Checkpoint", config: str) -> "Comparison":
    from diagplan.adapters.mc_ar_files import compare_mc_ar

    return compare_mc_ar(checkpoint, config)


def _pictures(folder: Path, rows: int, cols: int, device: str) -> ImageTokenizer:
    del rows, cols  # it takes frames of any size
    from diagplan.adapters.image_tokenizer import load_image_tokenizer

    return load_image_tokenizer(folder, device=device)


def _picture_bytes(folder: Path) -> int:
    from diagplan.adapters.image_tokenizer import tokenizer_bytes

    return tokenizer_bytes(folder)


def _config_named(name: str) -> Config:
    from diagplan.adapters.mc_ar import CONFIGS

    return CONFIGS[name]


def _part(config: Any, ranks: Ranks | None) -> Part:
    from diagplan.adapters.parallel_parts import mc_ar_part

    return mc_ar_part(config, ranks)


FAMILY = Family(
    name="mc-ar",
    title="MC-AR, MineWorld's Llama over image and action tokens; crafter-mini is one",
    weights="a release .ckpt, a .safetensors file, or a folder of a Hugging Face LlamaForCausalLM",
    load=_load,
    configs=("300M_16f", "700M_16f", "700M_32f", "1200M_16f", "1200M_32f"),
    config_named=_config_named,
    open=_open,
    part=_part,
    presets=("mc-ar", "mc-ar-32f"),
    inspection=Inspection(
        layer=r"(?:transformer\.)?model\.layers\.(\d+)\.self_attn\.q_proj\.weight",
        sizes={
            "vocab_size": ("model.embed_tokens.weight", 0),
            "hidden_size": ("model.embed_tokens.weight", 1),
            "intermediate_size": ("mlp.gate_proj.weight", 0),
            "query_width": ("self_attn.q_proj.weight", 0),  # heads of a Llama cannot be told from shapes
            "key_value_width": ("self_attn.k_proj.weight", 0),
        },
        closest=_closest,
        against=_against,
    ),
    pictures=Pictures(load=_pictures, weight_bytes=_picture_bytes),
    releases=("mc-ar",),
    notes={"config": "a released size such as 300M_16f, or a file"},
    folder_file="world.json",
    world="diagplan.worlds.mc_ar:open_world",
)
