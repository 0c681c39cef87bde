"""Damage to bytes, JSON values and arrays, as the files' judges do it; every choice comes from one source of chance."""

import io
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from random import Random
from typing import Any

import numpy as np

__all__ = [
    "INTEGERS",
    "flip_bytes",
    "hurt_bytes",
    "hurt_json",
    "hurt_value",
    "json_text",
    "npy",
    "put_anywhere",
    "wrong",
]

#: Whole numbers at the edges of what files and machines hold.
INTEGERS: tuple[int, ...] = (
    0, -1, 1, 2, 3, 7, 127, 255, 4096, 65_535, 1 << 20, (1 << 31) - 1, 1 << 31, -(1 << 31), 1 << 32, 1 << 40,
    (1 << 62), (1 << 63) - 1, 1 << 63, -(1 << 63), (1 << 64) - 1, 1 << 64, 10**30, -(10**400),
)  # fmt: skip
_TEXTS = (
    "", " ", "0", "1", "-1", "1e5", "true", "null", "none", "x" * 300, "\x00", "\x1b[31m", "\ud800", "\u202e", "..",
    "../../etc/passwd", "/dev/zero", "http://127.0.0.1:9/x", "%s%n", "a\nb", "{rank}", "int32", "F32",
)  # fmt: skip


def wrong(rng: Random) -> Any:
    """A JSON value that seldom is the right one."""
    draws: Sequence[Callable[[], Any]] = (
        lambda: rng.choice(INTEGERS),
        lambda: rng.choice(INTEGERS),
        lambda: rng.choice((0.0, -0.0, 0.5, 1.0, 2.0, -1.5, 1e-320, 1e308, math.inf, -math.inf, math.nan)),
        lambda: rng.choice(_TEXTS),
        lambda: rng.choice((None, True, False)),
        lambda: rng.choice(([], {}, [[]], [None], {"": {}}, [0] * 1000, {"a": [1, {"b": "c"}]})),
        lambda: nested(rng.choice((3, 70, 500))),
    )
    return rng.choice(draws)()


def nested(depth: int) -> Any:
    """Lists in lists."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every (holder, key) of a JSON value, but not below what is damaged already and deep."""
    left = [value]
    while left:
        holder = left.pop()
        keys = list(holder) if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
        for key in keys:
            yield holder, key
            left.append(holder[key])


def hurt_value(rng: Random, value: Any) -> Any:
    """A copy of a JSON value with one to three places changed: other, dropped, moved, more."""
    value = json.loads(json.dumps(value))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(value))[:20_000]
        if not places or rng.random() < 0.02:
            return wrong(rng)
        holder, key = rng.choice(places)
        other, its = rng.choice(places)
        match rng.randrange(7):
            case 0:
                del holder[key]
            case 1:
                holder[key], other[its] = other[its], holder[key]
                if _is_circular(value):
                    return wrong(rng)
            case 2 if isinstance(holder, list):
                holder.insert(key, wrong(rng))
            case 2:
                holder[rng.choice(("x", "", str(key) * 2, "hidden_size", "version", "__class__"))] = wrong(rng)
            case 3 if isinstance(holder[key], int) and abs(holder[key]) < 1 << 62:
                holder[key] += rng.choice((-1, 1, 0.5, holder[key], 1 << 33))
            case 3 if isinstance(holder[key], str):
                holder[key] += rng.choice(_TEXTS)
            case 4 if isinstance(holder[key], list):
                holder[key] = holder[key] * rng.choice((0, 2, 50))
            case _:
                holder[key] = wrong(rng)
    return value


def _is_circular(value: Any) -> bool:
    try:
        json.dumps(value)
    except (ValueError, RecursionError):
        return True
    return False


def json_text(rng: Random, value: Any) -> bytes:
    """A JSON value as a text, which now and then is no JSON, or unusual JSON."""
    try:
        text = json.dumps(value).encode()
    except RecursionError:  # nests that were moved into nests
        text = b"[" * 3000
    match rng.randrange(30):
        case 0:
            return b"\xef\xbb\xbf" + text
        case 1:
            return text.decode().encode("utf-16")
        case 2:
            return text.replace(b":", b': "twice", "again":', 1)
        case 3:  # a key twice
            return text.replace(b"{", b"{" + text[1 : text.find(b",") + 1], 1) if text.startswith(b"{") else text
        case 4:
            digits = b"9" * rng.choice((500, 5_000, 20_000))
            return put_anywhere(rng, text, digits)
        case 5:
            return b"[" * rng.choice((600, 5_000)) + text
        case 6:
            return b'{"a":' * rng.choice((600, 100_000)) + b"1"
        case 7:
            return put_anywhere(
                rng, text, rng.choice((b"NaN", b"Infinity", b"\xff", b"\x00", b"\\ud800", b"//", b"1e999"))
            )
        case 8 | 9:
            return hurt_bytes(rng, text)
    return text


def hurt_json(rng: Random, value: Any) -> bytes:
    """A damaged JSON value as a text, which may be damaged too."""
    return json_text(rng, value if rng.random() < 0.1 else hurt_value(rng, value))


def flip_bytes(rng: Random, data: bytes, most: int = 4, within: slice = slice(None)) -> bytes:
    """A few bytes of a part exchanged."""
    changed = bytearray(data)
    places = range(*within.indices(len(data)))
    for _ in range(rng.randint(1, most) if places else 0):
        changed[rng.choice(places)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(changed)


def put_anywhere(rng: Random, data: bytes, piece: bytes) -> bytes:
    """A piece put in."""
    at = rng.randint(0, len(data))
    return data[:at] + piece + data[at:]


def hurt_bytes(rng: Random, data: bytes) -> bytes:
    """Bytes flipped, cut off, left out, repeated, put in, or a number written over."""
    at, size = rng.randint(0, len(data)), rng.choice((1, 2, 4, 8, 64, 1000))
    match rng.randrange(8):
        case 0:
            return data[:at]
        case 1:
            return data[:at] + data[at + size :]
        case 2:
            return data[:at] + data[at : at + size] * rng.choice((2, 3, 40)) + data[at + size :]
        case 3:
            return put_anywhere(rng, data, rng.randbytes(size))
        case 4:
            number = rng.choice(INTEGERS) & ((1 << 8 * min(size, 8)) - 1)
            piece = number.to_bytes(min(size, 8), rng.choice(("little", "big")))
            return data[:at] + piece + data[at + len(piece) :]
        case 5:
            return data + rng.randbytes(size)
    return flip_bytes(rng, data)


def bomb(archive: bytes, name: str, size: int) -> bytes:
    """A zip file with one member whose local data unpack to ``size`` zeros, a thousandth as many bytes themselves."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(made, "w") as new:
        for entry in old.infolist():
            if entry.filename != name:
                new.writestr(entry, old.read(entry))
        info = zipfile.ZipInfo(name)
        packed = _zeros(size)
        new.writestr(info, packed)  # stored; then the directories are told that it is deflated
        info.compress_type, info.file_size = zipfile.ZIP_DEFLATED, size
        at = info.header_offset
        new.fp.seek(at)  # type: ignore[union-attr]
        new.fp.write(info.FileHeader())  # type: ignore[union-attr]
        new.fp.seek(new.start_dir)  # type: ignore[union-attr]
    return made.getvalue()


@cache
def _zeros(size: int) -> bytes:
    """A deflated stream of zeros, made of one piece as often as needed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return piece * (size >> 20) + packer.flush()


_DESCRS = (
    "<i8", "<i4", "<i2", "|i1", "|u1", "<u8", ">i8", "<f8", "<f4", "|b1", "|O", "O", "|S5", "<U3", "<M8[s]", "<m8",
    "|V8", "<c16", "<f2", "<i16", "", "x", [["a", "<i8"]], "[('a', '<i8')]", "<i8" * 50, "(2,)i8", None, 3,
)  # fmt: skip


def npy(rng: Random, array: Any) -> bytes:
    """A .npy file of an array, its header damaged by structure: magic, version, length, dtype, order, shape, data."""
    data = np.ascontiguousarray(array)
    header: dict[str, Any] = {"descr": data.dtype.str, "fortran_order": False, "shape": data.shape}
    body = data.tobytes()
    for _ in range(rng.choice((0, 1, 1, 1, 2))):
        match rng.randrange(8):
            case 0:
                header["descr"] = rng.choice(_DESCRS)
            case 1:
                header["fortran_order"] = rng.choice((True, 1, "x", None, [True]))
            case 2:
                shape: list[Any] = list(data.shape)
                shape[rng.randrange(len(shape))] = rng.choice((*INTEGERS, True, 2.0, None, "3"))
                header["shape"] = tuple(shape)
            case 3:
                sizes: tuple[list[int], ...] = (
                    [data.size],
                    [data.size, 1],
                    [*data.shape[::-1]],
                    [1] * 40 + [data.size],
                    [data.size, 0],
                    [],
                )
                header["shape"] = rng.choice(
                    (tuple(rng.choice(sizes)), [*data.shape], data.size, (-1,), (1 << 40, 1 << 40))
                )
            case 4:
                header[rng.choice(("x", "shape ", "descr2"))] = 1
            case 5:
                del header[rng.choice(list(header))]
            case 6:
                body = hurt_bytes(rng, body)
            case _:
                body = body[: rng.randint(0, len(body))] if rng.random() < 0.5 else body * 2
    text = repr(header)
    match rng.randrange(14):
        case 0:
            text = text.replace("(", "(" * rng.choice((1, 300, 3000)), 1)
        case 1:
            text = hurt_bytes(rng, text.encode()).decode("latin1")
        case 2:
            text = rng.choice(
                ("__import__('os').system('true')", "[" * 5000, "{}", "9" * 5000, "1+1j", "{" + "1:" * 900)
            )
    version = rng.choice((1, 1, 1, 1, 2, 2, 3, 0, 255))
    encoded = text.encode("utf-8" if version == 3 else "latin1", "replace") + b"\n"
    width = 2 if version == 1 else 4
    length = len(encoded) if rng.random() < 0.95 else rng.choice((0, 1, 65_535, 9999, (1 << 8 * width) - 1))
    size = (length % (1 << 8 * width)).to_bytes(width, "little")
    whole = b"\x93NUMPY" + bytes((version, rng.choice((0, 0, 0, 0, 0, 1)))) + size + encoded + body
    return hurt_bytes(rng, whole) if rng.random() < 0.1 else whole
