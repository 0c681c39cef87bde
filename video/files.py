"""Read and write video files with PyAV. Frames are uint8 [height, width, 3], RGB."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import DiagplanError, DocumentError, MissingExtraError, SpecError

__all__ = ["VideoError", "VideoWriter", "read_frames", "read_video"]

_MAX_SIDE = 8192


class VideoError(DiagplanError):
    """A video that cannot be written."""


def _av() -> Any:
    try:
        return import_module("av")
    except ImportError:
        raise MissingExtraError(
            "expected the package av for video files, got none. Install it: pip install 'diagplan[video]'."
        ) from None


def read_frames(path: str | Path) -> Iterator[NDArray[np.uint8]]:
    """The frames of a video file, one after the other.

    Raises:
        DocumentError: no such file, not a video, or a broken one: what was whole comes out first.
        MissingExtraError: PyAV is not installed.
    """
    av = _av()
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DocumentError(f"expected a video, got {path} without a video stream.")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            if max(stream.codec_context.width or 0, stream.codec_context.height or 0) > _MAX_SIDE:
                raise DocumentError(f"expected a video of at most {_MAX_SIDE} pixels a side, got {path}.")
            for frame in container.decode(stream):
                yield frame.to_ndarray(format="rgb24")
    except (OSError, av.error.FFmpegError, ValueError) as error:  # FFmpeg's errors are of several kinds
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DocumentError(f"cannot read the video {path}: {reason}. Is it whole, and a video file?") from None


def read_video(path: str | Path, *, limit: int | None = None) -> NDArray[np.uint8]:
    """The first frames of a video file, uint8 [T, height, width, 3]; all of them without a limit.

    Raises:
        DocumentError: as ``read_frames``, or a video without a frame.
    """
    frames = []
    for frame in read_frames(path):
        frames.append(frame)
        if limit is not None and len(frames) >= limit:
            break
    if not frames:
        raise DocumentError(f"expected a video, got {path} without a frame.")
    return np.stack(frames)


class VideoWriter:
    """An H.264 mp4 that grows frame by frame, under a temporary name until it is closed.

    Leaving the ``with`` block normally, or by Ctrl-C, closes the file and gives it its name: what was finished by
    then is a whole video. Leaving it by an error removes it.

    Args:
        path: of the file.
        fps: frames a second.
        exact: keep every pixel's own colour (yuv444p, nearly lossless) for recordings; else what every player shows.

    Raises:
        VideoError: the file cannot be written, or frames of different sizes.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, path: str | Path, *, fps: int = 6, exact: bool = False) -> None:
        self.path, self.frames = Path(path), 0
        self._fps, self._exact = fps, exact
        self._av = _av()
        self._stream: Any = None
        self._shape: tuple[int, ...] = ()
        try:
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", suffix=".part.mp4", dir=self.path.parent)
            os.close(handle)
        except OSError as error:
            raise VideoError(f"cannot write {path}: {error.strerror}. Give another place.") from None
        self._part = Path(name)
        self._container = self._av.open(name, "w", format="mp4")

    def __enter__(self) -> Self:
        return self

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Append one frame, uint8 [height, width, 3], the sides even."""
        if self._stream is None:
            self._begin(frame)
        if frame.shape != self._shape:
            raise VideoError(f"expected frames of shape {self._shape}, got {frame.shape} at frame {self.frames}.")
        try:
            picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        except OSError as error:
            raise VideoError(f"cannot write {self.path}: {error.strerror or error}.") from None
        self.frames += 1

    def _begin(self, frame: NDArray[np.uint8]) -> None:
        self._shape = frame.shape
        height, width = frame.shape[:2]
        if height % 2 or width % 2:
            raise SpecError(f"expected frames with even sides, got {height} x {width} pixels.")
        stream = self._container.add_stream("libx264", rate=Fraction(self._fps))
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv444p" if self._exact else "yuv420p"
        stream.options = {"crf": "6" if self._exact else "14", "preset": "veryfast", "threads": "1"}
        self._stream = stream

    def close(self) -> None:
        """Finish the file and give it its name; a video without frames is no file."""
        try:
            if self._stream is not None:
                for packet in self._stream.encode():
                    self._container.mux(packet)
            self._container.close()
            if self.frames:
                self._part.replace(self.path)
        except OSError as error:
            raise VideoError(f"cannot write {self.path}: {error.strerror or error}.") from None
        finally:
            self._part.unlink(missing_ok=True)

    def discard(self) -> None:
        """Leave nothing behind."""
        with suppress(OSError, ValueError):
            self._container.close()
        self._part.unlink(missing_ok=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.close()
        else:
            self.discard()
