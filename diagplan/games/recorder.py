"""Record clips of a game: worlds by seed, split into train, validation and test by disjoint seeds."""

import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np

from diagplan.games.clips import Clip, write_clip
from diagplan.games.explorer import Explorer
from diagplan.games.game import open_game
from diagplan.planner.errors import DiagplanError, DocumentError, SpecError
from diagplan.schemas.atomic import make_folder, write_atomically

__all__ = ["SPLITS", "Recording", "end_processes", "play", "read_recording", "record"]

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
    train: int = 450
    validation: int = 16
    test: int = 50

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

    Args:
        what: the worlds to record.
        folder: made if it is not there.
        workers: processes that record, each on its share of the worlds; they end with this call, Ctrl-C included.
        on_clip: called with the number of clips that are whole, first with those that were there before.

    Returns:
        What was recorded; also written as ``folder/recording.json``.

    Raises:
        SpecError: see ``Recording``, or no workers; DocumentError: another recording is in the folder, or it cannot be
            written; MissingExtraError: the game or PyAV is not installed.
    """
    if workers < 1:
        raise SpecError(f"expected at least 1 worker, got workers={workers}.")
    open_game(what.game, rows=what.rows, cols=what.cols).close()  # what is wrong with it is said before a file is made
    place = Path(folder)
    card = {"version": 1, **asdict(what), "first_seeds": dict(SPLITS), "daylight": "noon"}
    _claim(place, card)
    jobs = [job for job in _jobs(what, place) if not job[2].with_suffix(".jsonl").is_file()]
    before = sum(getattr(what, name) for name in SPLITS) - len(jobs)
    finished = map(_record_one, jobs) if workers == 1 else _record_together(jobs, workers)
    if on_clip is not None:
        on_clip(before)
    for done, _ in enumerate(finished, start=before + 1):
        if on_clip is not None:
            on_clip(done)
    return card


def read_recording(folder: str | Path) -> dict[str, Any]:
    """What ``record`` wrote of a folder: ``game``, ``rows``, ``cols`` and the rest of ``Recording``.

    Raises:
        DocumentError: there is no such recording.
    """
    path = Path(folder) / "recording.json"
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DocumentError(
            f"cannot read {path}: {error.strerror}. Is it a folder that diagplan record has written?"
        ) from None
    except (ValueError, RecursionError):
        card = None
    sizes = [card.get(key) for key in ("rows", "cols", "frames")] if isinstance(card, dict) else [None]
    if not all(type(size) is int for size in sizes) or not isinstance(card.get("game"), str):
        raise DocumentError(f"expected a recording.json of diagplan record, got {path}, which is none.")
    return dict(card)


def _claim(place: Path, card: dict[str, Any]) -> None:
    for folder in (place, *(place / name for name in SPLITS)):
        make_folder(folder)
    written = place / "recording.json"
    if written.is_file():
        there = read_recording(place)
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


def _record_together(jobs: Sequence[tuple[Recording, int, Path]], workers: int) -> Iterator[None]:
    """One ``None`` for every clip that some process has finished; leaving the iterator early ends the processes."""
    context = get_context("spawn")
    crew, readers = [], []
    try:
        for share in (jobs[i::workers] for i in range(min(workers, len(jobs)))):
            reader, writer = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(share, writer), daemon=True)
            with _deaf_to_interrupts():
                process.start()
            writer.close()  # only the worker holds this end now: if it dies, the pipe ends
            crew.append(process)
            readers.append(reader)
        for _ in jobs:
            _wait_for_one(readers)
            yield
    finally:
        end_processes(crew)


def end_processes(crew: Sequence[BaseProcess]) -> None:
    """Terminate processes until none is left: one that is just closing an object may swallow the exception to leave."""
    while living := [process for process in crew if process.is_alive()]:
        for process in living:
            process.terminate()
        for process in living:
            process.join(timeout=1)


def _wait_for_one(readers: list[Connection]) -> None:
    """Return when some process has finished one more clip; raise the error of one that could not."""
    while readers:
        for ready in wait(readers):
            reader = next(one for one in readers if one is ready)
            try:
                error = reader.recv()
            except EOFError:
                readers.remove(reader)
                continue
            if error is not None:
                raise error
            return
    raise DocumentError("expected the clips of every process, got an end before. Is memory enough? Try --workers 1.")


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes that are begun here do not hear Ctrl-C; who began them ends them."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(jobs: Sequence[tuple[Recording, int, Path]], results: Connection) -> None:
    """The life of one process: ``None`` for every clip, or the error that ended it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    with suppress(BrokenPipeError):  # who began it was killed: nobody is left to tell
        try:
            for job in jobs:
                _record_one(job)
                results.send(None)
        except DiagplanError as error:
            results.send(error)


def _leave(*_: object) -> None:
    """End by an exception, which leaves no temporary files, and say nothing of objects that it finds half made."""
    sys.unraisablehook = lambda _: None
    sys.exit(1)
