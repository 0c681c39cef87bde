"""Damaged files of ``torch.save``: opcodes, announced lengths, storages, zip members; and calls that must never run."""

import io
import pickle
import pickletools
import struct
import warnings
import zipfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import torch

from diagplan.adapters.lightning import open_lightning
from diagplan.adapters.mc_ar import random_weights
from diagplan.adapters.weights import Checkpoint, open_checkpoint
from diagplan.adapters.wham_files import open_wham
from diagplan.planner.errors import DiagplanError
from diagplan.training.runs import Run
from tests.search.damage import INTEGERS, bomb, hurt_bytes
from tests.search.guard import Based, Different
from tests.support.families import LLAMA

__all__ = ["pickles", "training_checkpoint"]

_SETTINGS = {"seed": 0}


@cache
def _weights() -> dict[str, Any]:
    return dict(list(random_weights(LLAMA).items())[:6])


@cache
def _base() -> bytes:
    """A checkpoint as Lightning writes it."""
    data = io.BytesIO()
    extra = {
        "hyper_parameters": {"model_spec": {"model_size": "x", "head_size": 16}},
        "epoch": 3,
        "names": ("a", ["b"]),
    }
    torch.save({"state_dict": _weights(), **extra}, data)
    return data.getvalue()


def _network() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return model, optimizer


@cache
def _run() -> bytes:
    """A checkpoint of a training."""
    model, optimizer = _network()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": 3, "seconds": 1.5, "log": []}
    data = io.BytesIO()
    torch.save(state, data)
    return data.getvalue()


def _calls(canary: Path) -> list[bytes]:
    """Pickles that write a file where anything in them is called."""
    code = f"open({str(canary)!r}, 'w').close()"
    shell = f"touch {canary}"

    def text(value: str) -> bytes:
        return b"X" + struct.pack("<I", len(value.encode())) + value.encode()

    def asked(module: str, name: str, *args: str) -> bytes:
        return f"c{module}\n{name}\n".encode() + b"(" + b"".join(map(text, args)) + b"tR"

    return [
        asked("posix", "system", shell),
        asked("os", "system", shell),
        asked("builtins", "exec", code),
        asked("builtins", "eval", code),
        asked("builtins", "open", str(canary), "w"),
        asked("io", "open", str(canary), "w"),
        asked("torch", "save", "x", str(canary)),
        asked("numpy", "save", str(canary), "x"),
        asked("subprocess", "getoutput", shell),
        b"(" + text(shell) + b"ios\nsystem\n",  # INST
        b"(cos\nsystem\n" + text(shell) + b"o",  # OBJ
        b"\x8c\x02os\x8c\x06system\x93(" + text(shell) + b"tR",  # STACK_GLOBAL
        b"cos\nsystem\n(" + text(shell) + b"t\x81",  # NEWOBJ
        b"cos\nsystem\n(" + text(shell) + b"t}\x92",  # NEWOBJ_EX
        b"ctorch._utils\n_rebuild_from_type_v2\n(cos\nsystem\nctorch\nTensor\n(" + text(shell) + b"t}tR",
        b"ctorch._utils\n_rebuild_parameter\n(" + asked("os", "system", shell) + b"I01\ncollections\nOrderedDict\n)RtR",
        b"cos\nsystem\n" + text(shell) + b"\x85b",  # BUILD
        asked("torch.nn.modules.module", "Module") + text(shell) + b"b",
    ]


def _bombs(rng: Random) -> bytes:
    """A value that is small in the file and large, or deep, or slow to hash, in memory."""
    number = rng.choice((10, 30, 200, 5000))
    return rng.choice(
        (
            b"]" + b"\x94]h\x00ah\x00a" * number,  # lists that hold one list twice
            b")" + b"2\x86" * number,  # pairs of one pair
            b"N" + b"\x85" * number * 10,  # tuples in tuples
            b"]" * number + b"a" * (number - 1),
            b"}(" + b"N" + b"2\x86" * number + b"K\x01u",  # such pairs as a key
            b"(" * number + b"t" * number,
            b"N" + b"2" * number * 100,
            b"r" + struct.pack("<I", 0xFFFFFFFF) + b"N",
            b"N" + b"r" + struct.pack("<I", 0x7FFFFFFF),
            b"Np999999999999\n",
            b"\x8a\xff" + b"\x7f" * 255,
            b"\x8b" + struct.pack("<i", 100_000) + b"\x7f" * 100_000,
            b"L" + b"9" * 100_000 + b"L\n",
            b"\x8e" + struct.pack("<Q", 1 << 40),
            b"\x96" + struct.pack("<Q", rng.choice((1 << 29, 1 << 40))) + b"x",
            b"\x95" + struct.pack("<Q", 1 << 60),
            b"B" + struct.pack("<I", (1 << 31) - 1),
            b"\x82\x01", b"\x84\xff\xff\xff\x7f", b"\x98", b"Q", b"Pabc\n",
        )
    )  # fmt: skip


def _hurt_pickle(rng: Random, data: bytes, canary: Path) -> bytes:
    """Opcodes dropped, repeated, exchanged or put in; numbers, texts and lengths changed; calls and bombs put in."""
    places = [(at, op, arg) for op, arg, at in pickletools.genops(data) if at is not None]
    starts = [at for at, _, _ in places] + [len(data)]
    for _ in range(rng.choice((1, 1, 2, 3))):
        n = rng.randrange(len(places))
        start, end = starts[n], starts[n + 1]
        piece, (_, op, arg) = data[start:end], places[n]
        match rng.randrange(9):
            case 0:
                new = b""
            case 1:
                new = piece * 2
            case 2:
                m = rng.randrange(len(places))
                new = data[starts[m] : starts[m + 1]]
            case 3:
                new = rng.choice(_calls(canary)) + rng.choice((b"0", b"")) + piece
            case 4:
                new = _bombs(rng) + rng.choice((b"0", b"")) + rng.choice((piece, b""))
            case 5 if isinstance(arg, int) and not isinstance(arg, bool):
                new = pickle.dumps(rng.choice((*INTEGERS, arg + 1, arg - 1, -arg)), 2)[2:-1]
            case 5 | 6 if isinstance(arg, str) and op.name == "BINUNICODE":
                text = rng.choice((arg + "x", "", "storage", "0", "1", "cuda:0", "../../x", "é", "x" * 500)).encode()
                new = b"X" + struct.pack("<I", rng.choice((len(text), len(text), len(text), 1 << 31))) + text
            case 6 if op.name == "GLOBAL":
                kinds = ("torch\nDoubleStorage", "torch\nQInt8Storage", "torch._utils\n_rebuild_qtensor", "os\nsystem",
                         "torch._utils\n_rebuild_sparse_tensor", "torch.storage\nUntypedStorage", "torch\nfloat64",
                         "torch._utils\n_rebuild_tensor_v3", "torch\nload", "collections\nOrderedDict")  # fmt: skip
                new = b"c" + rng.choice(kinds).encode() + b"\n"
            case 7:
                new = bytes((rng.choice(_OPCODES),)) + piece[1:]
            case _:
                new = piece + bytes((rng.choice(_OPCODES),))
        data = data[:start] + new + data[end:]
        shift = len(new) - (end - start)
        starts = [at + shift if at >= end else at for at in starts]
    return data


_OPCODES = bytes(ord(op.code) for op in pickletools.opcodes)


def _hurt_file(rng: Random, whole: bytes, canary: Path) -> bytes:
    """A torch file written anew, its pickle, its members or its zip directories damaged."""
    data = io.BytesIO()
    kind = rng.randrange(6)
    with zipfile.ZipFile(io.BytesIO(whole)) as old, zipfile.ZipFile(data, "w") as new:
        entries = old.infolist()
        hurt = rng.choice(entries).filename
        for entry in entries:
            held, name = old.read(entry), entry.filename
            if name.endswith("data.pkl") and kind < 4:
                held = _hurt_pickle(rng, held, canary)
            if kind == 4 and name == hurt:
                match rng.randrange(7):
                    case 0:
                        continue
                    case 1:
                        held = held[: len(held) // 2]
                    case 2:
                        entry.compress_type = zipfile.ZIP_DEFLATED
                    case 3:
                        entry.filename = rng.choice(("x", "../../x", "/x", name + "/", name.upper(), "archive/data/99"))
                    case 4:
                        held = hurt_bytes(rng, held)
                    case 5:
                        other = zipfile.ZipInfo(name)
                        new.writestr(other, hurt_bytes(rng, held))
                    case _:
                        held = b"big" if name.endswith("byteorder") else held * 3
            new.writestr(entry, held)
    made = data.getvalue()
    if kind == 5:
        tail = slice(max(0, len(made) - 1500), None)
        places = bytes(made[tail])
        made = made[: -len(places)] + hurt_bytes(rng, places) if rng.random() < 0.7 else hurt_bytes(rng, made)
        if rng.random() < 0.2:
            names = zipfile.ZipFile(io.BytesIO(whole)).namelist()
            made = bomb(whole, rng.choice(names), 3 << 29)
    return made


def _read_all(checkpoint: Checkpoint, canary: Path) -> None:
    """Every tensor that opened can be read in its shape and dtype, or is refused."""
    for name, header in list(checkpoint.headers.items())[:50]:
        try:
            tensor = checkpoint.read(name)
        except DiagplanError:
            continue
        if (tuple(tensor.shape), str(tensor.dtype)) != (header.shape, f"torch.{header.dtype}"):
            raise Different(f"{name} is {tensor.dtype} {list(tensor.shape)} and was announced as {header}")


def pickles(rng: Random, folder: Path) -> tuple[int, int]:
    """A checkpoint for each of the readers of torch files."""
    path, canary = folder / "x.ckpt", folder / "canary"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        path.write_bytes(_hurt_file(rng, _base(), canary))
    taken = 0
    for reader in (open_checkpoint, lambda p: open_lightning(p).checkpoint, lambda p: open_wham(p)[0]):
        try:
            checkpoint: Checkpoint = reader(path)
        except DiagplanError:
            continue
        finally:
            if canary.exists():
                raise Different("what the file names was called")
        _read_all(checkpoint, canary)
        taken = 3
    return taken, 3


def _training_checkpoint(rng: Random, folder: Path) -> tuple[int, int]:
    """The checkpoint that a training goes on from."""
    canary = folder / "canary"
    run = Run(folder, _SETTINGS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (folder / "checkpoint.pt").write_bytes(_hurt_file(rng, _run(), canary))
    try:
        step = run.resume(*_network())
    finally:
        if canary.exists():
            raise Different("what the file names was called")
    if step < 0 or not all(isinstance(row, dict) for row in run.rows):
        raise Different(f"goes on at step {step} with {run.rows!r:.200}")
    run.write_log()
    return 1, 1


training_checkpoint = Based(_run, _training_checkpoint)
