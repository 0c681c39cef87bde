"""Clips on disk: NAME.mp4 beside NAME.jsonl, the frames and the actions between them.

Line i of the JSON lines is the action that leads from frame i to frame i + 1: ``{"action": "move_left"}``, with
``"moved": [columns right, rows down]`` where the recorder knows by how many cells the player really moved. A clip of T
frames has T - 1 lines or more.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import DocumentError
from diagplan.schemas.atomic import write_atomically
from diagplan.video.files import VideoWriter, read_video

__all__ = ["FPS", "Clip", "list_clips", "read_actions", "read_clip", "write_clip"]

#: Frames a second of recorded clips.
FPS = 6

_ACTIONS_BYTES = 64 << 20
_CELLS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """Frames and what was played between them.

    Attributes:
        frames: uint8 [T, height, width, 3].
        actions: T - 1 names.
        moved: for each action the cells that the player moved by, (columns right, rows down), if known.
    """

    frames: NDArray[np.uint8]
    actions: tuple[str, ...]
    moved: tuple[tuple[int, int] | None, ...]


def write_clip(path: str | Path, clip: Clip, *, fps: int = FPS) -> None:
    """Write ``path`` (an .mp4, nearly lossless) and then its actions beside it: a clip with actions is whole.

    Raises:
        DocumentError, VideoError: a file cannot be written.
    """
    lines = [
        json.dumps({"action": action} | ({} if moved is None else {"moved": list(moved)}))
        for action, moved in zip(clip.actions, clip.moved, strict=True)
    ]
    video = VideoWriter(path, fps=fps, exact=True)
    try:
        for frame in clip.frames:
            video.add(frame)
        video.close()
        write_atomically(Path(path).with_suffix(".jsonl"), "".join(f"{line}\n" for line in lines).encode())
    except BaseException:  # Ctrl-C too: half a clip is none
        video.discard()
        Path(path).with_suffix(".jsonl").unlink(missing_ok=True)  # first: with it the rest would be taken for whole
        Path(path).unlink(missing_ok=True)
        raise


def read_actions(path: str | Path) -> list[dict[str, Any]]:
    """The lines of an actions file, each an object with the key ``action`` and perhaps ``moved``.

    Raises:
        DocumentError: no such file, or a line that is not such an object.
    """
    return list(_checked(_lines(Path(path)), path))


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > _ACTIONS_BYTES:
            raise DocumentError(f"expected an actions file of at most {_ACTIONS_BYTES >> 20} MiB, got {path}.")
        return path.read_text(encoding="utf-8").split("\n")  # JSON may hold the other ends of lines
    except UnicodeDecodeError:
        raise DocumentError(f"expected JSON lines, got {path}, which is not UTF-8 text.") from None
    except OSError as error:
        raise DocumentError(f"cannot read the actions {path}: {error.strerror}. Check the name.") from None


def _checked(lines: Iterable[str], path: str | Path) -> Iterable[dict[str, Any]]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict) or not isinstance(entry.get("action"), str) or set(entry) - {"action", "moved"}:
            raise DocumentError(
                f'expected {{"action": NAME}} on each line, with "moved": [COLUMNS, ROWS] or without, '
                f"got {line[:80]!r} at {path}, line {number}."
            )
        moved = entry.get("moved", [0, 0])
        if not (isinstance(moved, list) and len(moved) == 2 and all(map(_is_cells, moved))):
            raise DocumentError(
                f'expected "moved": [COLUMNS, ROWS] of at most {_CELLS} cells, got {line[:80]!r} at {path}, '
                f"line {number}."
            )
        yield entry


def _is_cells(value: object) -> bool:
    return type(value) is int and abs(value) <= _CELLS


def read_clip(path: str | Path) -> Clip:
    """Read a clip that ``write_clip`` wrote, or any video with actions in that form beside it.

    Raises:
        DocumentError: a file cannot be read, or there are fewer actions than gaps between frames.
    """
    frames = read_video(path)
    lines = read_actions(Path(path).with_suffix(".jsonl"))
    gaps = len(frames) - 1
    if len(lines) < gaps:
        raise DocumentError(
            f"expected {gaps} actions for the {len(frames)} frames of {path}, got {len(lines)}. "
            "Line i leads to frame i + 1."
        )
    moved = tuple((entry["moved"][0], entry["moved"][1]) if "moved" in entry else None for entry in lines[:gaps])
    return Clip(frames=frames, actions=tuple(entry["action"] for entry in lines[:gaps]), moved=moved)


def list_clips(folder: str | Path) -> Sequence[Path]:
    """The .mp4 files of a folder that have actions beside them, in order of their names.

    Raises:
        DocumentError: there are none.
    """
    paths = sorted(path for path in Path(folder).glob("*.mp4") if path.with_suffix(".jsonl").is_file())
    if not paths:
        raise DocumentError(
            f"expected clips (NAME.mp4 with NAME.jsonl) in {folder}, got none. Record some: diagplan record -o FOLDER."
        )
    return paths
