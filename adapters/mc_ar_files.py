"""MC-AR's files: its configurations as YAML or JSON, and its weights.

Facts: the release's configs/*.yaml hold a Hugging Face LlamaConfig under ``model.params.transformer_config.params``;
a Hugging Face folder holds the same keys in config.json. The release cuts the logits to the first 8,192 entries.
"""

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from diagplan.adapters.contract import Ranks
from diagplan.adapters.devices import DTypeName, require_device, require_dtype
from diagplan.adapters.headers import Comparison, check_weights, compare_weights, listed
from diagplan.adapters.linear import Quantize, require_quantize
from diagplan.adapters.mc_ar import CONFIGS, McAr, McArConfig
from diagplan.adapters.notices import ModelWarning
from diagplan.adapters.parallel_parts import mc_ar_part
from diagplan.adapters.weights import Checkpoint, LazyWeights, open_checkpoint
from diagplan.planner.arguments import is_file
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.extras import missing_packages
from diagplan.planner.layout import MAX_POSITIONS
from diagplan.planner.shown import shown

__all__ = [
    "compare_mc_ar",
    "config_beside",
    "load_mc_ar",
    "open_mc_ar",
    "read_mc_ar_config",
]

#: A release file holds the transformer under ``transformer.`` and may bundle the image tokenizer; older Hugging Face
#: files hold the rotary frequencies, which are computed here.
_PREFIXES = ("transformer.", "")
_IGNORED = ("tokenizer.model.*", "*.rotary_emb.inv_freq")
_TIED = {"lm_head.weight": "model.embed_tokens.weight"}

_CONFIG_BYTES = 1 << 20
#: Of YAML, whose reader is slow, and the values that its aliases make of it; the release's files take 2 KB and 60.
_YAML_BYTES, _YAML_VALUES = 1 << 16, 10_000
_NEEDED = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "vocab_size",
    "max_position_embeddings",
)
_OURS = ("head_dim", "image_vocab", "rope", "rows", "cols", "action_tokens")
#: Keys that change the mathematics, and the values that mean what this adapter computes.
_FIXED: Mapping[str, tuple[Any, ...]] = {
    "architectures": (None, ["LlamaForCausalLM"]),
    "model_type": (None, "llama"),
    "hidden_act": (None, "silu", "swish"),
    "attention_bias": (None, False),
    "mlp_bias": (None, False),
    "is_encoder_decoder": (None, False),
    "quantization_config": (None,),
    "sliding_window": (None,),
}
#: Keys that change nothing in a forward pass: training, generation, bookkeeping.
_HARMLESS = {
    "_attn_implementation", "_attn_implementation_autoset", "_name_or_path", "attention_dropout", "auto_map",
    "bos_token_id", "chunk_size_feed_forward", "dtype", "eos_token_id", "frame", "id2label", "image_num",
    "initializer_range", "label2id", "max_batch_size", "output_attentions", "output_hidden_states", "pad_token_id",
    "pretraining_tp", "problem_type", "return_dict", "token_num", "torch_dtype", "torchscript",
    "transformers_version", "use_cache",
}  # fmt: skip
_ROPE = ("rope_theta", "rope_type", "type")
#: LlamaConfig's own values where a file leaves them out; they differ from McArConfig's, which are the release's.
_LLAMA_EPS, _LLAMA_THETA = 1e-6, 10_000.0
_RELEASE_VOCAB, _RELEASE_IMAGE_VOCAB = 8262, 8192


def load_mc_ar(
    weights: str | Path,
    *,
    config: str | Path | McArConfig | None = None,
    dtype: DTypeName = "float32",
    device: str = "cpu",
    quantize: Quantize | None = None,
    portable: bool = False,
    ranks: Ranks | None = None,
) -> McAr:
    """Load a model. The tensors are checked by name and shape before the first is read, then read one at a time.

    Args:
        weights: a release ``.ckpt``, a ``.safetensors`` file, or a folder of a Hugging Face LlamaForCausalLM.
        config: a name of ``CONFIGS``, a YAML or JSON file, a ``McArConfig``, or ``None`` where a config.json lies in
            the folder of the weights.
        dtype: of the model, whatever the file's.
        device: ``"cpu"``, ``"cuda"``, ...
        quantize: ``"int8"``: int8 products on an x86 CPU, float32 elsewhere in the model.
        portable: leave the weights in no machine's own order, as ONNX export needs them.
        ranks: of which this process is one: it reads its part of the tensors and no more.

    Raises:
        SpecError: no such config, dtype or device, or one that cannot be quantised so; heads that the ranks cannot
            share evenly.
        DocumentError: a file that cannot be read, a config of another model, or tensors that are not the config's.

    Warns:
        ModelWarning: the config does not say which ids are image ids, so that image slots may yield those of actions.

    >>> load_mc_ar("700M_16f.ckpt", config="700M_16f", dtype="bfloat16")  # doctest: +SKIP
    """
    require_dtype(dtype)
    require_quantize(quantize, require_device(device), getattr(torch, dtype))
    checkpoint, sizes, names = open_mc_ar(weights, config)
    _warn_of_open_vocabulary(sizes)
    cuts = mc_ar_part(sizes, ranks).cuts
    lazy = LazyWeights(checkpoint, names, dtype=getattr(torch, dtype), device=device, cuts=cuts)
    return McAr(sizes, lazy, quantize=quantize, portable=portable, ranks=ranks)


def _warn_of_open_vocabulary(config: McArConfig) -> None:
    """Image slots may yield any id where no image_vocab bounds them; without action tokens there are no others."""
    if config.image_vocab is None and config.action_tokens:
        warnings.warn(
            f"expected image_vocab in the config of a model with {config.action_tokens} action tokens between frames, "
            f"got none. All {config.vocab_size} ids count as image ids, so an image slot may yield an action's. "
            "Put image_vocab, the number of image ids, into the config.",
            ModelWarning,
            stacklevel=3,
        )


def open_mc_ar(
    weights: str | Path, config: str | Path | McArConfig | None = None
) -> tuple[Checkpoint, McArConfig, dict[str, str]]:
    """What ``load_mc_ar`` loads, and where each tensor is, from headers alone; arguments and errors as there."""
    checkpoint = open_checkpoint(weights)
    sizes, tied = _config_for(checkpoint, config)
    names = check_weights(
        checkpoint.headers,
        _shapes(sizes, checkpoint),
        source=checkpoint.path,
        prefixes=_PREFIXES,
        aliases=_TIED if tied else None,
        ignored=_IGNORED,
    )
    return checkpoint, sizes, names


def read_mc_ar_config(path: str | Path) -> McArConfig:
    """Read a configuration: the release's YAML, or a Hugging Face config.json, with ``rope`` and the grid if given.

    Keys are LlamaConfig's and McArConfig's. A key that would change the mathematics is refused, and so is one that
    nobody knows. ``image_vocab``, where not given, is 8,192 for the release's vocabulary of 8,262, else all of it.

    Raises:
        DocumentError: the file cannot be read, or is the config of another model.
        MissingExtraError: a YAML file without the extra ``torch``.
    """
    return _read_config(Path(path))[0]


def compare_mc_ar(checkpoint: Checkpoint, config: str | Path | McArConfig) -> Comparison:
    """How the tensors of a checkpoint compare with a configuration's; ``config`` as for ``load_mc_ar``.

    Raises:
        SpecError: no such config.
        DocumentError: a config that is refused.
    """
    sizes, tied = _config_for(checkpoint, config)
    return compare_weights(
        checkpoint.headers,
        _shapes(sizes, checkpoint),
        prefixes=_PREFIXES,
        aliases=_TIED if tied else None,
        ignored=_IGNORED,
    )


def config_beside(checkpoint: Checkpoint) -> Path | None:
    """The config.json in the folder of the weights, if there is one."""
    path = checkpoint.files[0].with_name("config.json")
    return path if path.is_file() else None


def _shapes(config: McArConfig, checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """The expected shapes; not for a config of far more layers than the file has tensors."""
    if config.num_hidden_layers > max(len(checkpoint.headers), 1000):
        raise DocumentError(
            f"expected num_hidden_layers={config.num_hidden_layers} layers, got {checkpoint.path} with "
            f"{len(checkpoint.headers)} tensors. Weights and config must belong together."
        )
    return config.shapes()


def _config_for(checkpoint: Checkpoint, config: str | Path | McArConfig | None) -> tuple[McArConfig, bool]:
    """The configuration, and whether the head is the embedding."""
    if isinstance(config, McArConfig):
        return config, False
    if config is not None and str(config) in CONFIGS:
        return CONFIGS[str(config)], False
    if config is not None:
        path = Path(config)
        if not is_file(path):
            raise SpecError(
                f"expected config to be one of {', '.join(CONFIGS)}, or a file, got config={shown(str(config), 300)}."
            )
        return _read_config(path)
    beside = config_beside(checkpoint)
    if beside is not None:
        return _read_config(beside)
    fitting = [name for name in CONFIGS if not compare_mc_ar(checkpoint, name).problems]
    remedy = f"Its shapes are those of {' and '.join(fitting)}." if fitting else f"The releases: {', '.join(CONFIGS)}."
    raise SpecError(
        f"expected a config for {checkpoint.path}, got none, and no config.json lies beside it. {remedy} "
        "Give a name or a file as config."
    )


def _read_config(path: Path) -> tuple[McArConfig, bool]:
    try:
        if path.stat().st_size > _CONFIG_BYTES:
            raise DocumentError(f"expected a config of at most {_CONFIG_BYTES} bytes, got {path} with more.")
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        if isinstance(error, DocumentError):
            raise
        reason = (isinstance(error, OSError) and error.strerror) or "it is not UTF-8 text"
        raise DocumentError(f"cannot read {path}: {reason}. Check the name and the permissions.") from None
    try:
        return _from_llama(_llama_mapping(_parse(text, path)))
    except (SpecError, RecursionError) as error:
        raise DocumentError(f"{path}: {error}") from None


def _parse(text: str, path: Path) -> Any:
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DocumentError(f"expected a JSON object, got {path}, which is not JSON ({_line(error)}).") from None
    try:
        yaml = import_module("yaml")
    except ImportError:
        raise missing_packages("a YAML config", ["yaml"]) from None
    try:
        if len(text) > _YAML_BYTES:
            raise ValueError(f"more than {_YAML_BYTES:,} characters")
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        _values(node, {})
        return None if node is None else loader.construct_document(node)
    except Exception as error:  # its constructors raise almost anything
        raise DocumentError(f"expected plain YAML, got {path}, which is not ({_line(error)}).") from error


def _values(node: Any, known: dict[int, int]) -> int:
    """How many values a node of YAML stands for, each alias of it anew: merges and comparisons cost that much."""
    if id(node) not in known:
        known[id(node)] = _YAML_VALUES  # for an alias within itself
        parts = node.value if isinstance(getattr(node, "value", None), list) else ()
        inner = [part for pair in parts for part in (pair if isinstance(pair, tuple) else (pair,))]
        known[id(node)] = 1 + sum(_values(part, known) for part in inner)
        if known[id(node)] > _YAML_VALUES:
            raise ValueError(f"more than {_YAML_VALUES:,} values, aliases counted as often as they stand")
    return known[id(node)]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _llama_mapping(document: Any) -> dict[str, Any]:
    """The one mapping with ``hidden_size`` in it, at whatever depth."""
    mappings = list(_with_hidden_size(document, "", set()))
    if len(mappings) != 1:
        places = listed([place or "the top" for place, _, _ in mappings], 4) or "none"
        raise SpecError(
            f"expected one mapping with the key hidden_size, got {places}. A config describes one transformer. "
            "Give a file with that part alone."
        )
    _, mapping, target = mappings[0]
    if target not in (None, "transformers.LlamaConfig"):
        raise SpecError(f"expected the sizes of a transformers.LlamaConfig, got target={shown(target)}.")
    return mapping


def _with_hidden_size(node: Any, place: str, seen: set[int]) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Every mapping with that key: where, itself, and the ``target`` beside it. Aliases of YAML count once."""
    if id(node) in seen or not isinstance(node, (dict, list)):
        return
    seen.add(id(node))
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        here = f"{place}{key[:60] if isinstance(key, str) else shown(key)}"
        if isinstance(value, dict) and "hidden_size" in value and id(value) not in seen:
            yield here, value, node.get("target") if isinstance(node, dict) else None
        yield from _with_hidden_size(value, f"{here}.", seen)
    if not place and isinstance(node, dict) and "hidden_size" in node:
        yield "", node, None


def _from_llama(keys: dict[str, Any]) -> tuple[McArConfig, bool]:
    """From LlamaConfig's keys and ours, each of them accounted for."""
    rotary = {"rope_theta": keys.get("rope_theta")} | _rotary(keys, "rope_parameters") | _rotary(keys, "rope_scaling")
    known = {*_NEEDED, *_OURS, *_FIXED, *_HARMLESS, "num_key_value_heads", "rms_norm_eps", "tie_word_embeddings",
             "rope_theta", "rope_parameters", "rope_scaling"}  # fmt: skip
    # A mapping of YAML may have any key.
    unknown = sorted(key if isinstance(key, str) else shown(key) for key in dict[Any, Any](keys) if key not in known)
    if unknown:
        raise SpecError(
            f"expected the keys of a LlamaConfig, got {listed(unknown)}. An unknown key may change the model. "
            "Take it out if it does not."
        )
    missing = [key for key in _NEEDED if keys.get(key) is None]
    if missing:
        raise SpecError(f"expected all sizes of the model, got no {', '.join(missing)}. Add the key.")
    for key, fine in _FIXED.items():
        if keys.get(key) not in fine:
            raise SpecError(
                f"expected {key} to be {' or '.join(repr(value) for value in fine if value is not None) or 'absent'}, "
                f"got {key}={shown(keys[key])}. This adapter computes a plain Llama."
            )
    tied = keys.get("tie_word_embeddings") or False
    if not isinstance(tied, bool):
        raise SpecError(f"expected tie_word_embeddings to be true or false, got {shown(tied)}.")
    if isinstance(keys["max_position_embeddings"], int) and keys["max_position_embeddings"] > MAX_POSITIONS:
        raise SpecError(
            f"expected max_position_embeddings <= {MAX_POSITIONS}, got {shown(keys['max_position_embeddings'])}."
        )
    sizes = {key: keys[key] for key in (*_NEEDED, *_OURS) if keys.get(key) is not None}
    if "image_vocab" not in sizes and sizes["vocab_size"] == _RELEASE_VOCAB:
        sizes["image_vocab"] = _RELEASE_IMAGE_VOCAB
    heads = keys.get("num_key_value_heads")
    config = McArConfig(
        **sizes,
        num_key_value_heads=sizes["num_attention_heads"] if heads is None else heads,
        rms_norm_eps=_positive("rms_norm_eps", keys.get("rms_norm_eps"), _LLAMA_EPS),
        rope_theta=_positive("rope_theta", rotary["rope_theta"], _LLAMA_THETA),
    )
    return config, tied


def _rotary(keys: dict[str, Any], name: str) -> dict[str, Any]:
    """What ``rope_parameters`` (transformers 5) or ``rope_scaling`` say: the base, and that nothing is scaled."""
    rotary = keys.get(name)
    if rotary is None:
        return {}
    kinds = (None, "default")
    if (
        not isinstance(rotary, dict)
        or set(rotary) - set(_ROPE)
        or any(rotary.get(key) not in kinds for key in _ROPE[1:])
    ):
        raise SpecError(
            f"expected {name} without scaling, got {name}={shown(rotary)}. Scaled rotary positions are not computed "
            "here."
        )
    theta = rotary.get("rope_theta")
    if theta is None:
        return {}
    if keys.get("rope_theta") not in (None, theta):
        raise SpecError(f"expected one rope_theta, got {shown(keys['rope_theta'])} and {shown(theta)} in {name}.")
    return {"rope_theta": theta}


def _positive(name: str, value: Any, default: float) -> float:
    """A finite number above 0. YAML reads 1e-5, without a point, as text."""
    if value is None:
        return default
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and number > 0):
        raise SpecError(f"expected {name} to be a number above 0, got {name}={shown(value)}.")
    return number
