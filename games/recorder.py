"""Record clips of a game: worlds by seed, split into train, validation and test by disjoint seeds."""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from diagplan.games.clips import Clip, write_clip
from diagplan.games.explorer import Explorer
from diagplan.games.game import open_game
from diagplan.planner.atomic import write_atomically
from diagplan.planner.errors import DocumentError, SpecError

__all__ = ["SPLITS", "Recording", "play", "record"]

#: First world seed of each split, far enough apart never to meet.
SPLITS: Mapping[str, int] = {"train": 0, "validation": 1_000_000, "test": 2_000_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What to record.

    Attributes:
        game: ``crafter`` or ``vizdoom``.
        rows, cols: tokens of a frame at 16 pixels each.
        frames: of a clip.
        seed: added to every world's seed; the splits stay disjoint.
        train, validation, test: clips of each split, one world each.
    """

    game: str = "crafter"
    rows: int = 9
    cols: int = 12
    frames: int = 64
    seed: int = 0
    train: int = 600
    validation: int = 30
    test: int = 60

    def __post_init__(self) -> None:
        if self.frames < 2 or self.rows < 1 or self.cols < 1:
            raise SpecError(
                f"expected at least 2 frames and a grid, got frames={self.frames}, rows={self.rows}, cols={self.cols}."
            )
        counts = {name: getattr(self, name) for name in SPLITS}
        if min(counts.values()) < 0 or max(counts.values()) + abs(self.seed) > 900_000 or self.seed < 0:
            raise SpecError(
                f"expected 0 <= clips + seed <= 900000 in each split, got {counts} and seed={self.seed}. "
                "The world seeds of the splits must not meet."
            )


def play(what: Recording, world: int) -> Clip:
    """Play one world: the same seed gives the same clip in any process. A world that ends early is begun anew."""
    game = open_game(what.game, rows=what.rows, cols=what.cols)
    try:
        for attempt in range(20):
            explorer = Explorer(game, seed=world * 20 + attempt)
            frames, actions, moved = [game.reset(world)], [], []
            last = None
            while len(frames) < what.frames:
                action = explorer.choose(last)
                frame, last, over = game.step(action)
                frames.append(frame)
                actions.append(action)
                moved.append(last)
                if over:
                    break
            if len(frames) == what.frames:
                return Clip(frames=np.stack(frames), actions=tuple(actions), moved=tuple(moved))
    finally:
        game.close()
    raise SpecError(f"expected {what.frames} frames of world {world}, got an end before in 20 tries. Ask for fewer.")


def record(
    what: Recording, folder: str | Path, *, workers: int = 1, on_clip: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Record all splits into ``folder/train``, ``folder/validation`` and ``folder/test``; clips that are there stay.

    Returns:
        What was recorded; also written as ``folder/recording.json``.

    Raises:
        SpecError: see ``Recording``; DocumentError: another recording is in the folder, or it cannot be written.
    """
    place = Path(folder)
    card = {"version": 1, **asdict(what), "first_seeds": dict(SPLITS), "daylight": "noon"}
    _claim(place, card)
    jobs = [job for job in _jobs(what, place) if not job[2].with_suffix(".jsonl").is_file()]
    done = sum(getattr(what, name) for name in SPLITS) - len(jobs)
    if on_clip is not None:
        on_clip(done)
    if workers <= 1:
        finished: Iterator[None] = map(_record_one, jobs)
        for _ in finished:
            done += 1
            if on_clip is not None:
                on_clip(done)
        return card
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            for _ in pool.map(_record_one, jobs, chunksize=4):
                done += 1
                if on_clip is not None:
                    on_clip(done)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return card


def _claim(place: Path, card: dict[str, Any]) -> None:
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name in SPLITS:
            (place / name).mkdir(exist_ok=True)
    except OSError as error:
        raise DocumentError(f"cannot make the folder {place}: {error.strerror}. Give another one.") from None
    written = place / "recording.json"
    if written.is_file():
        there = json.loads(written.read_text(encoding="utf-8"))
        differing = [key for key in card if key not in SPLITS and there.get(key) != card[key]]
        if differing:
            raise DocumentError(
                f"expected an empty folder or the same recording, got {place} with other {', '.join(differing)}. "
                "Give another folder."
            )
    write_atomically(written, (json.dumps(card, indent=1) + "\n").encode())


def _jobs(what: Recording, place: Path) -> Iterator[tuple[Recording, int, Path]]:
    for name, first in SPLITS.items():
        for number in range(getattr(what, name)):
            world = first + what.seed + number
            yield what, world, place / name / f"{world:07d}.mp4"


def _record_one(job: tuple[Recording, int, Path]) -> None:
    what, world, path = job
    write_clip(path, play(what, world))
