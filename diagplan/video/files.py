"""Read and write video files with PyAV. Frames are uint8 [height, width, 3], RGB."""

import os
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import DiagplanError, DocumentError, SpecError
from diagplan.planner.extras import missing_packages
from diagplan.schemas.atomic import Replacement

__all__ = ["VideoError", "VideoWriter", "frame_rate", "read_frames", "read_video"]

#: Of a frame: a side, and pixels in all, which an 8K picture has.
_MAX_SIDE, _MAX_PIXELS = 8192, 1 << 25
#: Bytes that the frames of a whole video may take, whichever is more: so many, or so many times its file's.
_MAX_BYTES, _EXPANSION = 1 << 29, 256
#: A video is one file with frames in it: containers that name other files or addresses are not opened.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpeg,mpegts", "ogg", "flv", "asf", "gif,apng", "m4v,h264,hevc",
    "ivf", "yuv4mpegpipe", "mjpeg", "nut", "wav,mp3,flac",
)  # fmt: skip
_ONE_FILE = {"format_whitelist": ",".join(_CONTAINERS), "protocol_whitelist": "file"}


class VideoError(DiagplanError):
    """A video that cannot be written."""


def _av() -> Any:
    try:
        return import_module("av")
    except ImportError:
        raise missing_packages("video files", ["av"]) from None


def read_frames(path: str | Path) -> Iterator[NDArray[np.uint8]]:
    """The frames of a video file, one after the other, all of one size.

    Raises:
        DocumentError: no such file, not a video, or a broken one: what was whole comes out first.
        MissingExtraError: PyAV is not installed.
    """
    av = _av()
    try:
        # As an open file: FFmpeg would take a name for an address, of the network too.
        with Path(path).open("rb") as file, av.open(file, options=_ONE_FILE) as container:
            if not container.streams.video:
                raise DocumentError(f"expected a video, got {path} without a video stream.")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise DocumentError(
                    f"expected a video in a codec that FFmpeg knows, got {path} in another. Convert it to H.264."
                )
            stream.thread_type = "AUTO"
            _check_size(stream.codec_context, path)
            first: tuple[int, ...] | None = None
            for number, frame in enumerate(container.decode(stream)):
                _check_size(frame, path)
                if frame.is_corrupt:
                    raise DocumentError(f"cannot read the video {path}: frame {number} is broken. Copy the file again.")
                picture = frame.to_ndarray(format="rgb24")
                if picture.shape != (first or picture.shape):
                    raise DocumentError(f"expected frames of one size, got {path} with another at frame {number}.")
                first = picture.shape
                yield picture
            if "mp4" in container.format.name and _is_cut_off(file):  # FFmpeg just stops where its index runs ahead
                raise DocumentError(f"cannot read the video {path} to its end: it is cut off. Copy the file again.")
    except DiagplanError:
        raise
    except (OSError, av.error.FFmpegError, ValueError) as error:  # FFmpeg's errors are of several kinds
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DocumentError(f"cannot read the video {path}: {reason}. Is it a video file, and whole?") from None


def _is_cut_off(file: BinaryIO) -> bool:
    """Whether the last box of an mp4 says that it is longer than the file."""
    size, at = file.seek(0, os.SEEK_END), 0
    while at + 8 <= size:
        file.seek(at)
        length = int.from_bytes(file.read(4), "big")
        if length == 1:  # the real length follows in 8 bytes
            file.seek(at + 8)
            length = int.from_bytes(file.read(8), "big")
        elif length == 0:  # to the end of the file
            return False
        at += max(8, length)
    return at > size


def _check_size(frame: Any, path: str | Path) -> None:
    width, height = frame.width or 0, frame.height or 0
    if max(width, height) > _MAX_SIDE or width * height > _MAX_PIXELS:
        raise DocumentError(
            f"expected a video of at most {_MAX_SIDE} pixels a side and {_MAX_PIXELS:,} in all, got {path} with "
            f"{width} x {height}."
        )


def read_video(path: str | Path, *, limit: int | None = None) -> NDArray[np.uint8]:
    """The first frames of a video file, uint8 [T, height, width, 3]; all of them without a limit.

    Raises:
        DocumentError: as ``read_frames``, a video without a frame, or one of far more pixels than its file has bytes.
    """
    frames: list[NDArray[np.uint8]] = []
    for frame in read_frames(path):
        frames.append(frame)
        if len(frames) * frame.nbytes > (most := max(_MAX_BYTES, _EXPANSION * Path(path).stat().st_size)):
            raise DocumentError(
                f"expected a video whose frames take at most {most >> 20:,} MiB, got {path} with more. "
                "Cut it into shorter ones."
            )
        if limit is not None and len(frames) >= limit:
            break
    if not frames:
        raise DocumentError(f"expected a video, got {path} without a frame.")
    whole = np.empty((len(frames), *frames[0].shape), np.uint8)
    for number in reversed(range(len(frames))):
        whole[number] = frames.pop()  # each goes as soon as it is copied: they are not held twice
    return whole


def frame_rate(path: str | Path) -> float:
    """Frames a second of a video, as its file says.

    Raises:
        DocumentError: no such file, not a video, or one that does not say.
        MissingExtraError: PyAV is not installed.
    """
    av = _av()
    try:
        with Path(path).open("rb") as file, av.open(file, options=_ONE_FILE) as container:
            streams = container.streams.video
            rate = streams[0].average_rate if streams else None
    except (OSError, av.error.FFmpegError, ValueError) as error:
        raise DocumentError(f"cannot read the video {path}: {error}. Is it a video file, and whole?") from None
    if not rate:
        raise DocumentError(f"expected a video that says its frames a second, got {path}.")
    return float(rate)


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
        SpecError: what is no frame, or has odd sides.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, path: str | Path, *, fps: int = 6, exact: bool = False) -> None:
        self.path, self.frames = Path(path), 0
        self._fps, self._exact = fps, exact
        self._av = _av()
        self._stream: Any = None
        self._shape: tuple[int, ...] = ()
        self._open = True
        try:
            self._replacement = Replacement(self.path)
        except (OSError, ValueError) as error:
            raise self._failed(error) from None
        try:
            self._container = self._av.open(self._replacement.temporary, "w", format="mp4")
        except BaseException as error:
            self._replacement.discard()
            if isinstance(error, OSError | ValueError):
                raise self._failed(error) from None
            raise

    def __enter__(self) -> Self:
        return self

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Append one frame, uint8 [height, width, 3], the sides even."""
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise SpecError(f"expected a frame uint8 [height, width, 3], got {frame.dtype} {frame.shape}.")
        try:
            if self._stream is None:
                self._begin(frame)
            if frame.shape != self._shape:
                raise VideoError(f"expected frames of shape {self._shape}, got {frame.shape} at frame {self.frames}.")
            picture = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        except (OSError, self._av.error.FFmpegError) as error:
            raise self._failed(error) from None
        self.frames += 1

    def _begin(self, frame: NDArray[np.uint8]) -> None:
        self._shape = frame.shape
        height, width = frame.shape[:2]
        if height % 2 or width % 2 or not frame.size:
            raise SpecError(f"expected frames with even sides, got {height} x {width} pixels.")
        stream = self._container.add_stream("libx264", rate=Fraction(self._fps))
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv444p" if self._exact else "yuv420p"
        # Without x264's macroblock tree: with it, the same frames gave other bytes from run to run.
        stream.options = {
            "crf": "6" if self._exact else "14",
            "preset": "veryfast",
            "threads": "1",
            "x264-params": "no-mbtree=1",
        }
        self._stream = stream

    def close(self) -> None:
        """Finish the file and give it its name; a video without frames is no file. A second call does nothing."""
        if not self._open:
            return
        self._open = False
        try:
            if self._stream is not None:
                for packet in self._stream.encode():
                    self._container.mux(packet)
            self._container.close()
            if self.frames:
                self._replacement.keep()
        except (OSError, self._av.error.FFmpegError) as error:
            raise self._failed(error) from None
        finally:
            self._replacement.discard()

    def discard(self) -> None:
        """Leave nothing behind."""
        self._open = False
        with suppress(OSError, ValueError, self._av.error.FFmpegError):
            self._container.close()
        self._replacement.discard()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or issubclass(kind, KeyboardInterrupt):
            self.close()
        else:
            self.discard()

    def _failed(self, error: Exception) -> VideoError:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return VideoError(f"cannot write {self.path}: {reason}. Give another place.")
