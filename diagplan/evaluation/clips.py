"""Which pieces of a folder of videos a model is judged on: rules by name, and a choice that a seed decides.

The order of the videos, and where a video's pieces begin, come from SHA-256 of the seed and the file's name, never from
the order of reading. So a choice is the same on every machine, and a longer one begins with the shorter one.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import DocumentError, SpecError
from diagplan.video.files import frame_rate, read_video

__all__ = ["RULES", "SUFFIXES", "Piece", "Rule", "choose_pieces", "list_videos", "rule_for"]

#: Endings of the files that count as videos.
SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How pieces are taken from videos.

    Attributes:
        frames: consecutive frames of a piece, the given ones included; ``None``: the model's context.
        given: how many of them the model is given.
        count: how many pieces; ``None``: as many as asked for.
        fps: frames a second at which a video is read; ``None``: every frame.
        least_moves: moves of the player that a piece must hold, where its actions say so.
        about: for people.
    """

    frames: int | None = None
    given: int = 1
    count: int | None = None
    fps: int | None = None
    least_moves: int = 0
    about: str = ""


_OPEN = "33 consecutive frames of 100 videos"
#: The rules of the Diagonal Decoding paper and of WHAM, and ``context``, that of `evaluate world`.
RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "context": Rule(least_moves=3, about="as many frames as the model's context, with at least 3 moves"),
        "realestate10k": Rule(frames=33, given=9, count=100, about=f"{_OPEN}, 9 given (paper, Cosmos)"),
        "realestate10k-1": Rule(frames=33, given=1, count=100, about=f"{_OPEN}, 1 given (paper, Cosmos)"),
        "bridgev2": Rule(frames=33, given=9, count=100, about=f"{_OPEN}, 9 given (paper, Cosmos)"),
        "bridgev2-1": Rule(frames=33, given=1, count=100, about=f"{_OPEN}, 1 given (paper, Cosmos)"),
        "bdd100k": Rule(frames=33, given=9, count=100, about=f"{_OPEN}, 9 given (paper, Cosmos)"),
        "bdd100k-1": Rule(frames=33, given=1, count=100, about=f"{_OPEN}, 1 given (paper, Cosmos)"),
        "vpt": Rule(frames=16, given=1, about="16 frames, 1 given, 15 actions (paper, MC-AR)"),
        "wham": Rule(frames=110, given=10, fps=10, about="10 frames a second, 1 s given, 10 s dreamt (WHAM)"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Piece:
    """One chosen piece of a video.

    Attributes:
        path: the video.
        numbers: which of its frames, int [T].
        frames: uint8 [T, height, width, 3].
        sha256: of the video's file.
    """

    path: Path
    numbers: NDArray[np.int64]
    frames: NDArray[np.uint8]
    sha256: str

    def as_dict(self) -> dict[str, object]:
        """For JSON: the file's name, its SHA-256, the first frame, and how many frames apart they lie."""
        step = int(self.numbers[1] - self.numbers[0]) if len(self.numbers) > 1 else 1
        return {"name": self.path.name, "first": int(self.numbers[0]), "every": step, "sha256": self.sha256}


def rule_for(name: str, *, context: int, count: int | None = None, slides: bool = False) -> Rule:
    """A rule with its numbers filled in.

    Args:
        name: of ``RULES``.
        context: frames of the model's context.
        count: pieces; the rule's own by default.
        slides: whether a window slides where frames go beyond the context.

    Raises:
        SpecError: no such rule, more frames than the context where no window slides, or no count.
    """
    if name not in RULES:
        raise SpecError(f"expected a rule out of {', '.join(RULES)}, got {name!r}.")
    rule = replace(RULES[name], frames=RULES[name].frames or context, count=count or RULES[name].count)
    assert rule.frames is not None
    if rule.frames > context and not slides:
        raise SpecError(
            f"expected a rule of at most {context} frames, the model's context, got {name} with {rule.frames}. "
            "Take another rule or model, or let a window slide that keeps some frames: --keep."
        )
    if rule.count is None:
        raise SpecError(f"expected a number of clips with the rule {name}, which has none of its own. Give --count.")
    return rule


def list_videos(folder: str | Path, *, actions: bool = False) -> list[Path]:
    """The videos of a folder, in order of their names; with ``actions`` those with NAME.jsonl beside them.

    Raises:
        DocumentError: there are none.
    """
    videos = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    kept = [path for path in videos if not actions or path.with_suffix(".jsonl").is_file()]
    if not kept:
        what = "videos with actions (NAME.mp4 with NAME.jsonl)" if actions else "videos"
        raise DocumentError(f"expected {what} in {folder}, got none of {len(videos)}. Give another folder.")
    return kept


def choose_pieces(
    videos: Sequence[Path],
    rule: Rule,
    *,
    seed: int,
    moves: Callable[[Path, NDArray[np.int64]], int | None] | None = None,
    fit: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
    actions: bool = False,
) -> list[Piece]:
    """Choose pieces: one of every video in an order that the seed gives, then a second one of each, and so on.

    Pieces of one video lie side by side and do not overlap; what is left over at its ends is shared out by the seed.

    Args:
        videos: from ``list_videos``.
        rule: from ``rule_for``.
        seed: of the choice.
        moves: moves of the player in frames of a video, int [T]; ``None`` where unknown, and then the piece counts.
        fit: applied to every frame.
        actions: the videos' actions are used: their frames cannot be thinned out.

    Returns:
        ``rule.count`` pieces, or as many as there are; at least one.

    Raises:
        DocumentError: a video that cannot be read, or none with a piece; a rate that cannot be had.
    """
    assert rule.frames is not None
    assert rule.count is not None
    waiting = [_Source(path, rule, seed, actions=actions) for path in sorted(videos, key=lambda p: _draw(seed, p.name))]
    pieces: list[Piece] = []
    while waiting and len(pieces) < rule.count:
        left = []
        for source in waiting:
            if len(pieces) == rule.count:
                break
            piece = source.next(moves, fit)
            if piece is not None:
                pieces.append(piece)
                left.append(source)
        waiting = left
    if not pieces:
        raise DocumentError(
            f"expected videos of at least {rule.frames} frames"
            f"{f' with {rule.least_moves} moves' if rule.least_moves else ''}, got none in {len(videos)} files."
        )
    return pieces


def _draw(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8], "big")


class _Source:
    """The pieces of one video that are left; the file is read when the first one is asked for."""

    def __init__(self, path: Path, rule: Rule, seed: int, *, actions: bool) -> None:
        self.path, self._rule, self._actions = path, rule, actions
        self._random = np.random.default_rng(_draw(seed, f"pieces of {path.name}"))
        self._left: Iterator[NDArray[np.int64]] | None = None
        self._sha256 = ""

    def next(
        self,
        moves: Callable[[Path, NDArray[np.int64]], int | None] | None,
        fit: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None,
    ) -> Piece | None:
        """The next piece, read from the file."""
        frames = None
        if self._left is None:
            frames = read_video(self.path)
            with self.path.open("rb") as file:
                self._sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self._left = iter(self._cuts(len(frames)))
        for numbers in self._left:
            count = None if moves is None else moves(self.path, numbers)
            if count is not None and count < self._rule.least_moves:
                continue
            frames = read_video(self.path) if frames is None else frames
            kept = frames[numbers]
            shown = kept if fit is None else np.stack([fit(frame) for frame in kept])
            return Piece(path=self.path, numbers=numbers, frames=shown, sha256=self._sha256)
        return None

    def _cuts(self, length: int) -> list[NDArray[np.int64]]:
        """Numbers of the frames of every piece, in the order in which they are taken."""
        numbers = np.arange(length)[:: self._every()]
        size = self._rule.frames
        assert size is not None
        count = len(numbers) // size
        start = int(self._random.integers(len(numbers) - count * size + 1))
        cuts = [numbers[start + i * size : start + (i + 1) * size] for i in range(count)]
        return [cuts[i] for i in self._random.permutation(count)]

    def _every(self) -> int:
        wanted = self._rule.fps
        if wanted is None:
            return 1
        rate = frame_rate(self.path)
        every = max(1, round(rate / wanted))
        if abs(rate / every - wanted) > 0.05 * wanted:
            raise DocumentError(
                f"expected a video whose frames can be thinned out to {wanted} a second, got {self.path} with "
                f"{rate:g}. Convert it first."
            )
        if every > 1 and self._actions:
            raise DocumentError(
                f"expected a video of {wanted} frames a second, got {self.path} with {rate:g}. Its actions lie between "
                "single frames, which cannot be left out. Record it at that rate."
            )
        return every
