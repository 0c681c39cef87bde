"""The zip files of torch.save: the pickle, and where the bytes of each storage lie. No tensor is read.

Such a file lists its members and says how many bytes each has: both are limited before anything is read.
"""

import io
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

from diagplan.planner.shown import shown

__all__ = ["Archive", "read_archive"]

#: What is read: a pickle, which for 20,000 tensors takes 3 MB, and the list of members, at least 46 bytes each, 1.3 MB.
_PICKLE_BYTES, _DIRECTORY_BYTES = 32 << 20, 8 << 20
_LOCAL_HEADER = 30


class Archive(NamedTuple):
    """What such a file holds.

    Attributes:
        pickle: the bytes that describe the tensors.
        storages: key -> where its bytes begin in the file, and how many they are.
    """

    pickle: bytes
    storages: dict[str, tuple[int, int]]


class _Members(io.BufferedReader):
    """The file as ``zipfile`` lists it: it reads the whole list at once, however long the file says that it is."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > _DIRECTORY_BYTES:
            raise ValueError(f"a list of members of {shown(size)} bytes")
        return super().read(size)


def read_archive(path: Path) -> Archive:
    """The members of a zip file of torch.save.

    Raises:
        Exception: almost any, for a file that is damaged, cut short or hostile.
    """
    with _Members(io.FileIO(path)) as members, zipfile.ZipFile(members) as archive:
        entries = archive.infolist()
    with path.open("rb") as file:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("a compressed entry, which torch never writes")
        if len({entry.filename for entry in entries}) != len(entries):
            raise ValueError("two entries of one name")
        (main,) = (entry for entry in entries if entry.filename.endswith("/data.pkl"))
        folder = main.filename.removesuffix("data.pkl")
        order = [entry for entry in entries if entry.filename == f"{folder}byteorder"]
        if order and _content(file, order[0]) != b"little":
            raise ValueError("bytes in another order than little-endian")
        storages = {
            entry.filename.removeprefix(f"{folder}data/"): (_begin(file, entry), entry.file_size)
            for entry in entries
            if entry.filename.startswith(f"{folder}data/")
        }
        return Archive(_content(file, main), storages)


def _begin(file: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Where the bytes of an entry begin in the file."""
    file.seek(entry.header_offset)
    head = file.read(_LOCAL_HEADER)
    if head[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("an entry without a header")
    return file.tell() + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")


def _content(file: BinaryIO, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of an entry that is no tensor."""
    if entry.file_size > _PICKLE_BYTES:
        raise ValueError(f"a pickle of {entry.file_size:,} bytes, of at most {_PICKLE_BYTES:,}")
    file.seek(_begin(file, entry))
    data = file.read(entry.file_size)
    if zlib.crc32(data) != entry.CRC:
        raise zipfile.BadZipFile("an entry with another checksum")
    return data
