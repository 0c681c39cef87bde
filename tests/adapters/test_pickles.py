"""Files of torch.save that were made to harm: nothing in them is run, and each is refused in one line."""

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters.lightning import open_lightning  # noqa: E402
from diagplan.adapters.wham_files import load_wham  # noqa: E402
from diagplan.planner.errors import DocumentError  # noqa: E402
from tests.support.checkpoints import rewrite_zip, write_torch  # noqa: E402
from tests.support.wham import CONFIG, DATA, causal_logits  # noqa: E402
from tests.support.wham_files import WEIGHTS  # noqa: E402


class Malicious:
    """Unpickled by a reader that runs code, it leaves a file behind."""

    def __init__(self, call: Any, *args: Any) -> None:
        self.call, self.args = call, args

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.args


class MaliciousState:
    """The same by the state that is set, for readers that look at REDUCE only."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (), None, None, iter([(Malicious(os.mkdir, str(self.witness)), 1)])


@pytest.mark.parametrize("place", ["hyper_parameters", "state_dict", "callbacks", "key", "called"])
def test_nothing_is_executed(place: str, tmp_path: Path) -> None:
    """Whatever a pickle asks to be called, is not, and the tensors beside it are read."""
    witness, path = tmp_path / "witness", tmp_path / "w.ckpt"
    evil: Any = Malicious(os.system, f"touch {witness}")
    held: dict[str, Any] = {"state_dict": dict(WEIGHTS), "hyper_parameters": {}, "callbacks": {}}
    match place:
        case "state_dict":
            held["state_dict"]["context_encoders.evil"] = evil
        case "key":
            held["callbacks"] = [MaliciousState(witness)]
        case "called":
            held["callbacks"] = [Malicious(eval, f"open({str(witness)!r}, 'w').close()"), Malicious(exec, "1/0")]
        case _:
            held[place]["x"] = evil
    torch.save(held, path)
    model = load_wham(path, config=CONFIG)
    np.testing.assert_allclose(causal_logits(model, DATA["ids"]), DATA["logits"], atol=2e-5, rtol=0)
    assert not witness.exists()
    # The trap works: an ordinary unpickler does run it.
    with pytest.raises(ZeroDivisionError) if place == "called" else contextlib.nullcontext():
        torch.load(path, weights_only=False)
    assert witness.exists()


def opcodes(*parts: bytes) -> bytes:
    """A pickle of a dict whose state_dict is what the opcodes leave on the stack."""
    return b"\x80\x02}X\x0a\x00\x00\x00state_dict" + b"".join(parts) + b"s."


GLOBAL_TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"


@pytest.mark.parametrize(
    "pickled",
    [
        opcodes(b"\x82\x01"),  # an extension code
        opcodes(b"r\xff\xff\xff\xff"),  # a memo index for which the C reader would take 64 GB
        opcodes(GLOBAL_TENSOR, b")R"),  # a tensor of nothing
        opcodes(GLOBAL_TENSOR, b"}b"),  # state set on a function
        opcodes(b"cposix\nsystem\nX\x02\x00\x00\x00id\x85R"),
        opcodes(b"(X\x02\x00\x00\x00idiposix\nsystem\n"),
        opcodes(b"(cposix\nsystem\nX\x02\x00\x00\x00ido"),
        opcodes(b"ccollections\nOrderedDict\nK\x01\x85R"),
        opcodes(b"X\x01\x00\x00\x00aQ"),  # a persistent id that is none
        opcodes(b"\x96\xff\xff\xff\xff\xff\xff\xff\x0f"),  # a byte array of an exabyte
        opcodes(b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"),  # a text of eight exabytes
        opcodes(b"})", b"\x85" * 900_000, b"Ns"),  # a key 900,000 tuples deep: hashing it takes the C stack
        opcodes(b"})", b"2\x86" * 60, b"Ns"),  # a key of 2^60 parts: hashing it never ends
        opcodes(b"})", b"2\x86" * 60, b"Q"),  # the same as the name of a storage
        opcodes(b"](})", b"\x85" * 900_000, b"Nue"),
        opcodes(b"]K\x01Ns"),  # an item of a list
        b"\x80\x02N.",
        b"\x80\x09.",
        b".",
        b"",
        b"garbage",
    ],
)
def test_hostile_pickles_are_one_line(pickled: bytes, tmp_path: Path) -> None:
    source = write_torch({"w": torch.zeros(3)}, tmp_path / "w.ckpt")
    path = rewrite_zip(source, tmp_path / "h.ckpt", lambda name, data: pickled if name == "data.pkl" else data)
    with pytest.raises(DocumentError) as caught:
        open_lightning(path)
    assert "\n" not in str(caught.value)
    assert "expected a Lightning checkpoint" in str(caught.value)


@pytest.mark.parametrize(
    "tensor",
    [
        {"offset": 1}, {"offset": -1}, {"size": (4, 4)}, {"size": (-1, 3)}, {"size": (12,)}, {"stride": (4, 1)},
        {"stride": (0, 0), "size": (10**9, 10**9)}, {"size": (2**62, 2**62), "stride": (0, 1)}, {"offset": True},
        {"numel": 10**12}, {"numel": -1}, {"kind": "nothing"}, {"key": "7"}, {"dtype": "QUInt8Storage"}, {"size": "ab"},
    ],
    ids=str,
)  # fmt: skip
def test_tensors_outside_their_bytes(tensor: dict[str, Any], tmp_path: Path) -> None:
    """A storage of 12 numbers, described wrongly."""
    said: dict[str, Any] = {
        "offset": 0,
        "size": (4, 3),
        "stride": (3, 1),
        "numel": 12,
        "kind": "storage",
        "key": "0",
    } | tensor
    dtype = said.get("dtype", "FloatStorage")
    body = pickle.dumps((said["kind"],), 2)[2:-1]  # a tuple, without protocol and end
    parts = [GLOBAL_TENSOR, b"((", body[body.index(b"X") : body.index(b"X") + 5 + len(said["kind"])]]
    parts += [f"ctorch\n{dtype}\n".encode()]
    parts += [pickle.dumps(value, 2)[2:-1] for value in (said["key"], "cpu", said["numel"])]
    parts += [b"tQ", *(pickle.dumps(said[name], 2)[2:-1] for name in ("offset", "size", "stride")), b"tR"]
    good = opcodes(b"}X\x01\x00\x00\x00w", *parts, b"s")
    source = write_torch({"w": torch.arange(12.0).view(4, 3)}, tmp_path / "w.ckpt")
    path = rewrite_zip(source, tmp_path / "h.ckpt", lambda name, data: good if name == "data.pkl" else data)
    with pytest.raises(DocumentError, match="expected a Lightning checkpoint"):
        open_lightning(path)


@pytest.mark.parametrize(
    ("module", "name"), [("posix", "uint16"), ("posix", "chosen"), ("torch", "chosen"), ("torch", "nn"), ("torch", "d")]
)
def test_a_dtype_is_looked_up_in_a_table(
    module: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch imports submodules when it is asked for a name that it lacks."""
    asked: list[str] = []

    def ask(name: str) -> Any:
        asked.append(name)
        raise AttributeError(name)

    source = write_torch({"w": torch.zeros(3, dtype=torch.uint16)}, tmp_path / "w.ckpt")
    named = f"c{module}\n{name}\n".encode()
    path = rewrite_zip(source, tmp_path / "h.ckpt", lambda _, data: data.replace(b"ctorch\nuint16\n", named))
    assert path.read_bytes().count(named) == 1
    monkeypatch.setattr(torch, "__getattr__", ask)
    with pytest.raises(DocumentError, match="a tensor of no dtype that is known"):
        open_lightning(path)
    assert asked == []
