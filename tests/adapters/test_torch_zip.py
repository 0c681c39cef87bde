"""Zip files of torch.save: members that are compressed, doubled, damaged, countless or larger than any are refused."""

import struct
import zipfile
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters import torch_zip  # noqa: E402
from diagplan.adapters.torch_zip import read_archive  # noqa: E402
from tests.support.checkpoints import file_with, outcome, write_torch  # noqa: E402

MIB = 1 << 20


def test_storages_are_where_their_bytes_are(tmp_path: Path) -> None:
    path = write_torch({"w": torch.arange(3.0), "v": torch.arange(4)}, tmp_path / "w.pt")
    archive, data = read_archive(path), path.read_bytes()
    held = {key: data[start : start + size] for key, (start, size) in archive.storages.items()}
    assert held == {"0": torch.arange(3.0).numpy().tobytes(), "1": torch.arange(4).numpy().tobytes()}
    assert archive.pickle in data


@pytest.mark.parametrize("opcode", [b"\x94", b"N0"])
def test_a_pickle_of_60_mib_is_not_read_at_all(opcode: bytes, tmp_path: Path) -> None:
    path = file_with(b"N" + opcode * (60 * MIB // len(opcode)), tmp_path)
    assert "a pickle of 62,914,5" in outcome(path)


def members(path: Path, count: int, *, name: str = "a/{}", comment: int = 0) -> Path:
    """A zip file of many empty members, written by hand: zipfile takes minutes."""
    directory = bytearray()
    head = struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    for number in range(count):
        said = name.format(number).encode()
        directory += struct.pack(
            "<4s6H3I5H2I", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, len(said), 0, comment, 0, 0, 0, 0
        ) + said + bytes(comment)  # fmt: skip
    end = struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count & 0xFFFF, count & 0xFFFF, len(directory), len(head), 0)
    path.write_bytes(head + directory + end)
    return path


def test_a_zip_file_of_a_million_members(tmp_path: Path) -> None:
    assert "a list of members of " in outcome(members(tmp_path / "w.pt", 1_200_000, name=""))


def test_a_zip_file_of_as_many_members_as_are_listed(tmp_path: Path) -> None:
    """Named alike: 182,000 of them are as many as fit."""
    assert "two entries of one name" in outcome(members(tmp_path / "w.pt", torch_zip._DIRECTORY_BYTES // 46, name=""))


def test_members_of_one_name_are_refused(tmp_path: Path) -> None:
    """Which of them is read would be the reader's choice."""
    source, path = write_torch({"w": torch.zeros(3)}, tmp_path / "w.pt"), tmp_path / "h.pt"
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry))
        with pytest.warns(UserWarning, match="Duplicate"):
            new.writestr(entry.filename, b"")
    assert "two entries of one name" in outcome(path)


def test_a_compressed_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        new.writestr("a/data.pkl", bytes(70 * MIB))
    assert "a compressed entry" in outcome(path)


def test_a_damaged_member_is_noticed(tmp_path: Path) -> None:
    path = file_with(b"\x80\x02}X\x01\x00\x00\x00wNs.", tmp_path)
    data = path.read_bytes()
    at = data.index(b"wNs.")
    path.write_bytes(data[:at] + b"x" + data[at + 1 :])
    assert "an entry with another checksum" in outcome(path)


def test_a_member_without_a_header_is_refused(tmp_path: Path) -> None:
    path = file_with(b"\x80\x02}X\x01\x00\x00\x00wNs.", tmp_path)
    path.write_bytes(path.read_bytes().replace(b"PK\x03\x04", b"PK\x03\x05").replace(b"PK\x03\x05", b"PK\x03\x04", 1))
    assert "an entry without a header" in outcome(path)
