"""Checkpoints written for tests, in every form that adapters read."""

import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.wham_files import open_wham  # noqa: E402
from diagplan.planner.errors import DocumentError  # noqa: E402
from tests.support.budget import within_budget  # noqa: E402


def write_torch(weights: Mapping[str, Any], path: Path, *, holder: str | None = "state_dict") -> Path:
    torch.save({holder: dict(weights), "epoch": 3} if holder else dict(weights), path)
    return path


def write_safetensors(weights: Mapping[str, Any], path: Path) -> Path:
    from safetensors.torch import save_file

    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)
    return path


def write_folder(weights: Mapping[str, Any], folder: Path, *, shards: int = 1) -> Path:
    folder.mkdir()
    if shards == 1:
        write_safetensors(weights, folder / "model.safetensors")
        return folder
    places = {name: f"model-{i % shards + 1:05d}-of-{shards:05d}.safetensors" for i, name in enumerate(weights)}
    for shard in set(places.values()):
        write_safetensors({name: weights[name] for name in weights if places[name] == shard}, folder / shard)
    write_index(folder, places)
    return folder


def write_index(folder: Path, places: Mapping[str, Any]) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def write_sparse(shapes: Mapping[str, tuple[int, ...]], path: Path) -> Path:
    """A safetensors file in bfloat16 of which only the header takes room on the disk."""
    header: dict[str, Any] = {}
    end = 0
    for name, shape in shapes.items():
        size = 2 * torch.Size(shape).numel()
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
    return path


def rewrite_zip(source: Path, target: Path, change: Any) -> Path:
    """A copy of a torch file with its entries changed: ``change(name, data) -> data`` or ``None``."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            data = change(entry.filename.partition("/")[2], old.read(entry))
            if data is not None:
                new.writestr(entry.filename, data)
    return target


def file_with(pickled: bytes, folder: Path) -> Path:
    """A torch file with another pickle."""
    source = write_torch({"w": torch.zeros(3)}, folder / "source.pt")
    return rewrite_zip(source, folder / "h.pt", lambda name, data: pickled if name == "data.pkl" else data)


def outcome(path: Path) -> str:
    """``"read"``, or the one line of the refusal, which is short and names no lack of memory."""
    try:
        with within_budget():
            open_wham(path)
    except DocumentError as error:
        said = str(error)
        assert len(said) < 600
        assert "MemoryError" not in said
        return said
    return "read"
