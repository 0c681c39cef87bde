"""Jobs: one clip each, read line by line from a file, or found in a folder."""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.shown import shown

__all__ = ["Job", "JobSource", "Later", "WrongJob", "job_from", "job_source", "seed_of"]

#: Bytes of a line of a jobs file.
_LINE = 1 << 20
_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_FILES = ("video", "tokens", "actions", "context")
_KEYS = ("id", *_FILES, "text", "seed", "frames")
_VIDEOS = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".gif")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One clip.

    Attributes:
        number: of its line, from 1, or of its file in the folder.
        id: names its outputs.
        video: whose first frames are the prompt; or
        tokens: of the prompt frames instead, .npy, int [F, rows, cols].
        actions: between frames.
        context: features of a text, for a Video2World model.
        text: instead of features.
        seed: of the sampling; ``None``: ``seed_of`` makes one.
        frames: to generate; ``None``: as the recipe says.
    """

    number: int
    id: str
    video: Path | None = None
    tokens: Path | None = None
    actions: Path | None = None
    context: Path | None = None
    text: str | None = None
    seed: int | None = None
    frames: int | None = None

    def files(self) -> dict[str, Path]:
        """The files that it reads, by their keys."""
        return {name: path for name in _FILES if (path := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongJob:
    """A line that is no job.

    Attributes:
        number: of the line, from 1.
        message: what is wrong with it.
        id: that it says, if it does.
    """

    number: int
    message: str
    id: str = ""


class Later:
    """No job is there now; ask again."""


class JobSource:
    """Where jobs come from, read once, one after the other.

    Args:
        jobs: the jobs, and for each the share of the source that is read by then, from 0 to 1. A ``Later`` says that
            those before it are to be done without waiting for more.
    """

    def __init__(self, jobs: Iterator[tuple[Job | WrongJob | Later, float]]) -> None:
        self._jobs = jobs
        self.share = 0.0

    def __iter__(self) -> Iterator[Job | WrongJob | Later]:
        for job, share in self._jobs:
            self.share = share
            yield job
        self.share = 1.0


def job_source(path: str | Path) -> JobSource:
    """The jobs of a file of JSON lines, or one for every video of a folder, with the .jsonl beside it as its actions.

    A file is never held whole: it may have any number of lines. A folder's names are sorted, and so are held.

    Raises:
        DocumentError: no such file or folder, a folder without videos, or a video.
    """
    place = Path(path)
    if place.is_dir():
        names = sorted(one.name for one in place.iterdir() if one.suffix.lower() in _VIDEOS and one.is_file())
        if not names:
            raise DocumentError(
                f"expected videos ({', '.join(_VIDEOS)}) in {place}, got none. Name a folder that has some, or write "
                "a file of jobs (docs/many.md)."
            )
        return JobSource(_of_folder(place.resolve(), names))
    if place.suffix.lower() in _VIDEOS:
        raise DocumentError(
            f"expected a file of jobs or a folder of videos, got the video {place}. Name its folder, or take "
            "`diagplan generate --video` for one clip."
        )
    try:
        size = place.stat().st_size
        place.open("rb").close()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DocumentError(f"cannot read the jobs {place}: {reason}. Check the name and the permissions.") from None
    return JobSource(_of_file(place.resolve(), size))


def _of_folder(folder: Path, names: list[str]) -> Iterator[tuple[Job | WrongJob | Later, float]]:
    for number, name in enumerate(names, start=1):
        video = folder / name
        actions = video.with_suffix(".jsonl")
        entry = {"id": video.stem, "video": name} | ({"actions": actions.name} if actions.is_file() else {})
        yield job_from(entry, number, folder), number / len(names)


def _of_file(path: Path, size: int) -> Iterator[tuple[Job | WrongJob | Later, float]]:
    read = 0
    with path.open("rb") as file:
        for number in count(1):
            line = file.readline(_LINE + 1)
            if not line:
                return
            read += len(line)
            if len(line) > _LINE:
                raise DocumentError(
                    f"expected lines of at most {_LINE >> 20} MiB in {path}, got more in line {number}."
                )
            if line.strip():
                yield _of_line(line, number, path.parent), read / max(size, read)


def _of_line(line: bytes, number: int, folder: Path) -> Job | WrongJob:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        entry = None
    if not isinstance(entry, dict):
        text = line[:80].decode("utf-8", "backslashreplace").rstrip()
        return WrongJob(number=number, message=f'expected a job such as {{"video": "clip.mp4"}}, got {text!r}.')
    return job_from(entry, number, folder)


def job_from(entry: Mapping[str, Any], number: int, folder: Path) -> Job | WrongJob:
    """A job of the keys of a line.

    Args:
        entry: keys and values.
        number: of the line; a job without an id is named by it.
        folder: what paths are relative to.
    """
    try:
        return _checked(entry, number, folder)
    except (SpecError, ValueError) as error:
        name = entry.get("id", "")
        return WrongJob(
            number=number, message=str(error), id=name if isinstance(name, str) and _ID.fullmatch(name) else ""
        )


def _checked(entry: Mapping[str, Any], number: int, folder: Path) -> Job:
    unknown = next((name for name in entry if name not in _KEYS), None)
    if unknown is not None:
        raise SpecError(f"expected the keys {', '.join(_KEYS)} in a job, got {shown(unknown)}. Take it out.")
    held = {name: value for name, value in entry.items() if value is not None}
    for name in (*_FILES, "text", "id"):
        value = held.get(name, "x")
        if not isinstance(value, str) or not value or "\0" in value:
            raise SpecError(f"expected {name} to be text, got {name}={shown(value)}. Write a name.")
    for name, least in (("seed", 0), ("frames", 1)):
        value = held.get(name, least)
        if type(value) is not int or not least <= value < 1 << 63:
            raise SpecError(f"expected {name} to be a whole number from {least}, got {name}={shown(value)}.")
    if ("video" in held) == ("tokens" in held):
        raise SpecError(f"expected video or tokens in a job, got {'both' if 'video' in held else 'neither'}.")
    if "context" in held and "text" in held:
        raise SpecError("expected context or text in a job, got both. Give one of them.")
    name = held.pop("id", f"{number:09d}")
    if not _ID.fullmatch(name):
        raise SpecError(
            f"expected an id of letters, digits and . _ -, which names files, got id={shown(name)}. Write another."
        )
    files = {key: folder / held.pop(key) for key in _FILES if key in held}
    return Job(number=number, id=name, **files, **held)


def seed_of(seed: int, name: str) -> int:
    """The seed of a job that says none, from the batch's and the job's name; 63 bits.

    >>> seed_of(0, "a") == seed_of(0, "a") != seed_of(1, "a")
    True
    """
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "big") >> 1
