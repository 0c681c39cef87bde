"""LlamaGen's files: ``c2i_*.pt`` and ``t2i_*.pt`` as published, or the same tensors as safetensors.

Facts: a dict with ``model``, or, of XXL and 3B, the bare state dict, whose tensors 3B pickles through
``torch._tensor._rebuild_from_type_v2``. Names and shapes tell all sizes but the heads, which are those of the published
model of as many layers and the same width; nothing tells the grid.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from diagplan.adapters.devices import DTypeName, require_device, require_dtype
from diagplan.adapters.headers import Comparison, Header, check_weights, compare_weights
from diagplan.adapters.linear import Quantize, require_quantize
from diagplan.adapters.llamagen import LlamaGen
from diagplan.adapters.llamagen_config import CONFIGS, LlamaGenConfig
from diagplan.adapters.weights import Checkpoint, LazyWeights, open_checkpoint
from diagplan.planner.arguments import is_file
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.shown import shown

__all__ = ["compare_llamagen", "load_llamagen", "open_llamagen", "read_llamagen_config"]

_PREFIXES = ("module.", "_orig_mod.", "")
#: What is computed here.
_IGNORED = ("*freqs_cis", "*causal_mask", "*.kv_cache.*")
#: Heads by layers and width, of all that the release's table names.
_HEADS: Mapping[tuple[int, int], int] = MappingProxyType(
    {(one.n_layer, one.dim): one.n_head for one in CONFIGS.values()}
    | {(22, 2048): 32, (32, 4096): 32, (48, 2560): 40}  # 1B, 7B, XXXL, of which no weights were published
)
_CONFIG_BYTES = 1 << 20
_MOST_LAYERS = 1000


def load_llamagen(
    weights: str | Path,
    *,
    config: str | Path | LlamaGenConfig | None = None,
    dtype: DTypeName = "float32",
    device: str = "cpu",
    quantize: Quantize | None = None,
    portable: bool = False,
) -> LlamaGen:
    """Load a model. The tensors are checked by name and shape before the first is read, then read one at a time.

    Args:
        weights: ``c2i_B_256.pt``, ``t2i_XL_stage1_256.pt`` or the like, a ``.safetensors`` file, or a folder with one.
            Nothing in a file is executed.
        config: ``None``: the file tells, and for the heads the table of published sizes; a name of ``CONFIGS``, a JSON
            file with fields of ``LlamaGenConfig``, such as n_head, or a ``LlamaGenConfig``.
        dtype: of the model, whatever the file's.
        device: ``"cpu"``, ``"cuda"``, ...
        quantize: ``"int8"``: int8 products on an x86 CPU, float32 elsewhere in the model.
        portable: leave the weights in no machine's own order, as ONNX export needs them.

    Raises:
        SpecError: no such config, dtype or device, one that cannot be quantised so, or unknown heads.
        DocumentError: a file that cannot be read, or tensors that are not the config's.

    >>> load_llamagen("c2i_XL_384.pt", dtype="bfloat16")  # doctest: +SKIP
    """
    require_dtype(dtype)
    require_quantize(quantize, require_device(device), getattr(torch, dtype))
    checkpoint, sizes, names = open_llamagen(weights, config)
    lazy = LazyWeights(checkpoint, names, dtype=getattr(torch, dtype), device=device)
    return LlamaGen(sizes, lazy, quantize=quantize, portable=portable)


def open_llamagen(
    weights: str | Path, config: str | Path | LlamaGenConfig | None = None
) -> tuple[Checkpoint, LlamaGenConfig, dict[str, str]]:
    """What ``load_llamagen`` loads, and where each tensor is, from headers alone; arguments and errors as there."""
    checkpoint = open_checkpoint(weights, foreign=True)
    sizes = _config_for(checkpoint, config)
    names = check_weights(
        checkpoint.headers, _shapes(sizes, checkpoint), source=checkpoint.path, prefixes=_PREFIXES, ignored=_IGNORED
    )
    return checkpoint, sizes, names


def compare_llamagen(checkpoint: Checkpoint, config: str | Path | LlamaGenConfig) -> Comparison:
    """How the tensors of a checkpoint compare with a configuration's; ``config`` as for ``load_llamagen``.

    Raises:
        SpecError: no such config.
        DocumentError: a config that cannot be read.
    """
    sizes = _config_for(checkpoint, config)
    return compare_weights(checkpoint.headers, _shapes(sizes, checkpoint), prefixes=_PREFIXES, ignored=_IGNORED)


def read_llamagen_config(path: str | Path) -> dict[str, Any]:
    """Fields of a ``LlamaGenConfig`` from a JSON file; those that are missing are told by the weights.

    Raises:
        DocumentError: a file that cannot be read, is no JSON object, or has a key that is no field.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _CONFIG_BYTES:
            raise DocumentError(f"expected a config of at most {_CONFIG_BYTES} bytes, got {path} with more.")
        held = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror}. Check the name and the permissions.") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, DocumentError):
            raise
        raise DocumentError(f"expected a JSON object, got {path}, which is not JSON.") from None
    known = [field.name for field in fields(LlamaGenConfig)]
    if not isinstance(held, dict) or not set(held) <= set(known):
        unknown = shown(sorted(set(held) - set(known))[0]) if isinstance(held, dict) else f"a {type(held).__name__}"
        raise DocumentError(f"expected fields of LlamaGen's config ({', '.join(known)}), got {path} with {unknown}.")
    return held


def _config_for(checkpoint: Checkpoint, config: str | Path | LlamaGenConfig | None) -> LlamaGenConfig:
    if isinstance(config, LlamaGenConfig):
        return config
    if config is not None and str(config) in CONFIGS:
        return CONFIGS[str(config)]
    given: dict[str, Any] = {}
    if config is not None:
        if not is_file(Path(config)):
            raise SpecError(
                f"expected config to be one of {', '.join(CONFIGS)}, or a file, got config={shown(str(config), 300)}."
            )
        given = read_llamagen_config(config)
    told = _told(checkpoint) | given
    if "n_head" not in told:
        heads = _HEADS.get((told["n_layer"], told["dim"]))
        if heads is None:
            raise SpecError(
                f"expected a published size of LlamaGen, got {checkpoint.path} with {told['n_layer']} layers of width "
                f"{told['dim']}. Nothing in the file tells its heads. Give a config with n_head."
            )
        told["n_head"] = heads
    try:
        return LlamaGenConfig(**told)
    except SpecError as error:
        raise DocumentError(f"{checkpoint.path if config is None else config}: {error}") from None


def _told(checkpoint: Checkpoint) -> dict[str, Any]:
    """The sizes that names and shapes tell.

    Raises:
        DocumentError: no LlamaGen's tensors.
    """
    at = next((prefix for prefix in _PREFIXES if f"{prefix}tok_embeddings.weight" in checkpoint.headers), "")
    headers = {name.removeprefix(at): header for name, header in checkpoint.headers.items() if name.startswith(at)}
    layers = {int(match[1]) for name in headers if (match := re.match(r"layers\.(\d{1,6})\.attention\.wqkv\.", name))}
    codes = _matrix(headers, "tok_embeddings.weight")
    classes, null = (
        _matrix(headers, f"cls_embedding.{name}") for name in ("embedding_table.weight", "uncond_embedding")
    )
    if codes is None or not layers or (classes is None) == (null is None):
        raise DocumentError(
            f"expected the tensors of a LlamaGen, tok_embeddings.weight, layers.0.attention.wqkv.weight and "
            f"cls_embedding.* among them, got {checkpoint.path} without. "
            f"`diagplan inspect-weights {checkpoint.path}` shows what the file holds."
        )
    told = {"n_layer": len(layers), "vocab_size": codes[0], "dim": codes[1]}
    if classes is not None:
        return told | {"model_type": "c2i", "num_classes": classes[0] - 1}
    assert null is not None
    return told | {"model_type": "t2i", "cls_token_num": null[0], "caption_dim": null[1]}


def _matrix(headers: Mapping[str, Header], name: str) -> tuple[int, int] | None:
    shape = headers[name].shape if name in headers else ()
    return (shape[0], shape[1]) if len(shape) == 2 else None


def _shapes(config: LlamaGenConfig, checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """The expected shapes; not for a config of far more layers than the file has tensors."""
    if config.n_layer > max(len(checkpoint.headers), _MOST_LAYERS):
        raise DocumentError(
            f"expected n_layer={config.n_layer} layers, got {checkpoint.path} with {len(checkpoint.headers)} tensors. "
            "Weights and config must belong together."
        )
    return config.shapes()
