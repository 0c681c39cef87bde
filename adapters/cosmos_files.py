"""Cosmos' files: the released ``model.pt``, safetensors, tensor-parallel shards, and configurations as JSON.

Facts: a release is one flat dict of tensors, their names behind ``model.`` or bare; ``_extra_state`` entries are no
weights. The files do not tell the configuration: not the grid, not the frequency rescale. Source: cosmos-predict1,
autoregressive/model.py, autoregressive/utils/checkpoint.py, scripts/merge_autoregressive_tp_checkpoints.py.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from diagplan.adapters.contract import Ranks
from diagplan.adapters.cosmos import Cosmos
from diagplan.adapters.cosmos_config import CONFIGS, CosmosConfig
from diagplan.adapters.cosmos_forms import PREFIXES, open_cosmos, under_released_names
from diagplan.adapters.cosmos_positions import FrequencyRescale
from diagplan.adapters.devices import DTypeName, require_device, require_dtype
from diagplan.adapters.headers import Comparison, check_weights, compare_weights, listed
from diagplan.adapters.linear import Quantize, require_quantize
from diagplan.adapters.parallel_parts import cosmos_part
from diagplan.adapters.weights import Checkpoint, LazyWeights
from diagplan.planner.arguments import is_file
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.shown import shown

__all__ = ["checked_cosmos", "compare_cosmos", "cosmos_config", "load_cosmos", "open_cosmos", "read_cosmos_config"]

_IGNORED = ("*_extra_state*",)
_CONFIG_BYTES = 1 << 20

_NEEDED = ("dim", "n_layers", "n_heads", "n_kv_heads", "ffn_hidden_size", "video_latent_shape", "training_type")
_SAME = ("head_dim", "vocab_size", "norm_eps", "rope_theta")
#: Keys that change the mathematics, and the values that mean what this adapter computes.
_FIXED: Mapping[str, tuple[Any, ...]] = {
    "causal_mask": (None, True),
    "insert_cross_attn_every_k_layers": (None, 1),
    "norm_type": (None, "rmsnorm"),
    "pytorch_rope_version": (None, "v2"),
    "rope_dim": (None, "3D"),
    "tensor_model_parallel_size": (None, 1),
    "use_qk_normalization": (None, True),
}
#: Keys that change nothing in a forward pass.
_HARMLESS = {
    "backend", "ckpt_dir", "ckpt_path", "fuse_qkv", "max_batch_size", "max_seq_len", "num_video_frames",
    "original_seq_len", "pad_to_multiple_of", "precision",
}  # fmt: skip
_SWITCHES = ("apply_abs_pos_emb", "apply_yarn", "insert_cross_attn")
_YARN = ("original_latent_shape", "yarn_scale", "yarn_beta_fast", "yarn_beta_slow")
_TRAINING = {"video_to_video": False, "text_to_video": True}


def load_cosmos(
    weights: str | Path,
    *,
    config: str | Path | CosmosConfig | None = None,
    dtype: DTypeName = "float32",
    device: str = "cpu",
    quantize: Quantize | None = None,
    portable: bool = False,
    ranks: Ranks | None = None,
) -> Cosmos:
    """Load a model. The tensors are checked by name and shape before the first is read, then read one at a time.

    Args:
        weights: what ``open_cosmos`` opens.
        config: a name of ``CONFIGS``, a JSON file (``read_cosmos_config``), or a ``CosmosConfig``.
        dtype: of the model, whatever the file's; the release's own is bfloat16.
        device: ``"cpu"``, ``"cuda"``, ...
        quantize: ``"int8"``: int8 products on an x86 CPU, float32 elsewhere in the model.
        portable: leave the weights in no machine's own order, as export needs them.
        ranks: of which this process is one: it reads its part of the tensors and no more.

    Raises:
        SpecError: no such config, dtype or device, or one that cannot be quantised so; heads that the ranks cannot
            share evenly.
        DocumentError: a file that is not there or cannot be read, or tensors that are not the config's.

    >>> load_cosmos("Cosmos-Predict1-4B/model.pt", config="cosmos-4b", dtype="bfloat16")  # doctest: +SKIP
    """
    require_dtype(dtype)
    require_quantize(quantize, require_device(device), getattr(torch, dtype))
    checkpoint, sizes, names = checked_cosmos(weights, config)
    cuts = cosmos_part(sizes, ranks).cuts
    lazy = LazyWeights(checkpoint, names, dtype=getattr(torch, dtype), device=device, cuts=cuts)
    return Cosmos(sizes, lazy, quantize=quantize, portable=portable, ranks=ranks)


def checked_cosmos(
    weights: str | Path, config: str | Path | CosmosConfig | None = None
) -> tuple[Checkpoint, CosmosConfig, dict[str, str]]:
    """What ``load_cosmos`` loads, and where each tensor is, from headers alone; arguments and errors as there."""
    checkpoint = open_cosmos(weights)
    sizes = _config_for(checkpoint, config)
    names = check_weights(
        checkpoint.headers, _shapes(sizes, checkpoint), source=checkpoint.path, prefixes=PREFIXES, ignored=_IGNORED
    )
    return checkpoint, sizes, names


def compare_cosmos(checkpoint: Checkpoint, config: str | Path | CosmosConfig) -> Comparison:
    """How the tensors of a checkpoint compare with a configuration's; ``config`` as for ``load_cosmos``.

    Raises:
        SpecError: no such config.
        DocumentError: a config that is refused.
    """
    checkpoint = under_released_names(checkpoint)
    sizes = _config_for(checkpoint, config)
    return compare_weights(checkpoint.headers, _shapes(sizes, checkpoint), prefixes=PREFIXES, ignored=_IGNORED)


def cosmos_config(config: str | Path | CosmosConfig) -> CosmosConfig:
    """A configuration: one of ``CONFIGS`` by name, one from a JSON file (``read_cosmos_config``), or as it is.

    Raises:
        SpecError: no such config.
        DocumentError: a file that is refused.
    """
    if isinstance(config, CosmosConfig):
        return config
    if str(config) in CONFIGS:
        return CONFIGS[str(config)]
    if not is_file(config):
        raise SpecError(
            f"expected config to be one of {', '.join(CONFIGS)}, or a file, got config={shown(str(config), 300)}."
        )
    return read_cosmos_config(config)


def read_cosmos_config(path: str | Path) -> CosmosConfig:
    """Read a configuration: a JSON object with the keys of the release's model config, ``training_type`` among them.

    A key that would change the mathematics is refused, and so is one that nobody knows.

    Raises:
        DocumentError: the file cannot be read, or is the config of another model.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _CONFIG_BYTES:
            raise DocumentError(f"expected a config of at most {_CONFIG_BYTES} bytes, got {path} with more.")
        keys = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror}. Check the name and the permissions.") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, DocumentError):
            raise
        raise DocumentError(f"expected a JSON object, got {path}, which is not JSON.") from None
    if not isinstance(keys, dict):
        raise DocumentError(f"expected a JSON object, got {path} with a {type(keys).__name__}.")
    try:
        return _from_release(keys)
    except SpecError as error:
        raise DocumentError(f"{path}: {error}") from None


def _shapes(config: CosmosConfig, checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """The expected shapes; not for a config of far more layers than the file has tensors."""
    if config.n_layers > max(len(checkpoint.headers), 1000):
        raise DocumentError(
            f"expected n_layers={config.n_layers} layers, got {checkpoint.path} with {len(checkpoint.headers)} "
            "tensors. Weights and config must belong together."
        )
    return config.shapes()


def _config_for(checkpoint: Checkpoint, config: str | Path | CosmosConfig | None) -> CosmosConfig:
    if config is not None:
        return cosmos_config(config)
    fitting = [name for name in CONFIGS if not compare_cosmos(checkpoint, name).problems]
    remedy = f"Its shapes are those of {fitting[0]}." if fitting else f"The releases: {', '.join(CONFIGS)}."
    raise SpecError(
        f"expected a config for {checkpoint.path}, got none. {remedy} A file does not tell its latent grid and its "
        "frequency rescale. Give a name or a file as config."
    )


# A configuration


def _from_release(keys: dict[str, Any]) -> CosmosConfig:
    """From the release's keys, each of them accounted for."""
    known = {*_NEEDED, *_SAME, *_FIXED, *_HARMLESS, *_SWITCHES, *_YARN, "context_dim"}
    unknown = sorted(key for key in keys if key not in known)
    if unknown:
        raise SpecError(
            f"expected the keys of a Cosmos model config, got {listed(unknown)}. An unknown key may change the "
            "model. Take it out if it does not."
        )
    missing = [key for key in _NEEDED if keys.get(key) is None]
    if missing:
        raise SpecError(f"expected all sizes of the model, got no {', '.join(missing)}. Add the key.")
    for key, fine in _FIXED.items():
        if keys.get(key) not in fine:
            raise SpecError(
                f"expected {key}={shown(fine[-1])}, got {key}={shown(keys[key])}. Nothing else is computed here."
            )
    for key in _SWITCHES:
        if not isinstance(keys.get(key) or False, bool):
            raise SpecError(f"expected {key} to be true or false, got {shown(keys[key])}.")
    training = keys["training_type"]
    if not isinstance(training, str) or training not in _TRAINING:
        raise SpecError(f"expected training_type to be one of {', '.join(_TRAINING)}, got {shown(training)}.")
    if keys.get("insert_cross_attn") and keys.get("context_dim") is None:
        raise SpecError("expected context_dim beside insert_cross_attn, got none. Add the key.")
    sizes = {key: keys[key] for key in (*_NEEDED[:5], *_SAME) if keys.get(key) is not None}
    return CosmosConfig(
        **sizes,
        video_latent_shape=_grid("video_latent_shape", keys["video_latent_shape"]),
        rescale=_rescale(keys) if keys.get("apply_yarn") else None,
        absolute=keys.get("apply_abs_pos_emb") or False,
        begin_of_video=_TRAINING[training],
        context_dim=keys["context_dim"] if keys.get("insert_cross_attn") else None,
    )


def _rescale(keys: dict[str, Any]) -> FrequencyRescale:
    missing = [key for key in _YARN if keys.get(key) is None]
    if missing:
        raise SpecError(f"expected what apply_yarn needs, got no {', '.join(missing)}. Add the key.")
    frames, rows, _ = _grid("original_latent_shape", keys["original_latent_shape"])
    scale, fast, slow = (keys[key] for key in _YARN[1:])
    return FrequencyRescale(frames=frames, rows=rows, scale=scale, beta_fast=fast, beta_slow=slow)


def _grid(name: str, value: Any) -> tuple[int, int, int]:
    if not isinstance(value, list) or len(value) != 3 or any(type(size) is not int or size < 1 for size in value):
        raise SpecError(f"expected {name} as [frames, rows, columns], got {name}={shown(value)}.")
    frames, rows, cols = value
    return frames, rows, cols
