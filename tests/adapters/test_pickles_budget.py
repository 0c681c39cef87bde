"""What a pickle may cost: small files that ask for gigabytes and hours are refused, or read, within the budget."""

import struct
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan.adapters import pickles  # noqa: E402
from diagplan.adapters.pickles import Record, dicts, read_pickle  # noqa: E402
from diagplan.adapters.weights import open_checkpoint  # noqa: E402
from diagplan.planner.errors import DocumentError  # noqa: E402
from tests.support.budget import within_budget  # noqa: E402
from tests.support.checkpoints import file_with, outcome, write_torch  # noqa: E402

MIB = 1 << 20
MOST = pickles._OPCODES - 100
NAMED = b"cos\nsystem\n"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
#: A value of 2^60 parts in 121 bytes, of tuples.
SHARED = b")" + b"2\x86" * 60


def held(*parts: bytes) -> bytes:
    """A pickle with what the opcodes leave on the stack as hyper-parameters beside no tensors."""
    return b"\x80\x02}X\x0a\x00\x00\x00state_dict}sX\x10\x00\x00\x00hyper_parameters" + b"".join(parts) + b"s."


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def storage(numel: bytes, key: bytes = text("0")) -> bytes:
    return b"(" + text("storage") + b"ctorch\nFloatStorage\n" + key + text("cpu") + numel + b"tQ"


#: Announced, but not there.
ANNOUNCED = {
    "bytearray8": b"\x96" + struct.pack("<Q", 3 << 30),
    "binunicode8": b"\x8d" + struct.pack("<Q", 3 << 30),
    "binbytes8": b"\x8e" + struct.pack("<Q", 3 << 30),
    "binunicode": b"X" + struct.pack("<I", 3 << 30),
    "long4": b"\x8b" + struct.pack("<i", (2 << 30) - 1),
    "bytearray of an exabyte": b"\x96" + b"\xff" * 8,
}


@pytest.mark.parametrize("kind", ANNOUNCED)
def test_announced_bytes_must_be_there(kind: str, tmp_path: Path) -> None:
    assert "bytes announced, where fewer are left" in outcome(file_with(held(ANNOUNCED[kind]), tmp_path))


#: As many opcodes as are read at all, each of the dearest kind.
DEAR = {
    "memo": b"N" + b"\x94" * MOST,
    "sets": b"](" + b"\x8f" * MOST + b"e",
    "dicts": b"](" + b"}" * MOST + b"e",
    "calls": b"](" + NAMED + b"r\x00\x00\x00\x00)r\x01\x00\x00\x00" + b"h\x00h\x01R" * (MOST // 3) + b"e",
    "tuples in tuples": b"N" + b"\x85" * MOST,
}


@pytest.mark.parametrize("kind", DEAR)
def test_the_dearest_pickle_that_is_read(kind: str, tmp_path: Path) -> None:
    assert outcome(file_with(held(DEAR[kind]), tmp_path)) == "read"


@pytest.mark.parametrize("opcode", [b"\x94", b"N0", b"(1", b"K\x00"])
def test_too_many_opcodes(opcode: bytes, tmp_path: Path) -> None:
    assert "more than 1,000,000 opcodes" in outcome(file_with(held(b"N", opcode * (20 * MIB // len(opcode))), tmp_path))


#: A few bytes that a reader would multiply: by copying, hashing, formatting or recursing.
MULTIPLIED = {
    "pairs of a dict": b"ccollections\nOrderedDict\n\x94(" + b"NN\x86" * 20_000 + b"l\x85\x94"
    + b"0h\x00h\x01R" * 20_000,
    "text as bytes": b"c_codecs\nencode\n\x94(" + text("x" * MIB) + text("latin1") + b"t\x940"
    + b"](" + b"h\x00h\x01R" * 200_000 + b"e",
    "many arguments": TENSOR + b"\x94(" + b"N" * 100_000 + b"t\x940" + b"](" + b"h\x00h\x01R" * 100_000 + b"e",
    "rebuilt by itself": b"ctorch._tensor\n_rebuild_from_type_v2\n\x94ctorch\nTensor\n\x94)"
    + b"".join(b"\x94h\x00h\x01" + b"j" + struct.pack("<I", 2 + n) + b"\x87" for n in range(900))
    + b"\x94](" + (b"h\x00j" + struct.pack("<I", 902) + b"R") * 100_000 + b"e",
    "a long name": b"c" + b"m" * MIB + b"\nx\n\x94(" + b"h\x00)R" * 100_000 + b"l",
    "numbers that collide": b"}(" + b"".join(
        b"\x8a\x0a" + (n * ((1 << 61) - 1)).to_bytes(10, "little") + b"N" for n in range(100_000)) + b"u",
    "numbers of the memo that collide": b"N" + b"".join(b"p%d\n" % (n * ((1 << 61) - 1)) for n in range(100_000)),
    "a storage of shared tuples": storage(SHARED),
    "a scalar of nothing": b"}" + text("patch_size") + b"cnumpy.core.multiarray\nscalar\n)Rs",
}  # fmt: skip


@pytest.mark.parametrize("kind", MULTIPLIED)
def test_little_stays_little(kind: str, tmp_path: Path) -> None:
    outcome(file_with(held(MULTIPLIED[kind]), tmp_path))


@pytest.mark.parametrize(
    ("number", "said"), [("-1", "a negative memo number"), ("9" * 4000, "memo number a number of")]
)
def test_memo_numbers_are_those_of_a_list(number: str, said: str, tmp_path: Path) -> None:
    opcode = b"g" if number.startswith("-") else b"p"
    assert said in outcome(file_with(held(b"N\x94", opcode + number.encode() + b"\n"), tmp_path))


def test_a_name_in_an_error_is_short(tmp_path: Path) -> None:
    path = file_with(b"\x80\x02c" + b"m" * MIB + b"\nx\n.", tmp_path)
    with pytest.raises(DocumentError, match="a name of 1,048,577 characters") as caught, within_budget():
        open_checkpoint(path)
    assert len(str(caught.value)) < 500
    path = file_with(b"\x80\x02c" + b"m" * 900 + b"\nx\n.", tmp_path)
    with pytest.raises(DocumentError, match=r"which asks for m{200}\. Nothing"):
        open_checkpoint(path)


def test_twenty_thousand_tensors_are_read(tmp_path: Path) -> None:
    """As many as no model has, under names as long as they are."""
    tensor = torch.zeros(2, 3)
    names = [f"model.layers.{i // 20}.block.{i % 20}.attention.projection.weight" for i in range(20_000)]
    path = write_torch({name: tensor[i % 2 :] for i, name in enumerate(names)}, tmp_path / "w.pt")
    with within_budget():
        assert list(open_checkpoint(path).headers) == names


def test_more_tensors_than_any_model_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = b"".join(text(f"{i:x}") + b"N" for i in range(100_001))
    path = file_with(b"\x80\x02}(" + entries + b"u.", tmp_path)
    with pytest.raises(DocumentError, match="at most 100,000 tensors"), within_budget():
        open_checkpoint(path)


def test_dicts_come_once_wherever_they_are(tmp_path: Path) -> None:
    record, inner = Record("x", ({"a": 1},)), {"b": 2}
    record.entries, record.state = {"c": inner}, {"d": [inner, (inner,)]}
    top: dict[str, Any] = {"e": record, "f": {}}
    top["g"] = top
    assert sorted("".join(found) for found in dicts(top)) == ["a", "b", "c", "d", "efg"]


def test_large_numbers_as_keys_are_records(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"state": {3: 1, 1 << 61: 1, "a": 2, True: 3, 2.5: 4}}, path)
    keys = list(read_pickle(path, foreign=True)["state"])
    assert [key.args if isinstance(key, Record) else (key,) for key in keys] == [(3,), 1 << 61, ("a",), (True,), 2.5]
