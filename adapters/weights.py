"""Checkpoints, for any adapter: names, shapes and dtypes first, then the tensors one at a time.

Read are a torch zip file (a state dict, alone or under ``state_dict`` or ``model``), a ``.safetensors`` file, and a
folder with ``model.safetensors`` or with ``model.safetensors.index.json`` and its shards. What a file is, its first
bytes say, never its name. Nothing in a file is executed; a file that cannot be read is one ``DocumentError``.
"""

import json
import pickle
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from diagplan.adapters.headers import AXES, Header, listed
from diagplan.adapters.memory import empty_pages
from diagplan.adapters.parallel_cuts import Cut
from diagplan.adapters.pickles import header_of, mapped, read_pickle
from diagplan.planner.arguments import is_file
from diagplan.planner.errors import DocumentError
from diagplan.planner.extras import missing_packages
from diagplan.planner.shown import shown

__all__ = ["Checkpoint", "LazyWeights", "open_checkpoint"]

_HOLDERS = ("state_dict", "model")
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
#: What is read of an index and of a safetensors header; 20,000 tensors take 3 MB.
_INDEX_BYTES = _HEADER_BYTES = 16 << 20
#: Bytes of a matrix of which columns are read, that are mapped at once, at least; and blocks at most.
_BLOCK, _BLOCKS = 1 << 20, 16
#: Tensors of a checkpoint: each is compared with every configuration of every family.
_TENSORS = 100_000
_SAFETENSORS_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip


class Checkpoint:
    """An opened checkpoint: headers now, tensors when asked for. Made by ``open_checkpoint``.

    Attributes:
        path: the file or folder.
        kind: ``"torch"``, ``"safetensors"`` or ``"sharded safetensors"``.
        files: the files that hold tensors.
        headers: name -> header, in the order of the file.

    ``mapped`` gives a tensor by its name, best as a view of the mapped file; ``part`` a part of one, where that is not
    merely a part of such a view, in memory of its own.

    Raises:
        DocumentError: more than 100,000 tensors, or one of more than 64 axes.
    """

    def __init__(
        self,
        path: Path,
        kind: str,
        files: Sequence[Path],
        headers: Mapping[str, Header],
        mapped: Callable[[str], Tensor],
        part: Callable[[str, Cut], Tensor] | None = None,
    ) -> None:
        if len(headers) > _TENSORS:
            raise DocumentError(f"expected a checkpoint of at most {_TENSORS:,} tensors, got {path} with more.")
        if any(len(header.shape) > AXES for header in headers.values()):
            raise DocumentError(f"expected tensors of at most {AXES} axes, got {path} with one of more.")
        self.path, self.kind, self.files = path, kind, tuple(files)
        self.headers = MappingProxyType(dict(headers))
        self._mapped, self._part = mapped, part

    def read(
        self,
        name: str,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str = "cpu",
        cut: Cut | None = None,
    ) -> Tensor:
        """One tensor, contiguous and in memory of its own; of one that is ``cut`` that part, and no more is read.

        Raises:
            DocumentError: the file is gone or was changed since it was opened.
        """
        try:
            if cut is not None and self._part is not None:
                mapped, expected = self._part(name, cut).detach(), cut.shape(self.headers[name].shape)
            else:
                mapped, expected = self._mapped(name).detach(), self.headers[name].shape
            if tuple(mapped.shape) != expected:
                raise ValueError(f"{name} has changed")
            if cut is not None and self._part is not None:
                return mapped.to(device=device, dtype=dtype).contiguous()  # in memory of its own already
            if cut is not None:
                if cut.axis and mapped.nbytes > _BLOCK:
                    return self._in_blocks(name, mapped.dtype if dtype is None else dtype, device, cut)
                mapped = cut.of(mapped)
        except Exception as error:
            raise _unreadable(self.path, error) from error
        # A copy, always: a view of the mapped file would keep the file's pages, and crash if the file shrinks.
        if torch.device(device).type != "cpu":
            return mapped.to(device=device, dtype=dtype, copy=True).contiguous()
        return empty_pages(mapped.shape, dtype or mapped.dtype).copy_(mapped)

    def _in_blocks(self, name: str, dtype: torch.dtype, device: torch.device | str, cut: Cut) -> Tensor:
        """Columns of a matrix, by blocks of rows: every page has some of them; a block's go with its mapping."""
        whole = self.headers[name].shape
        shape = cut.shape(whole)
        on_cpu = torch.device(device).type == "cpu"
        out = empty_pages(shape, dtype) if on_cpu else torch.empty(shape, dtype=dtype, device=device)
        row = self._mapped(name)[:1].nbytes
        step = max(1, _BLOCK // row, -(-whole[0] // _BLOCKS))
        for first in range(0, whole[0], step):
            out[first : first + step] = cut.of(self._mapped(name).detach()[first : first + step])
        return out


class LazyWeights(Mapping[str, Tensor]):
    """Tensors under the names a model uses, read from the checkpoint each time one is taken, in one dtype.

    Args:
        checkpoint: where they are.
        names: name in the model -> name in the checkpoint, as ``check_weights`` returns it.
        dtype, device: of every tensor.
        cuts: of the tensors of which a part is taken.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        names: Mapping[str, str],
        *,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
        cuts: Mapping[str, Cut] | None = None,
    ) -> None:
        self._checkpoint, self._names, self._dtype, self._device = checkpoint, dict(names), dtype, device
        self._cuts = cuts or {}

    def __getitem__(self, name: str) -> Tensor:
        cut = self._cuts.get(name)
        return self._checkpoint.read(self._names[name], dtype=self._dtype, device=self._device, cut=cut)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def open_checkpoint(path: str | Path, *, foreign: bool = False) -> Checkpoint:
    """Open a checkpoint: reads names, shapes and dtypes, allocates no tensor.

    Args:
        path: the file or folder.
        foreign: take a torch file that names classes which are not torch's (arguments of a training run, beside the
            tensors) as well; they stay names, as ``diagplan.adapters.pickles`` says.

    Raises:
        DocumentError: not a checkpoint, or one that is damaged, cut short, or asks for code to be run.
        MissingExtraError: a safetensors file without the extra ``torch``.
    """
    path = Path(path)
    try:
        if path.is_dir():
            head, inside = b"", sorted(entry.name for entry in path.iterdir())
        else:
            with path.open("rb") as file:
                head, inside = file.read(9), None
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        reason = error.strerror if isinstance(error, OSError) else error
        raise DocumentError(f"cannot read {path}: {reason}. Check the name and the permissions.") from None
    if inside is not None:
        return _open_folder(path, inside)
    if head.startswith(b"PK\x03\x04"):
        return _open_torch(path, foreign=foreign)
    if head[8:9] == b"{":
        headers = _safetensors_headers(path)
        return Checkpoint(path, "safetensors", [path], headers, lambda name: _mapped(path, name))
    raise DocumentError(
        f"expected a torch zip file or a safetensors file, got {path}, which "
        f"{f'begins with {shown(head[:8])}' if head else 'is empty'}. A pickle from before torch 1.6 is not read: load "
        "it where you trust it, and save its state dict as safetensors."
    )


def _open_torch(path: Path, *, foreign: bool) -> Checkpoint:
    """A zip file by ``torch.save``; every tensor is a mapping of its own, which goes with it.

    NOTE: why not torch.load(weights_only=True)? Its unpickler is written for speed: a crafted file crashes the process.
    """
    try:
        held = read_pickle(path, foreign=foreign)
    except Exception as error:
        raise _unreadable(path, error) from error
    for holder in _HOLDERS:
        if isinstance(held, dict) and isinstance(held.get(holder), dict):
            held = held[holder]
            break
    if not isinstance(held, dict) or not all(isinstance(name, str) for name in held):
        raise DocumentError(
            f"expected a dict of tensors by name, got {path} with a {type(held).__name__}. "
            "Save the state dict itself: torch.save({'state_dict': model.state_dict()}, file)."
        )
    headers = {name: header_of(value) for name, value in held.items()}
    return Checkpoint(path, "torch", [path], headers, lambda name: mapped(path, held[name]))


def _safetensors() -> Any:
    try:
        return import_module("safetensors")
    except ImportError:
        raise missing_packages(".safetensors files", ["safetensors"]) from None


def _safetensors_headers(path: Path) -> dict[str, Header]:
    library = _safetensors()
    try:
        with path.open("rb") as file:
            announced = int.from_bytes(file.read(8), "little")
        if announced > _HEADER_BYTES:
            raise ValueError(f"a header of {announced:,} bytes, of at most {_HEADER_BYTES:,}")
        # As NumPy: for torch the file is mapped in a way that Linux refuses where it is larger than the memory.
        with library.safe_open(path, framework="np") as file:
            names = file.keys()
            if len(names) > _TENSORS:
                raise ValueError(f"{len(names):,} tensors, of at most {_TENSORS:,}")
            slices = {name: file.get_slice(name) for name in names}
            return {
                name: Header(tuple(one.get_shape()), _SAFETENSORS_DTYPES.get(one.get_dtype(), one.get_dtype()))
                for name, one in slices.items()
            }
    except Exception as error:
        raise _unreadable(path, error) from error


def _mapped(path: Path, name: str) -> Tensor:
    with _safetensors().safe_open(path, framework="pt") as file:
        tensor: Tensor = file.get_tensor(name)
        return tensor


def _open_folder(folder: Path, inside: Sequence[str]) -> Checkpoint:
    single, index = folder / _SINGLE, folder / _INDEX
    if (_SINGLE in inside) == (_INDEX in inside):
        held = "both" if _SINGLE in inside else listed(inside) or "nothing"
        raise DocumentError(
            f"expected a folder with either {_SINGLE} or {_INDEX}, got {folder} with {held}. "
            "A checkpoint under another name is given by its own path."
        )
    if _SINGLE in inside:
        headers = _safetensors_headers(single)
        return Checkpoint(folder, "safetensors", [single], headers, lambda name: _mapped(single, name))
    places = _weight_map(index)
    shards = {shard: _safetensors_headers(folder / shard) for shard in dict.fromkeys(places.values())}
    headers = {name: header for held in shards.values() for name, header in held.items()}
    astray = [f"{name} in {shard}" for shard, held in shards.items() for name in held if places.get(name) != shard]
    absent = [f"{name} in {shard}" for name, shard in places.items() if name not in shards[shard]]
    if astray or absent:
        raise DocumentError(
            f"expected each tensor where {index} says, got {len(absent)} missing and {len(astray)} unlisted: "
            f"{listed(absent + astray)}. Fetch the index and all shards again, from one place."
        )
    files = {name: folder / shard for name, shard in places.items()}
    opened = [folder / shard for shard in shards]
    return Checkpoint(folder, "sharded safetensors", opened, headers, lambda name: _mapped(files[name], name))


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor -> shard, from an index; a shard is a plain file name, so none lies outside the folder.

    NOTE: why not compare resolved paths? The hub's own cache links every file of a folder to a place outside it.
    """
    try:
        if index.stat().st_size > _INDEX_BYTES:
            raise ValueError(f"more than {_INDEX_BYTES:,} bytes")
        places = json.loads(index.read_bytes())["weight_map"]
        if not isinstance(places, dict) or not places:
            raise ValueError("its weight_map is no mapping")
    except Exception as error:
        raise _unreadable(index, error) from error
    for tensor, shard in places.items():
        if not isinstance(shard, str) or not re.fullmatch(r"[^/\\:\x00]{1,255}", shard) or shard in (".", ".."):
            raise DocumentError(
                f"expected shards by plain file names in {index}, got {listed([tensor])}={shown(shard)}. A shard lies "
                "in the folder of its index. Move it there."
            )
    for shard in set(places.values()):
        if not is_file(index.parent / shard):
            raise DocumentError(
                f"expected the shards that {index} names, got no file {shown(shard)}. Every shard is needed. Fetch it."
            )
    return dict(places)


def _unreadable(path: Path, error: Exception) -> DocumentError:
    """One line for whatever a reader raised: hostile files make them raise almost anything."""
    if isinstance(error, DocumentError):
        return error
    reason = str(error)
    if isinstance(error, pickle.UnpicklingError) and (wants := re.search(r"GLOBAL (\S+)", reason)):
        return DocumentError(
            f"expected a checkpoint of plain tensors, got {path}, which asks for {wants[1][:200]}. Nothing in a "
            "checkpoint is executed. Load it where you trust it, and save its state dict as safetensors."
        )
    reason = reason.strip().partition("\n")[0].partition(". ")[0][:200].rstrip(".")
    return DocumentError(
        f"expected a whole checkpoint, got {path}, which cannot be read ({type(error).__name__}: {reason}). "
        "It is damaged, cut short, or no checkpoint. Fetch or save it again."
    )
