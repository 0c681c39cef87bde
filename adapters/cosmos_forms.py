"""The forms in which Cosmos' tensors come: the released file, safetensors, TransformerEngine's names, shards.

Shards are those of tensor parallelism, a file for each rank: of a part that lies in one of them, no other is read.
Source: cosmos-predict1, autoregressive/utils/checkpoint.py, scripts/merge_autoregressive_tp_checkpoints.py.
"""

import re
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor

from diagplan.adapters.cosmos_config import REPOSITORIES
from diagplan.adapters.headers import Header, listed
from diagplan.adapters.parallel_cuts import Cut
from diagplan.adapters.weights import Checkpoint, open_checkpoint
from diagplan.planner.arguments import exists, is_file
from diagplan.planner.errors import DocumentError

__all__ = ["PREFIXES", "open_cosmos", "under_released_names"]

#: What may stand before the released names.
PREFIXES = ("model.", "")
_MODEL_FILE, _RANK = "model.pt", "{rank}"
_MOST_RANKS = 64

#: Reads a tensor, or a part of it.
_Read = Callable[[Cut | None], Tensor]

#: The axis along which tensor parallelism cuts a weight; norms are whole in every shard.
_CUT = (
    (re.compile(r"(?:tok_embeddings|output)\.weight|.*attention\.w[qkv]\.weight|.*feed_forward\.w[13]\.weight"), 0),
    (re.compile(r".*attention\.wo\.weight|.*feed_forward\.w2\.weight"), 1),
)
#: TransformerEngine's names of the same tensors; fc1 holds w1 above w3.
_ENGINE = {
    "self_attention.layernorm_qkv.layer_norm_weight": "attention_norm.weight",
    "self_attention.layernorm_qkv.query_weight": "attention.wq.weight",
    "self_attention.layernorm_qkv.key_weight": "attention.wk.weight",
    "self_attention.layernorm_qkv.value_weight": "attention.wv.weight",
    "self_attention.proj.weight": "attention.wo.weight",
    "self_attention.q_norm.weight": "attention.q_norm.weight",
    "self_attention.k_norm.weight": "attention.k_norm.weight",
    "inter_attention.layernorm_query.layer_norm_weight": "cross_attention_norm.weight",
    "inter_attention.layernorm_query.query_weight": "cross_attention.wq.weight",
    "inter_attention.key_value.key_weight": "cross_attention.wk.weight",
    "inter_attention.key_value.value_weight": "cross_attention.wv.weight",
    "inter_attention.proj.weight": "cross_attention.wo.weight",
    "inter_attention.q_norm.weight": "cross_attention.q_norm.weight",
    "inter_attention.k_norm.weight": "cross_attention.k_norm.weight",
    "layernorm_mlp.layer_norm_weight": "ffn_norm.weight",
    "layernorm_mlp.fc2_weight": "feed_forward.w2.weight",
}
_ENGINE_FC1 = "layernorm_mlp.fc1_weight"


def open_cosmos(path: str | Path) -> Checkpoint:
    """Open a checkpoint, its tensors under the released names.

    Args:
        path: a ``model.pt`` or ``.safetensors`` file; a folder with ``model.pt``, or with ``model.safetensors`` or its
            index; or the shards of tensor parallelism, as a file name with ``{rank}`` in it.

    Raises:
        DocumentError: nothing is there, or what is there cannot be read, or shards do not fit together.
        MissingExtraError: a safetensors file without the extra ``torch``.
    """
    path = Path(path)
    if _RANK in path.name:
        return _merged(path)
    if not exists(path):
        raise _absent(path)
    inside = path / _MODEL_FILE
    return under_released_names(open_checkpoint(inside if is_file(inside) else path))


def _absent(path: Path) -> DocumentError:
    return DocumentError(
        f"expected the weights of a Cosmos model, got no file {path}. NVIDIA publishes them on Hugging Face, a "
        f"{_MODEL_FILE} in each of {', '.join(REPOSITORIES.values())} (by their 1.0 names "
        "nvidia/Cosmos-1.0-Autoregressive-*). Fetch one, or check the name."
    )


def under_released_names(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint under the released names, where its own are TransformerEngine's."""
    headers: dict[str, Header] = {}
    reads: dict[str, _Read] = {}

    def put(name: str, header: Header, read: _Read) -> None:
        if name in headers:
            raise DocumentError(
                f"expected each tensor once, got {checkpoint.path} with two of {name}, one "
                "by TransformerEngine's name. Save one of them."
            )
        headers[name], reads[name] = header, read

    for name, header in checkpoint.headers.items():
        match = re.fullmatch(r"((?:model\.)?layers\.\d+\.)(.+)", name)
        at, inner = (match[1], match[2]) if match else ("", name)
        if inner == _ENGINE_FC1 and len(header.shape) == 2 and header.shape[0] % 2 == 0:
            half = header.shape[0] // 2
            for part, number in (("w1", 0), ("w3", 1)):
                narrow = Header((half, header.shape[1]), header.dtype)
                read = partial(_rows_read, checkpoint, name, number * half, half)
                put(f"{at}feed_forward.{part}.weight", narrow, read)
        else:
            put(at + _ENGINE.get(inner, inner), header, partial(_read, checkpoint, name))
    if headers.keys() == checkpoint.headers.keys():
        return checkpoint
    return Checkpoint(
        checkpoint.path, checkpoint.kind, checkpoint.files, headers,
        lambda name: reads[name](None), lambda name, cut: reads[name](cut),
    )  # fmt: skip


def _read(checkpoint: Checkpoint, name: str, cut: Cut | None) -> Tensor:
    return checkpoint.read(name, cut=cut)


def _rows_read(checkpoint: Checkpoint, name: str, first: int, rows: int, cut: Cut | None) -> Tensor:
    """A part of some rows of a tensor, which are a weight of their own; ``None``: all of them."""
    if cut is not None and cut.axis == 0:
        return checkpoint.read(name, cut=Cut(0, tuple((first + begin, first + end) for begin, end in cut.ranges)))
    own = checkpoint.read(name, cut=Cut(0, ((first, first + rows),)))
    whole: Tensor = own if cut is None else cut.of(own).clone()
    return whole


def _merged(pattern: Path) -> Checkpoint:
    """The shards of tensor parallelism as one checkpoint."""
    files: list[Path] = []
    for rank in range(_MOST_RANKS):
        file = pattern.with_name(pattern.name.replace(_RANK, str(rank)))
        if not is_file(file):
            break
        files.append(file)
    if not files:
        raise _absent(pattern.with_name(pattern.name.replace(_RANK, "0")))
    shards = [open_checkpoint(file) for file in files]
    first = shards[0].headers
    for shard in shards[1:]:
        if shard.headers.keys() != first.keys():
            other = next(iter(shard.headers.keys() ^ first.keys()))
            raise DocumentError(
                f"expected the same tensors in every shard, got {listed([other])} in one of {files[0]} and "
                f"{shard.path} only. Fetch all shards again, from one place."
            )
    headers = {name: _joined_header(name, [shard.headers[name] for shard in shards], pattern) for name in first}

    def read(name: str) -> Tensor:
        parts = [shard.read(name) for shard in shards]
        axis = _cut_axis(name)
        if axis is not None:
            return torch.cat(parts, dim=axis)
        if not all(torch.equal(part, parts[0]) for part in parts):
            raise ValueError(f"{name} differs between the shards")
        return parts[0]

    def part(name: str, cut: Cut) -> Tensor:
        axis = _cut_axis(name)
        if axis != cut.axis:
            other: Tensor = cut.of(read(name)).clone()
            return other
        ends = list(accumulate(shard.headers[name].shape[axis] for shard in shards))
        pieces = [
            shard.read(name, cut=Cut(axis, ((max(begin, low) - low, min(end, high) - low),)))
            for begin, end in cut.ranges
            for shard, low, high in zip(shards, [0, *ends], ends, strict=False)
            if max(begin, low) < min(end, high)
        ]
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=axis)

    return Checkpoint(pattern, f"{len(files)} tensor-parallel shards", files, headers, read, part)


def _joined_header(name: str, parts: list[Header], pattern: Path) -> Header:
    axis, first = _cut_axis(name), parts[0]
    sizes = list(first.shape)
    if axis is not None and len(sizes) > axis:
        sizes[axis] = sum(part.shape[axis] if len(part.shape) > axis else 0 for part in parts)
    alike = [[n for i, n in enumerate(part.shape) if i != axis] for part in parts]
    if any(rest != alike[0] for rest in alike) or any(part.dtype != first.dtype for part in parts):
        kinds = ", ".join(f"{list(part.shape)} {part.dtype}" for part in parts)
        raise DocumentError(
            f"expected {name} alike in every shard of {pattern}, got {kinds}. Fetch all shards again, from one place."
        )
    return Header(tuple(sizes), first.dtype)


def _cut_axis(name: str) -> int | None:
    inner = name.removeprefix(PREFIXES[0])
    return next((axis for names, axis in _CUT if names.fullmatch(inner)), None)
