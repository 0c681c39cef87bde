"""What was played: the newest frames and the actions between them, as a clip that other commands take."""

import io
import json
import struct
import tempfile
import zipfile
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import IO, Any

import numpy as np

from diagplan.planner.errors import DiagplanError
from diagplan.video.files import VideoWriter

__all__ = ["MOST_BYTES", "Recording", "RecordingError", "Recordings", "packed"]

#: Bytes of frames that a player's recording holds; older ones are forgotten.
MOST_BYTES = 32 << 20
#: They are forgotten in parts of this share.
_PARTS = 8
#: Bytes of a line of an action and of a picture.
_HEAD = struct.Struct("<II")

#: A frame as PNG, and the line of the action that led to it.
Recorded = tuple[bytes, dict[str, Any] | None]


class RecordingError(DiagplanError):
    """What was played cannot be kept."""


def _file() -> IO[bytes]:
    return tempfile.TemporaryFile(prefix="diagplan-play-", buffering=0)


@dataclass(slots=True)
class _Part:
    """Some frames in a file without a name, which goes with the last reference to it."""

    file: IO[bytes] = field(default_factory=_file)
    frames: int = 0
    size: int = 0
    lock: Lock = field(default_factory=Lock)

    def __del__(self) -> None:
        with suppress(AttributeError):  # there was no file to be had
            self.file.close()

    def add(self, data: bytes) -> None:
        with self.lock:
            self.file.seek(self.size)
            left = memoryview(data)
            while left:
                left = left[self.file.write(left) :]
        self.size, self.frames = self.size + len(data), self.frames + 1

    def read(self, size: int) -> bytes:
        with self.lock:
            self.file.seek(0)
            return self.file.read(size)


@dataclass(frozen=True, slots=True)
class Recordings:
    """What a recording held when it was asked; its length is in frames, and it gives them in order.

    Attributes:
        parts: with the frames and bytes of each.
    """

    parts: tuple[tuple[_Part, int, int], ...]

    def __len__(self) -> int:
        return sum(frames for _, frames, _ in self.parts)

    def __iter__(self) -> Iterator[Recorded]:
        for part, frames, size in self.parts:
            data, at = part.read(size), 0
            for _ in range(frames):
                line, picture = _HEAD.unpack_from(data, at)
                middle = at + _HEAD.size + line
                yield data[middle : middle + picture], json.loads(data[at + _HEAD.size : middle])
                at = middle + picture


class Recording:
    """The newest frames as PNG, each with the line of the action that led to it, in a temporary file.

    One thread adds; any may copy.

    Args:
        most: bytes that it holds.
    """

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._parts: deque[_Part] = deque()
        self._failed: str | None = None

    def __len__(self) -> int:
        return sum(part.frames for part in tuple(self._parts))

    @property
    def size(self) -> int:
        """Bytes of the frames that are held."""
        return sum(part.size for part in tuple(self._parts))

    def begin(self, picture: bytes) -> None:
        """Forget all, and begin with a frame that no action led to."""
        self._parts.clear()
        self._failed = None
        self.add(picture, None)

    def add(self, picture: bytes, line: dict[str, Any] | None) -> None:
        """One more frame. Where it cannot be written nothing is held until the next beginning: ``copy`` says why."""
        if self._failed is not None:
            return
        text = json.dumps(line).encode()
        try:
            if not self._parts or self._parts[-1].size >= self._most // _PARTS:
                self._parts.append(_Part())
            self._parts[-1].add(_HEAD.pack(len(text), len(picture)) + text + picture)
        except OSError as error:
            self._parts.clear()
            self._failed = (
                f"expected room for what is played in {tempfile.gettempdir()}, got: {error.strerror}. "
                "The game goes on; free some, start anew, and it can be saved again."
            )
        while self.size > self._most and len(self._parts) > 1:
            self._parts.popleft()

    def copy(self) -> Recordings:
        """What is held now, for ``packed``.

        Raises:
            RecordingError: it could not be written.
        """
        if self._failed is not None:
            raise RecordingError(self._failed)
        return Recordings(tuple((part, part.frames, part.size) for part in tuple(self._parts)))


def packed(held: Recordings, fps: int) -> bytes:
    """A .zip of ``played.mp4`` and ``played.jsonl``, whose line i leads from frame i to frame i + 1.

    Args:
        held: from ``Recording.copy``.
        fps: of the video.

    Raises:
        VideoError: the video cannot be written.
    """
    from PIL import Image

    with tempfile.TemporaryDirectory(prefix="diagplan-play-") as folder:
        video, lines = Path(folder, "played.mp4"), list[str]()
        with VideoWriter(video, fps=fps, exact=True) as writer:
            for picture, line in held:
                writer.add(np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")))
                lines.append(f"{json.dumps(line)}\n")
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.write(video, "played.mp4")
            archive.writestr("played.jsonl", "".join(lines[1:]))
        return file.getvalue()
