"""Damaged safetensors: one file, shards with an index, a converted WHAM; their headers by structure."""

import contextlib
import json
import math
import struct
import warnings
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from diagplan import Diagonal, Layout, compile_plan
from diagplan.adapters.cosmos_files import open_cosmos
from diagplan.adapters.mc_ar import random_weights
from diagplan.adapters.mc_ar_files import load_mc_ar
from diagplan.adapters.weights import Checkpoint, open_checkpoint
from diagplan.adapters.wham_files import NOTES_KEY, checked_wham, notes_text
from diagplan.backends.replay import new_state, prepare, replay
from diagplan.planner.errors import DiagplanError
from tests.search.damage import INTEGERS, hurt_bytes, hurt_json, hurt_value
from tests.search.guard import Different
from tests.support.families import GPT, LLAMA

__all__ = ["safetensors", "shards", "wham_safetensors"]

_PLAN = compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=2))
_TYPES: Mapping[str, tuple[str, int]] = {
    "F64": ("<f8", 8), "F32": ("<f4", 4), "F16": ("<f2", 2), "I64": ("<i8", 8), "I32": ("<i4", 4), "U8": ("|u1", 1)
}  # fmt: skip


@cache
def _base() -> bytes:
    return save(random_weights(LLAMA), metadata={"format": "pt"})


@cache
def _wham() -> bytes:
    torch.manual_seed(0)
    weights = {f"predictor.gpt_model.{name}": torch.randn(shape) * 0.1 for name, shape in GPT.shapes().items()}
    weights["predictor.gpt_model.lm_head.weight"] = weights["predictor.gpt_model.transformer.wte.weight"].clone()
    return save(weights, metadata={NOTES_KEY: notes_text(GPT, 16)})


def _split(data: bytes) -> tuple[Any, bytes]:
    size = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def _joined(header: bytes, body: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", (len(header) if length is None else length) % (1 << 64)) + header + body


def _hurt(rng: Random, data: bytes) -> bytes:
    """The file with its header changed by structure, or its bytes."""
    header, body = _split(data)
    length = None
    names = [name for name in header if name != "__metadata__"]
    kind = rng.randrange(12)
    if kind == 0:
        return hurt_bytes(rng, data)
    if kind == 1:
        length = rng.choice((*INTEGERS, len(data) - 8, len(data)))
    if kind == 2:
        return _joined(hurt_json(rng, header), body)
    if kind == 3:
        header = hurt_value(rng, header)
    if kind == 4:  # weights that are no numbers
        at = 4 * rng.randrange(len(body) // 4)
        body = body[:at] + struct.pack("<f", rng.choice((math.nan, math.inf, 1e38))) + body[at + 4 :]
    if kind == 5:  # padding
        return _joined(json.dumps(header).encode() + b" " * rng.choice((1, 8, 1000, 1 << 16)), body)
    if kind >= 6:
        for _ in range(rng.choice((1, 1, 2))):
            _hurt_entry(rng, header, rng.choice(names), rng.choice(names))
    return _joined(json.dumps(header).encode(), body, length)


def _hurt_entry(rng: Random, header: Any, name: str, other: str) -> None:
    """One tensor of a header renamed, retyped, reshaped, moved, or made of another's bytes."""
    entry = header.get(name)
    if entry is None:
        return
    begin, end = entry["data_offsets"]
    match rng.randrange(8):
        case 0:
            header[rng.choice((name + "x", "", "x" * 1000, "\ud800", f"transformer.{name}"))] = header.pop(name)
        case 1:
            entry["dtype"] = rng.choice((*_TYPES, "BF16", "BOOL", "F8_E4M3", "C64", "f32", "", "X" * 500))
        case 2:
            entry["shape"] = entry["shape"][::-1]
        case 3:
            entry["shape"] = [rng.choice(INTEGERS) for _ in range(rng.choice((0, 1, 2, 70)))]
        case 4:
            entry["data_offsets"] = [rng.choice((begin, *INTEGERS)), rng.choice((end, *INTEGERS))]
        case 5 if other in header:
            entry["data_offsets"] = header[other]["data_offsets"]
        case 6:
            entry["data_offsets"] = [end, begin]
        case _:
            header[f"{name}.copy"] = json.loads(json.dumps(entry))


def _require_read(checkpoint: Checkpoint, files: Mapping[str, bytes]) -> None:
    """Every tensor that opened is what its file's header says of its file's bytes."""
    for name, header in checkpoint.headers.items():
        tensor = checkpoint.read(name)
        if tuple(tensor.shape) != header.shape:
            raise Different(f"{name} has {list(tensor.shape)} and was announced as {header}")
        for data in files.values():
            said, body = _split(data)
            if name in said and said[name]["dtype"] in _TYPES:
                entry = said[name]
                held = np.frombuffer(body[slice(*entry["data_offsets"])], _TYPES[entry["dtype"]][0])
                if not np.array_equal(tensor.numpy().ravel().view(held.dtype), held, equal_nan=True):
                    raise Different(f"{name} was read as other numbers")


def safetensors(rng: Random, folder: Path) -> tuple[int, int]:
    """One file; what is loaded of it replays or says that its logits are not finite."""
    path = folder / "x.safetensors"
    data = _hurt(rng, _base())
    path.write_bytes(data)
    checkpoint = open_checkpoint(path)
    _require_read(checkpoint, {"x": data})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = load_mc_ar(path, config=LLAMA)
    prepared = prepare(_PLAN, model, batch=1)
    with contextlib.suppress(DiagplanError):  # not finite
        tokens = replay(prepared, new_state(prepared, np.array([[1]]))).tokens
        if not ((tokens >= 0) & (tokens < LLAMA.vocab_size)).all():
            raise Different(f"tokens {tokens.tolist()}")
    return 1, 1


def shards(rng: Random, folder: Path) -> tuple[int, int]:
    """A folder of two shards and their index."""
    header, body = _split(_base())
    header.pop("__metadata__", None)
    names = list(header)
    files, places = {}, {}
    for number in range(2):
        part, pieces, at = {}, [], 0
        for name in names[number::2]:
            begin, end = header[name]["data_offsets"]
            part[name] = header[name] | {"data_offsets": [at, at + end - begin]}
            pieces.append(body[begin:end])
            at += end - begin
            places[name] = f"model-{number + 1:05d}-of-00002.safetensors"
        whole = _joined(json.dumps(part).encode(), b"".join(pieces))
        files[f"model-{number + 1:05d}-of-00002.safetensors"] = _hurt(rng, whole) if rng.random() < 0.2 else whole
    index: Any = {"metadata": {"total_size": 3}, "weight_map": places}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "model.safetensors.index.json").write_bytes(hurt_json(rng, index))
    checkpoint = open_cosmos(folder) if rng.random() < 0.3 else open_checkpoint(folder)
    _require_read(checkpoint, files)
    return 1, 1


def wham_safetensors(rng: Random, folder: Path) -> tuple[int, int]:
    """What ``convert-weights`` writes, its notes damaged too."""
    path = folder / "x.safetensors"
    data = _wham()
    if rng.random() < 0.6:
        header, body = _split(data)
        notes = json.loads(header["__metadata__"][NOTES_KEY])
        header["__metadata__"][NOTES_KEY] = hurt_json(rng, notes).decode("latin1")
        data = _joined(json.dumps(header).encode(), body)
    else:
        data = _hurt(rng, data)
    path.write_bytes(data)
    checkpoint, config, names = checked_wham(path)
    if set(names) != set(config.shapes()):
        raise Different("other tensors than the configuration has")
    _require_read(checkpoint, {"x": data})
    return 1, 1
