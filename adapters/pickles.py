"""Files of torch.save, read without running them: tensors as views of the file, the rest as inert records.

Such a file holds a pickle, which may name any class. None is imported nor called here: a name in the pickle stays a
name, whatever would be made from it becomes a ``Record``, and no opcode calls anything that the file chooses.
"""

import io
import math
import mmap
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from diagplan.adapters.headers import Header

__all__ = ["Record", "Stored", "field", "header_of", "mapped", "mappings_with", "read_pickle"]

_STORAGES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
        "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
        "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
        "ComplexFloatStorage": torch.complex64, "ComplexDoubleStorage": torch.complex128,
        "UntypedStorage": torch.uint8,
    }
)  # fmt: skip
_DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {
        str(dtype).removeprefix("torch."): dtype
        for dtype in (
            *_STORAGES.values(), torch.uint16, torch.uint32, torch.uint64, torch.complex32, torch.float8_e4m3fn,
            torch.float8_e4m3fnuz, torch.float8_e5m2, torch.float8_e5m2fnuz, torch.float8_e8m0fnu,
            torch.float4_e2m1fn_x2,
        )
    }
)  # fmt: skip
#: The pickle itself, without the tensors' bytes, is far smaller.
_PICKLE_BYTES = 64 << 20
_LOCAL_HEADER = 30
#: Axes of a tensor, and sizes along them: far more, and their product takes for ever.
_AXES, _LARGEST = 64, 1 << 62
#: What a file of tensors alone may name: torch's own, and a few containers.
_KNOWN = {("collections", "OrderedDict"), ("_codecs", "encode"), ("builtins", "set"), ("__builtin__", "set")}


class Record:
    """What stands for an object of the file: what it would have been made from, and its state. It does nothing.

    Attributes:
        name: of its class or function.
        args: what that would have been called with.
        entries: items put into it.
        state: what would have been set on it.
    """

    __slots__ = ("args", "entries", "name", "state")

    def __init__(self, name: str, args: Any) -> None:
        self.name, self.args = name, args
        self.entries: dict[Any, Any] = {}
        self.state: Any = None

    def append(self, value: Any) -> None:
        """Take an element of a list or a set."""
        self.entries[len(self.entries)] = value

    def extend(self, values: Any) -> None:
        """Take elements of a list or a set."""
        for value in values:
            self.append(value)


def field(value: Any, name: str) -> Any:
    """An entry of a dict, or an entry or attribute of a record; ``None`` where there is none."""
    holders = (value.entries, value.state) if isinstance(value, Record) else (value,)
    return next((holder[name] for holder in holders if isinstance(holder, dict) and name in holder), None)


def mappings_with(value: Any, name: str) -> Iterator[Any]:
    """Every dict or record with such an entry, at whatever depth."""
    seen: set[int] = set()
    left = [value]
    while left:
        node = left.pop()
        if id(node) in seen or not isinstance(node, (dict, list, tuple, Record)):
            continue
        seen.add(id(node))
        if field(node, name) is not None:
            yield node
        if isinstance(node, Record):
            left += [node.args, node.entries, node.state]
        else:
            left += list(node.values()) if isinstance(node, dict) else list(node)


def read_pickle(path: Path, *, foreign: bool) -> Any:
    """What a zip file of torch.save holds: dicts, lists, texts, numbers, ``Stored`` tensors and records.

    Args:
        path: of the file.
        foreign: read names that are not torch's own as data, too; else they are refused, and the error names the first.

    Raises:
        Exception: almost any, for a file that is damaged, cut short or hostile.
    """
    return _Unpickler(_entries(path), foreign=foreign).load()


class _Archive(NamedTuple):
    pickle: bytes
    storages: dict[str, tuple[int, int]]  # key -> where its bytes begin in the file, and how many they are


class _Name(NamedTuple):
    module: str
    name: str


class _Storage(NamedTuple):
    dtype: torch.dtype
    start: int
    numel: int


class Stored(NamedTuple):
    """A tensor as the file describes it."""

    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _entries(path: Path) -> _Archive:
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("a compressed entry, which torch never writes")
        (main,) = (entry for entry in entries if entry.filename.endswith("/data.pkl"))
        if main.file_size > _PICKLE_BYTES:
            raise ValueError(f"a pickle of {main.file_size:,} bytes")
        folder = main.filename.removesuffix("data.pkl")
        order = [entry for entry in entries if entry.filename == f"{folder}byteorder"]
        if order and archive.read(order[0]) != b"little":
            raise ValueError("bytes in another order than little-endian")
        storages = {}
        for entry in entries:
            if entry.filename.startswith(f"{folder}data/"):
                file.seek(entry.header_offset)
                head = file.read(_LOCAL_HEADER)
                extra = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
                start = entry.header_offset + _LOCAL_HEADER + extra
                storages[entry.filename.removeprefix(f"{folder}data/")] = start, entry.file_size
        return _Archive(archive.read(main), storages)


class _Unpickler(pickle._Unpickler):
    """Reads a pickle without calling anything that it names.

    NOTE: why not the unpickler in C? Its memo is an array as long as the largest number in the file.
    """

    stack: list[Any]
    pop_mark: Callable[[], list[Any]]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, archive: _Archive, *, foreign: bool) -> None:
        super().__init__(io.BytesIO(archive.pickle))
        self._archive, self._foreign = archive, foreign

    def find_class(self, module: str, name: str) -> _Name:
        """A name, as data."""
        if not self._foreign and module.partition(".")[0] != "torch" and (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")
        return _Name(module, name)

    def get_extension(self, code: int) -> None:
        """Codes of a registry of this process: none is known."""
        raise pickle.UnpicklingError(f"extension code {code}")

    def persistent_load(self, pid: Any) -> _Storage:
        """The bytes behind a tensor, from torch's description of them."""
        kind, named, key, _, numel = pid
        if not isinstance(key, str):
            raise TypeError("a storage without a name")
        if kind != "storage" or named.module not in ("torch", "torch.storage"):
            raise ValueError("a storage that is not torch's")
        dtype = _STORAGES[named.name]
        start, size = self._archive.storages[key]
        if not _whole(numel) or numel * dtype.itemsize > size:
            raise ValueError(f"a storage of {numel} numbers in {size} bytes")
        return _Storage(dtype, start, numel)

    def _made(self, name: Any, args: Any) -> Any:
        match name, args:
            case _Name("torch._utils", "_rebuild_tensor_v2"), (_Storage(), _, _, _, *rest):
                # At the end: that all numbers are negated or conjugated. No such tensor is a weight.
                return Record("torch._utils._rebuild_tensor_v2", args) if any(rest[2:]) else _stored(*args[:4])
            case _Name("torch._utils", "_rebuild_tensor_v3"), (_Storage() as storage, *rest) if len(rest) > 5:
                return _stored(_retyped(storage, rest[5]), *rest[:3])
            case _Name("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state"), (tensor, *_):
                return tensor
            case _Name("torch._tensor", "_rebuild_from_type_v2"), (function, _Name("torch", "Tensor"), inner, *_):
                return self._made(function, inner)
            case _Name("_codecs", "encode"), (str() as text, "latin1"):  # how bytes are pickled in protocol 2
                return text.encode("latin1")
            case _Name("collections", "OrderedDict"), ():
                return {}
            case _Name("collections", "OrderedDict"), (pairs,):
                return _filled({}, [part for key, value in pairs for part in (key, value)])
        return Record(".".join(name) if isinstance(name, _Name) else type(name).__name__, args)

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.stack.append(self._made(klass, tuple(args)))

    def _reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._made(self.stack[-1], args)

    def _reduce_with_keywords(self) -> None:
        self.stack.pop()
        self._reduce()

    def _build(self) -> None:
        state = self.stack.pop()
        value = self.stack[-1]
        if isinstance(value, Record):
            value.state = state

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _filled(self.stack[-1], [key, value])

    def _set_items(self) -> None:
        parts = self.pop_mark()
        _filled(self.stack[-1], parts)

    def _dict(self) -> None:
        self.stack.append(_filled({}, self.pop_mark()))

    def _set(self) -> None:
        self.stack.append(Record("set", ()))

    def _add_items(self) -> None:
        values = self.pop_mark()
        self.stack[-1].extend(values)

    def _frozen_set(self) -> None:
        self.stack.append(Record("frozenset", tuple(self.pop_mark())))

    for _opcode, _done in (
        (pickle.REDUCE, _reduce), (pickle.NEWOBJ, _reduce), (pickle.NEWOBJ_EX, _reduce_with_keywords),
        (pickle.BUILD, _build), (pickle.SETITEM, _set_item), (pickle.SETITEMS, _set_items), (pickle.DICT, _dict),
        (pickle.EMPTY_SET, _set), (pickle.ADDITEMS, _add_items), (pickle.FROZENSET, _frozen_set),
    ):  # fmt: skip
        dispatch[_opcode[0]] = _done


def _filled(target: Any, parts: list[Any]) -> Any:
    """A dict or a record with keys and values put in.

    A key that is no text and no number gives way to a record: deep tuples take for ever to hash, or the whole stack.
    """
    entries = target.entries if isinstance(target, Record) else target
    if not isinstance(entries, dict):
        raise TypeError(f"entries of a {type(target).__name__}")
    for key, value in zip(parts[::2], parts[1::2], strict=True):
        plain = key is None or type(key) in (str, bytes, int, float, bool)
        entries[key if plain else Record("key", key)] = value
    return target


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < _LARGEST


def _retyped(storage: _Storage, kind: Any) -> _Storage:
    """Bytes as numbers of a kind that is named like torch's own."""
    if not isinstance(kind, _Name) or kind.module != "torch" or kind.name not in _DTYPES:
        raise TypeError("a tensor of no dtype that is known")
    dtype = _DTYPES[kind.name]
    return _Storage(dtype, storage.start, storage.numel * storage.dtype.itemsize // dtype.itemsize)


def _stored(storage: _Storage, offset: Any, size: Any, stride: Any) -> Stored:
    """A tensor that lies within its storage and is no larger."""
    size, stride = tuple(size), tuple(stride)
    if not len(size) == len(stride) <= _AXES or not all(map(_whole, (offset, *size, *stride))):
        raise ValueError("a tensor with sizes, strides or an offset that none can have")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) and (last >= storage.numel or math.prod(size) > storage.numel):
        raise ValueError(f"a tensor of size {size} in {storage.numel} numbers")
    return Stored(storage, offset, size, stride)


def header_of(value: Any) -> Header:
    """The header of what stands under a name in a state dict."""
    if isinstance(value, Stored):
        return Header(value.size, str(value.storage.dtype).removeprefix("torch."))
    return Header((), f"{value.name if isinstance(value, Record) else type(value).__name__}, no tensor")


def mapped(path: Path, tensor: Stored) -> Tensor:
    """The tensor as a view of its own mapping of the file, which goes with it."""
    storage = tensor.storage
    if not math.prod(tensor.size):
        return torch.empty(tensor.size, dtype=storage.dtype)
    size = storage.numel * storage.dtype.itemsize
    before = storage.start % mmap.ALLOCATIONGRANULARITY
    with path.open("rb") as file:
        pages = mmap.mmap(file.fileno(), before + size, offset=storage.start - before, access=mmap.ACCESS_COPY)
    flat = torch.frombuffer(pages, dtype=storage.dtype, count=storage.numel, offset=before)
    return flat.as_strided(tensor.size, tensor.stride, tensor.offset)
