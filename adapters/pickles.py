"""Files of torch.save, read without running them: tensors as views of the file, the rest as inert records.

Such a file holds a pickle, which may name any class. None is imported nor called here: a name in the pickle stays a
name, whatever would be made from it becomes a ``Record``, and no opcode calls anything that the file chooses.

A few bytes of a pickle can ask for any amount of work. Here it costs time and memory in proportion to its opcodes and
bytes, both are limited, and nothing is allocated, copied, hashed or formatted in a size that the file announces.
"""

import io
import math
import mmap
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from diagplan.adapters.headers import AXES, Header
from diagplan.adapters.torch_zip import Archive, read_archive
from diagplan.planner.shown import shown

__all__ = ["Record", "Stored", "dicts", "field", "header_of", "mapped", "read_pickle"]

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
#: What is read of a pickle; 20,000 tensors take 640,000.
_OPCODES = 1_000_000
#: An optimizer numbers its parameters, below this; so few that a table of them has no long chains.
_PARAMETERS = 1 << 16
#: Characters of a module's and a class' name; of a text that stands for a few bytes, a number's.
_NAME, _ENCODED = 1000, 64
#: What torch's own functions are called with, at most.
_ARGUMENTS = 16
#: Sizes along an axis: far larger ones, and their product takes for ever.
_LARGEST = 1 << 62
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


def dicts(value: Any) -> Iterator[dict[Any, Any]]:
    """Every dict in a value that is not empty, at whatever depth, each once; a record's entries and state are two."""
    seen: set[int] = set()
    left = [value]
    while left:
        node = left.pop()
        if isinstance(node, Record):
            held: Any = (node.args, node.entries, node.state)
        elif isinstance(node, dict):
            held = node.values()
        elif isinstance(node, (list, tuple)):
            held = node
        else:
            continue
        if not node or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, dict):
            yield node
        left += held


def read_pickle(path: Path, *, foreign: bool) -> Any:
    """What a zip file of torch.save holds: dicts, lists, texts, numbers, ``Stored`` tensors and records.

    Args:
        path: of the file.
        foreign: read names that are not torch's own as data, too; else they are refused, and the error names the first.

    Raises:
        Exception: almost any, for a file that is damaged, cut short or hostile.
    """
    return _Unpickler(read_archive(path), foreign=foreign).load()


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


class _Unpickler(pickle._Unpickler):
    """Reads a pickle without calling anything that it names.

    NOTE: why not the unpickler in C? Its memo is an array as long as the largest number in the file.
    """

    stack: list[Any]
    metastack: list[list[Any]]
    append: Callable[[Any], None]
    read: Callable[[int], bytes]
    readline: Callable[[], bytes]
    pop_mark: Callable[[], list[Any]]
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, archive: Archive, *, foreign: bool) -> None:
        self._file, self._size = io.BytesIO(archive.pickle), len(archive.pickle)
        super().__init__(self._file)
        self._archive, self._foreign = archive, foreign

    def load(self) -> Any:
        """What the pickle leaves on the stack."""
        #: A list: in a dict a file could choose numbers that all collide.
        self.memo: list[Any] = []
        self.stack, self.metastack = [], []
        self.append = self.stack.append
        self.read, self.readline = self._exactly, self._file.readline
        opcode = self._file.read
        for _ in range(_OPCODES):
            key = opcode(1)
            if key == pickle.STOP:
                return self.stack.pop()
            if not key:
                raise EOFError("a pickle without an end")
            self.dispatch[key[0]](self)
        raise pickle.UnpicklingError(f"more than {_OPCODES:,} opcodes")

    def _exactly(self, size: int) -> bytes:
        if size > self._size - self._file.tell():
            raise EOFError(f"{shown(size)} bytes announced, where fewer are left")
        return self._file.read(size)

    def find_class(self, module: str, name: str) -> _Name:
        """A name, as data."""
        if len(module) + len(name) > _NAME:  # it stands in the record of every object that is made from it
            raise pickle.UnpicklingError(f"a name of {len(module) + len(name):,} characters")
        if not self._foreign and module.partition(".")[0] != "torch" and (module, name) not in _KNOWN:
            raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")
        return _Name(module, name)

    def get_extension(self, code: int) -> None:
        """Codes of a registry of this process: none is known."""
        raise pickle.UnpicklingError(f"extension code {shown(code)}")

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
            raise ValueError(f"a storage of {shown(numel)} numbers in {size} bytes")
        return _Storage(dtype, start, numel)

    def _made(self, name: Any, args: Any) -> Any:
        # Few arguments and short ones, of functions that are not this one again: a call from the memo costs two bytes.
        match name, args if isinstance(args, tuple) and len(args) <= _ARGUMENTS else None:
            case _Name("torch._utils", "_rebuild_tensor_v2"), (_Storage(), _, _, _, *rest):
                # At the end: that all numbers are negated or conjugated. No such tensor is a weight.
                return Record("torch._utils._rebuild_tensor_v2", args) if any(rest[2:]) else _stored(*args[:4])
            case _Name("torch._utils", "_rebuild_tensor_v3"), (_Storage() as storage, *rest) if len(rest) > 5:
                return _stored(_retyped(storage, rest[5]), *rest[:3])
            case _Name("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state"), (tensor, *_):
                return tensor
            case _Name("torch._tensor", "_rebuild_from_type_v2"), (
                _Name("torch._utils") as function, _Name("torch", "Tensor"), inner, *_
            ):  # fmt: skip
                return self._made(function, inner)
            case _Name("_codecs", "encode"), (str() as text, "latin1") if len(text) <= _ENCODED:
                return text.encode("latin1")  # how a number's bytes are pickled in protocol 2
            case _Name("collections", "OrderedDict"), ():
                return {}
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

    def _skip_frame(self) -> None:
        self.read(8)  # a hint for reading ahead

    def _byte_array(self) -> None:
        self.append(bytearray(self.read(int.from_bytes(self.read(8), "little"))))

    def _memoize(self) -> None:
        self._remember(len(self.memo))

    def _put_line(self) -> None:
        self._remember(int(self.readline()[:-1]))

    def _put_byte(self) -> None:
        self._remember(self.read(1)[0])

    def _put_long(self) -> None:
        self._remember(int.from_bytes(self.read(4), "little"))

    def _remember(self, number: int) -> None:
        if not 0 <= number <= len(self.memo):
            raise pickle.UnpicklingError(f"memo number {shown(number)} behind {len(self.memo)} others")
        self.memo[number : number + 1] = [self.stack[-1]]

    def _get_line(self) -> None:
        number = int(self.readline()[:-1])
        if number < 0:
            raise pickle.UnpicklingError("a negative memo number")
        self.append(self.memo[number])

    for _opcode, _done in (
        (pickle.FRAME, _skip_frame), (pickle.BYTEARRAY8, _byte_array), (pickle.MEMOIZE, _memoize),
        (pickle.PUT, _put_line), (pickle.BINPUT, _put_byte), (pickle.LONG_BINPUT, _put_long), (pickle.GET, _get_line),
        (pickle.REDUCE, _reduce), (pickle.NEWOBJ, _reduce), (pickle.NEWOBJ_EX, _reduce_with_keywords),
        (pickle.BUILD, _build), (pickle.SETITEM, _set_item), (pickle.SETITEMS, _set_items), (pickle.DICT, _dict),
        (pickle.EMPTY_SET, _set), (pickle.ADDITEMS, _add_items), (pickle.FROZENSET, _frozen_set),
    ):  # fmt: skip
        dispatch[_opcode[0]] = _done


def _filled(target: Any, parts: list[Any]) -> Any:
    """A dict or a record with keys and values put in.

    A key that is no text or small number gives way to a record: deep tuples take for ever to hash, or the whole stack,
    and numbers can be chosen so that they all collide.
    """
    entries = target.entries if isinstance(target, Record) else target
    if not isinstance(entries, dict):
        raise TypeError(f"entries of a {type(target).__name__}")
    for key, value in zip(parts[::2], parts[1::2], strict=True):
        plain = key is None or type(key) in (str, bytes, bool) or (type(key) is int and 0 <= key < _PARAMETERS)
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
    if not isinstance(size, tuple) or not isinstance(stride, tuple):
        raise TypeError("a tensor whose sizes are no tuple")
    if not len(size) == len(stride) <= AXES or not all(map(_whole, (offset, *size, *stride))):
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
