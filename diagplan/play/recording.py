"""What was played: the newest frames and the actions between them, as a clip that other commands take."""

import io
import json
import tempfile
import zipfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diagplan.video.files import VideoWriter

__all__ = ["MOST_BYTES", "Recording", "packed"]

#: Bytes of pictures that a player's recording holds; older frames are forgotten.
MOST_BYTES = 32 << 20


class Recording:
    """The newest frames as PNG, each with the line of the action that led to it."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most, self._bytes = most, 0
        self._held: deque[tuple[bytes, dict[str, Any] | None]] = deque()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def size(self) -> int:
        """Bytes of the pictures that are held."""
        return self._bytes

    def begin(self, picture: bytes) -> None:
        """Forget all, and begin with a frame that no action led to."""
        self._held.clear()
        self._bytes = 0
        self.add(picture, None)

    def add(self, picture: bytes, line: dict[str, Any] | None) -> None:
        """One more frame."""
        self._held.append((picture, line))
        self._bytes += len(picture)
        while self._bytes > self._most and len(self._held) > 1:
            self._bytes -= len(self._held.popleft()[0])

    def copy(self) -> tuple[tuple[bytes, dict[str, Any] | None], ...]:
        """What is held now, for ``packed``."""
        return tuple(self._held)


def packed(held: Sequence[tuple[bytes, dict[str, Any] | None]], fps: int) -> bytes:
    """A .zip of ``played.mp4`` and ``played.jsonl``, whose line i leads from frame i to frame i + 1.

    Args:
        held: from ``Recording.copy``.
        fps: of the video.

    Raises:
        VideoError: the video cannot be written.
    """
    from PIL import Image

    with tempfile.TemporaryDirectory(prefix="diagplan-play-") as folder:
        video = Path(folder, "played.mp4")
        with VideoWriter(video, fps=fps, exact=True) as writer:
            for picture, _ in held:
                writer.add(np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")))
        lines = "".join(f"{json.dumps(line)}\n" for _, line in held[1:])
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            archive.write(video, "played.mp4")
            archive.writestr("played.jsonl", lines)
        return file.getvalue()
