"""The record of Cosmos."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagplan.adapters.contract import Config, ImageTokenizer, Model, Ranks
from diagplan.adapters.families import Family, Inspection, Opened, Pictures
from diagplan.adapters.options import LoadOptions
from diagplan.adapters.parallel_cuts import Part
from diagplan.planner.errors import SpecError

if TYPE_CHECKING:
    from diagplan.adapters.headers import Comparison
    from diagplan.adapters.weights import Checkpoint

__all__ = ["FAMILY"]

_NO_EXPORT = (
    "expected no --tokenizer for cosmos, got one. Its video tokenizer is a pair of TorchScript files already, "
    "and runs on torch. Leave it out."
)


def _features(context: Any) -> Any:
    from diagplan.adapters.cosmos_text import read_text_features

    return read_text_features(context) if isinstance(context, str | Path) else context


def _load(weights: str | Path, options: LoadOptions) -> Model:
    from diagplan.adapters.cosmos_files import load_cosmos

    features = _features(options.context)
    model = load_cosmos(weights, **options.of_files(), ranks=options.ranks)
    return model if features is None else model.with_context(features)


def _open(weights: str | Path, options: LoadOptions) -> Opened:
    from diagplan.adapters.cosmos_files import checked_cosmos

    config = checked_cosmos(weights, options.config)[1]
    features = _features(options.context)
    tokens = 0 if features is None else math.prod(features.shape[:-1])
    return Opened(config=config, vocab_size=config.embedding_rows, text_tokens=tokens)


def _testable(model: Any) -> Model:
    """With a text of one sample, if it reads one: a vector of zeros adds nothing."""
    import torch

    width = model.config.context_dim
    bound: Model = model if width is None else model.with_context(torch.zeros(1, width))
    return bound


def _open_files(path: Path) -> "Checkpoint":
    from diagplan.adapters.cosmos_files import open_cosmos

    return open_cosmos(path)


def _closest(checkpoint: "Checkpoint") -> "tuple[list[tuple[str, Comparison]], str | None]":
    from diagplan.adapters.cosmos_config import CONFIGS
    from diagplan.adapters.cosmos_files import compare_cosmos
    from diagplan.adapters.headers import nearest

    return [nearest(checkpoint.headers, CONFIGS, lambda config: compare_cosmos(checkpoint, config))], None


def _against(checkpoint: "Checkpoint", config: str) -> "Comparison":
    from diagplan.adapters.cosmos_files import compare_cosmos, cosmos_config

    return compare_cosmos(checkpoint, cosmos_config(config))


def _pictures(folder: Path, rows: int, cols: int, device: str) -> ImageTokenizer:
    del folder, rows, cols, device
    raise SpecError(_NO_EXPORT)  # frame by frame there is none; a world has the video tokenizer


def _picture_bytes(folder: Path) -> int:
    files = (folder / f"{name}.jit" for name in ("encoder", "decoder"))
    return sum(file.stat().st_size for file in files if file.is_file())


def _config_named(name: str) -> Config:
    from diagplan.adapters.cosmos_config import CONFIGS

    return CONFIGS[name]


def _part(config: Any, ranks: Ranks | None) -> Part:
    from diagplan.adapters.parallel_parts import cosmos_part

    return cosmos_part(config, ranks)


FAMILY = Family(
    name="cosmos",
    title="Cosmos-Predict1's autoregressive models, Video2World models included",
    weights="a model.pt, a .safetensors file, a folder with one, or shards, a name with {rank}",
    load=_load,
    configs=("cosmos-4b", "cosmos-12b", "cosmos-5b-v2w", "cosmos-13b-v2w"),
    config_named=_config_named,
    open=_open,
    reads_text=True,
    testable=_testable,
    part=_part,
    presets=("cosmos", "cosmos-video2world"),
    inspection=Inspection(
        layer=r"(?:model\.)?layers\.(\d+)\.attention\.wq\.weight",
        sizes={
            "vocab_size": ("tok_embeddings.weight", 0),
            "hidden_size": ("tok_embeddings.weight", 1),
            "intermediate_size": ("feed_forward.w1.weight", 0),
            "query_width": (".attention.wq.weight", 0),
            "key_value_width": (".attention.wk.weight", 0),
            "head_dim": (".attention.q_norm.weight", 0),
        },
        closest=_closest,
        against=_against,
        open=_open_files,
        claims=lambda path: "{rank}" in path.name,
    ),
    pictures=Pictures(load=_pictures, weight_bytes=_picture_bytes, no_export=_NO_EXPORT),
    releases=("cosmos", "cosmos-4b", "cosmos-12b", "cosmos-5b-v2w", "cosmos-13b-v2w"),
    notes={"prompt_frames": "9 or 1", "config": "a file"},
    world="diagplan.worlds.cosmos:open_world",
)
