"""The record of LlamaGen."""

from pathlib import Path
from typing import TYPE_CHECKING

from diagplan.adapters.contract import ImageTokenizer, Model
from diagplan.adapters.families import Family, Inspection, Opened, Pictures
from diagplan.adapters.options import LoadOptions

if TYPE_CHECKING:
    from diagplan.adapters.headers import Comparison
    from diagplan.adapters.weights import Checkpoint

__all__ = ["FAMILY"]


def _load(weights: str | Path, options: LoadOptions) -> Model:
    from diagplan.adapters.llamagen_files import load_llamagen

    return load_llamagen(weights, **options.of_files())


def _open(weights: str | Path, options: LoadOptions) -> Opened:
    from diagplan.adapters.llamagen_files import open_llamagen

    config = open_llamagen(weights, options.config)[1]
    return Opened(config=config, vocab_size=config.vocab_size)


def _closest(checkpoint: "Checkpoint") -> "tuple[list[tuple[str, Comparison]], str | None]":
    from diagplan.adapters.headers import nearest
    from diagplan.adapters.llamagen_config import CONFIGS
    from diagplan.adapters.llamagen_files import compare_llamagen

    return [nearest(checkpoint.headers, CONFIGS, lambda config: compare_llamagen(checkpoint, config))], None


def _against(checkpoint: "Checkpoint", config: str) -> "Comparison":
    from diagplan.adapters.llamagen_files import compare_llamagen

    return compare_llamagen(checkpoint, config)


def _opened(path: Path) -> "Checkpoint":
    from diagplan.adapters.weights import open_checkpoint

    return open_checkpoint(path, foreign=True)  # arguments of the training run may lie beside the tensors


def _pictures(path: Path, rows: int, cols: int, device: str) -> ImageTokenizer:
    del rows, cols  # it takes pictures of any size
    from diagplan.adapters.vq_decoder import load_vq

    return load_vq(path, device=device)


def _picture_bytes(path: Path) -> int:
    from diagplan.adapters.vq_decoder import vq_bytes

    return vq_bytes(path)


FAMILY = Family(
    name="llamagen",
    title="LlamaGen, a Llama over the codes of a picture, of a class or a text",
    weights="a release .pt (c2i_B_256.pt, t2i_XL_stage1_256.pt, ...), a .safetensors file, or a folder with one",
    load=_load,
    configs=("B", "L", "XL", "XXL", "3B", "XL-t2i"),
    open=_open,
    presets=("llamagen-c2i-256", "llamagen-c2i-384", "llamagen-t2i-256", "llamagen-t2i-512"),
    inspection=Inspection(
        layer=r"(?:module\.|_orig_mod\.)?layers\.(\d+)\.attention\.wqkv\.weight",
        sizes={
            "vocab_size": ("tok_embeddings.weight", 0),
            "hidden_size": ("tok_embeddings.weight", 1),
            "intermediate_size": ("feed_forward.w1.weight", 0),
        },
        closest=_closest,
        against=_against,
        open=_opened,
    ),
    pictures=Pictures(
        load=_pictures,
        weight_bytes=_picture_bytes,
        no_export="expected no --tokenizer for a llamagen model: its pictures have no one size. Leave it out.",
    ),
)
