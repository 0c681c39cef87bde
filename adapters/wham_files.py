"""WHAM's files: the published Lightning checkpoints, and what ``diagplan convert-weights`` makes of them.

Facts: the transformer lies below ``predictor.gpt_model.``, the image tokenizer below ``context_encoders.images.``;
version, biases, sizes and code count show in the tensors, the number of heads does not. Embedding and head are one.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch

from diagplan.adapters.contract import Ranks
from diagplan.adapters.devices import DTypeName, require_device, require_dtype
from diagplan.adapters.headers import Comparison, check_weights, compare_weights
from diagplan.adapters.lightning import open_lightning
from diagplan.adapters.linear import Quantize, require_quantize
from diagplan.adapters.parallel_cuts import Cut
from diagplan.adapters.parallel_parts import wham_part
from diagplan.adapters.pickles import Record, dicts
from diagplan.adapters.weights import Checkpoint, LazyWeights, open_checkpoint
from diagplan.adapters.wham import CONFIGS, Wham, WhamConfig
from diagplan.planner.arguments import exists, is_file
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.shown import shown

__all__ = [
    "NOTES_KEY",
    "PUBLISHER",
    "WhamNotes",
    "checked_wham",
    "compare_wham",
    "load_wham",
    "notes_text",
    "open_wham",
    "read_wham_config",
    "released_configs",
    "require_tied",
    "transformer_names",
    "wham_config_for",
]

PUBLISHER = "Its publisher is microsoft/wham on Hugging Face (WHAM_200M.ckpt, WHAM_1.6B_v1.ckpt)"
#: The key of a converted file's metadata.
NOTES_KEY, NOTES_FORMAT = "diagplan", "diagplan-wham-1"
_CONFIG_BYTES = 1 << 20

_PREFIXES = ("predictor.gpt_model.", "gpt_model.", "")
#: The image tokenizer and what its training left behind; masks of an older version.
_IGNORED = ("context_encoders.*", "*.attn.bias", "*patch_gan.*", "*target_patchgan.*", "*lpips_model.*")
_TIED = {"lm_head.weight": "transformer.wte.weight", "transformer.wte.weight": "lm_head.weight"}
#: Heads by the size's name in the hyper-parameters, and by layers and width.
_HEADS_BY_NAME: Mapping[str, int] = MappingProxyType(
    {"chinchilla-251M": 16, "wham-4kvocab-1.6b": 18, "chinchilla-1018M": 14, "wham-3b": 24}
)
_HEADS: Mapping[tuple[int, int], int] = MappingProxyType(
    {(16, 1024): 16, (24, 2304): 18, (23, 1792): 14, (30, 3072): 24}
)


class WhamNotes(NamedTuple):
    """What a file says beside its tensors; ``None`` where it does not.

    Attributes:
        config: of the transformer, whole.
        n_head: heads of the transformer.
        grid: rows and columns of a frame.
        head_size: width of a head of the image tokenizer.
    """

    config: WhamConfig | None = None
    n_head: int | None = None
    grid: tuple[int, int] | None = None
    head_size: int | None = None


def load_wham(
    weights: str | Path,
    *,
    config: str | Path | WhamConfig | None = None,
    dtype: DTypeName = "float32",
    device: str = "cpu",
    quantize: Quantize | None = None,
    portable: bool = False,
    ranks: Ranks | None = None,
) -> Wham:
    """Load a model. The tensors are checked by name and shape before the first is read, then read one at a time.

    Args:
        weights: a published ``.ckpt``, or a ``.safetensors`` file or folder with the same names. Nothing in it is run.
        config: a ``WhamConfig``; a JSON file of one (``read_wham_config``); a name of ``CONFIGS``, whose version and
            biases give way to the tensors' own; or ``None``: all is taken from tensors and hyper-parameters.
        dtype: of the model, whatever the file's.
        device: ``"cpu"``, ``"cuda"``, ...
        quantize: ``"int8"``: int8 products on an x86 CPU, float32 elsewhere in the model.
        portable: leave the weights in no machine's own order, as ONNX export needs them.
        ranks: of which this process is one: it reads its part of the tensors and no more.

    Raises:
        SpecError: no such config, dtype or device, or sizes that the file does not tell; heads that the ranks cannot
            share evenly.
        DocumentError: a file that is missing or cannot be read, tensors that are not the config's, or a head that
            differs from the embedding.

    >>> load_wham("WHAM_200M.ckpt", dtype="bfloat16")  # doctest: +SKIP
    """
    require_dtype(dtype)
    require_quantize(quantize, require_device(device), getattr(torch, dtype))
    checkpoint, sizes, names = checked_wham(weights, config)
    cuts = wham_part(sizes, ranks).cuts
    require_tied(checkpoint, names, cuts.get("lm_head.weight"))
    lazy = LazyWeights(checkpoint, names, dtype=getattr(torch, dtype), device=device, cuts=cuts)
    return Wham(sizes, lazy, quantize=quantize, portable=portable, ranks=ranks)


def checked_wham(
    weights: str | Path, config: str | Path | WhamConfig | None = None
) -> tuple[Checkpoint, WhamConfig, dict[str, str]]:
    """What ``load_wham`` loads, and where each tensor is, from headers alone; arguments and errors as there."""
    checkpoint, notes = open_wham(weights)
    sizes = wham_config_for(checkpoint, notes, config)
    return checkpoint, sizes, transformer_names(checkpoint, sizes)


def open_wham(path: str | Path) -> tuple[Checkpoint, WhamNotes]:
    """Open a checkpoint and read what it says of itself; reads headers and no tensor, runs nothing.

    Raises:
        DocumentError: a file that is missing or cannot be read.
    """
    path = Path(path)
    if not exists(path):
        raise DocumentError(
            f"expected the checkpoint of a WHAM, got weights={shown(str(path), 300)}, where no file is. {PUBLISHER}."
        )
    if _is_zip(path):
        file = open_lightning(path)
        return file.checkpoint, _notes_of(file.hyper_parameters)
    checkpoint = open_checkpoint(path)
    return checkpoint, _notes_in_metadata(checkpoint)


def wham_config_for(
    checkpoint: Checkpoint, notes: WhamNotes, config: str | Path | WhamConfig | None = None
) -> WhamConfig:
    """The configuration of a checkpoint's transformer; ``config`` as for ``load_wham``.

    Raises:
        SpecError: no such config, or sizes that the file does not tell.
        DocumentError: a file without a WHAM transformer, or sizes that do not fit together.
    """
    if isinstance(config, WhamConfig):
        return config
    if config is not None and str(config) not in CONFIGS:
        return read_wham_config(config)
    if config is None and notes.config is not None:
        return notes.config
    if config is not None:
        return released_configs(checkpoint)[str(config)]
    shapes = _transformer_shapes(checkpoint)
    version, bias = _version_and_bias(checkpoint)
    numbers = {int(m[1]) for name in shapes if (m := re.match(r"transformer\.h\.(\d{1,6})\.", name))}
    (vocab, width), (positions, _) = shapes["lm_head.weight"], shapes["transformer.wpe.weight"]
    layers = len(numbers)
    heads = notes.n_head or _HEADS.get((layers, width))
    if heads is None:
        raise SpecError(
            f"expected a WHAM whose heads are known, got {layers} layers of width {width} in {checkpoint.path}. Shapes "
            "do not tell heads. Give a JSON file of a WhamConfig as config."
        )
    rows, cols = notes.grid or (18, 30)
    codes = _tokenizer_size(checkpoint, "vq_vae._embedding.weight", vocab - 68)
    cells = _tokenizer_size(checkpoint, "encoder.pos_embeds.weight", rows * cols)
    if (vocab - codes, cells) != (68, rows * cols) or positions % (cells + 16):
        raise SpecError(
            f"expected {rows} x {cols} image tokens and 16 action tokens a frame and 68 action ids, got vocab={vocab}, "
            f"codes={codes}, tokens per image={cells}, positions={positions} in {checkpoint.path}. "
            "Give a JSON file of a WhamConfig as config."
        )
    return WhamConfig(
        n_layer=layers, n_head=heads, n_embd=width, nanogpt_version=version, bias=bias,
        seq_len=positions // (cells + 16), rows=rows, cols=cols, image_codes=codes,
    )  # fmt: skip


def read_wham_config(path: str | Path) -> WhamConfig:
    """Read a configuration: a JSON object with the fields of ``WhamConfig``.

    ``n_layer``, ``n_head`` and ``n_embd`` must be there; the others are the releases' where they are left out.

    Raises:
        SpecError: no such file, nor a released configuration of that name.
        DocumentError: a file that cannot be read, is too large, or has other keys or values.
    """
    place = Path(path)
    if not is_file(place):
        raise SpecError(
            f"expected config to be one of {', '.join(CONFIGS)}, a JSON file or a WhamConfig, got "
            f"config={shown(str(path), 300)}."
        )
    try:
        if place.stat().st_size > _CONFIG_BYTES:
            raise DocumentError(f"expected a config of at most {_CONFIG_BYTES} bytes, got {place} with more.")
        keys = json.loads(place.read_text(encoding="utf-8"))
    except OSError as error:
        raise DocumentError(f"cannot read {place}: {error.strerror}. Check the name and the permissions.") from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, DocumentError):
            raise
        raise DocumentError(f"expected a JSON object, got {place}, which is not JSON.") from None
    known = {entry.name for entry in fields(WhamConfig)}
    if not isinstance(keys, dict) or set(keys) - known:
        wrong = ", ".join(sorted(map(str, set(keys) - known))[:4]) if isinstance(keys, dict) else type(keys).__name__
        raise DocumentError(f"expected the keys {', '.join(sorted(known))}, got {place} with {wrong[:200]}.")
    needed = ("n_layer", "n_head", "n_embd")
    lacking = [name for name in needed if name not in keys]
    if lacking:
        raise DocumentError(
            f"expected the keys {', '.join(needed)} at least, got {place} without {', '.join(lacking)}. Add them."
        )
    try:
        return WhamConfig(**keys)
    except SpecError as error:
        raise DocumentError(f"{place}: {error}") from None


def released_configs(checkpoint: Checkpoint) -> dict[str, WhamConfig]:
    """``CONFIGS`` with the version and the biases that a checkpoint's tensors show."""
    version, bias = _version_and_bias(checkpoint)
    return {name: replace(config, nanogpt_version=version, bias=bias) for name, config in CONFIGS.items()}


def compare_wham(checkpoint: Checkpoint, config: WhamConfig) -> Comparison:
    """How the tensors of a checkpoint compare with a configuration's."""
    return compare_weights(checkpoint.headers, config.shapes(), prefixes=_PREFIXES, aliases=_TIED, ignored=_IGNORED)


def transformer_names(checkpoint: Checkpoint, config: WhamConfig) -> dict[str, str]:
    """Where each tensor of the transformer is: expected name -> name in the checkpoint.

    Raises:
        DocumentError: a tensor is missing, unexpected, mis-shaped or not of a float dtype; all are named at once.
    """
    if config.n_layer > max(len(checkpoint.headers), 1000):
        raise DocumentError(
            f"expected n_layer={config.n_layer} layers, got {checkpoint.path} with {len(checkpoint.headers)} tensors. "
            "Weights and config must belong together."
        )
    try:
        return check_weights(
            checkpoint.headers, config.shapes(), source=checkpoint.path, prefixes=_PREFIXES, aliases=_TIED,
            ignored=_IGNORED,
        )  # fmt: skip
    except DocumentError as error:
        raise DocumentError(f"{error} {PUBLISHER}.") from None


def require_tied(checkpoint: Checkpoint, names: Mapping[str, str], cut: Cut | None = None) -> None:
    """Raise ``DocumentError`` unless embedding and head are the same numbers, as they are in training.

    ``cut``: the part that is compared.
    """
    head, embedding = names["lm_head.weight"], names["transformer.wte.weight"]
    if head != embedding and not torch.equal(checkpoint.read(head, cut=cut), checkpoint.read(embedding, cut=cut)):
        raise DocumentError(
            f"expected {embedding} equal to {head}, got another in {checkpoint.path}. The model has one matrix for "
            f"both. The file was changed or damaged. {PUBLISHER}."
        )


def _version_and_bias(checkpoint: Checkpoint) -> tuple[Literal[1, 2], bool]:
    names = [name for name in checkpoint.headers if "transformer.h.0." in name]
    learned = any(name.endswith("transformer.h.0.ln_1.weight") for name in names)
    return 1 if learned else 2, any(name.endswith("transformer.h.0.attn.c_attn.bias") for name in names)


def _is_zip(path: Path) -> bool:
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror}. Check the permissions.") from None


def _transformer_shapes(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Shapes by the names below the prefix, embedding and head under both names."""
    headers = checkpoint.headers
    wanted = "transformer.wpe.weight"
    prefix = next((prefix for prefix in _PREFIXES if f"{prefix}{wanted}" in headers), None)
    shapes = {}
    if prefix is not None:
        shapes = {name.removeprefix(prefix): h.shape for name, h in headers.items() if name.startswith(prefix)}
        shapes |= {one: shapes[other] for one, other in _TIED.items() if one not in shapes and other in shapes}
    matrices = ("lm_head.weight", wanted)
    if any(len(shapes.get(name, ())) != 2 for name in matrices):
        raise DocumentError(
            f"expected the transformer of a WHAM ({_PREFIXES[0]}{wanted} and more), got {checkpoint.path} with "
            f"{len(headers)} tensors and no such matrix. {PUBLISHER}."
        )
    return shapes


def _tokenizer_size(checkpoint: Checkpoint, name: str, default: int) -> int:
    """Rows of a matrix of the image tokenizer, where the file has one."""
    shapes = [header.shape for other, header in checkpoint.headers.items() if other.endswith(name)]
    return shapes[0][0] if shapes and len(shapes[0]) == 2 else default


def _notes_of(hyper_parameters: Any) -> WhamNotes:
    """Notes of a Lightning checkpoint: the ``model_spec`` of predictor and image tokenizer, wherever they are."""
    sides = ("image_size_per_y_axis", "image_size_per_x_axis")
    by_name: dict[str, set[Any]] = {name: set() for name in ("model_size", "head_size", "patch_size", *sides)}
    for spec in dicts(hyper_parameters):
        for name in by_name.keys() & spec.keys():
            value = spec[name]
            if value is not None:
                by_name[name].add(
                    (value if isinstance(value, str) else None) if name == "model_size" else _number(value)
                )
    heads = {_HEADS_BY_NAME[name] for name in by_name["model_size"] if name in _HEADS_BY_NAME}
    patches, sizes = by_name["patch_size"], by_name["head_size"]
    patch, height, width = (_single(values) for values in (patches, *(by_name[side] for side in sides)))
    grid = (-(-height // patch), -(-width // patch)) if patch and height and width else None
    return WhamNotes(n_head=_single(heads), grid=grid, head_size=_single(sizes))


def _single(values: set[int | None] | set[int]) -> int | None:
    return next(iter(values)) if len(values) == 1 else None


def _number(value: Any) -> int | None:
    """A positive whole number, NumPy's scalars included."""
    if isinstance(value, Record) and value.name.endswith("multiarray.scalar"):
        held = value.args[-1] if isinstance(value.args, tuple) and value.args else None
        value = int.from_bytes(held, "little") if isinstance(held, bytes) and len(held) in (4, 8) else None
    return value if type(value) is int and 0 < value < 1 << 20 else None


def _notes_in_metadata(checkpoint: Checkpoint) -> WhamNotes:
    """Notes of a file that ``diagplan convert-weights`` wrote."""
    with import_module("safetensors").safe_open(checkpoint.files[0], framework="np") as file:
        text = (file.metadata() or {}).get(NOTES_KEY)
    if text is None:
        return WhamNotes()
    try:
        notes = json.loads(text)
        if notes["format"] != NOTES_FORMAT or set(notes["config"]) != {f.name for f in fields(WhamConfig)}:
            raise ValueError("another format")
        return WhamNotes(config=WhamConfig(**notes["config"]), head_size=_number(notes["head_size"]))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DocumentError(
            f"expected notes of `diagplan convert-weights` in {checkpoint.path}, got others ({type(error).__name__}). "
            "Convert the checkpoint again."
        ) from None


def notes_text(config: WhamConfig, head_size: int | None) -> str:
    """The notes of a converted file."""
    return json.dumps({"format": NOTES_FORMAT, "config": asdict(config), "head_size": head_size})
