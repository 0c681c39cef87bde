"""What is played: one world in memory, its plans laid out when they are first asked for, and frames to start with."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diagplan.backends.sampling import Sampler
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.play.choices import Choice
from diagplan.video.files import read_video
from diagplan.worlds.controls import Controls
from diagplan.worlds.loading import SHIPPED
from diagplan.worlds.session import Session, start
from diagplan.worlds.world import World

__all__ = ["Stage", "frames_of", "start_frames"]

Frame = NDArray[np.uint8]
#: Frames of one video that are looked at, and videos of a folder.
_MOST_FRAMES, _MOST_VIDEOS = 2000, 10_000
#: Of a folder: frames of a video that starts are drawn from, and videos whose frames are kept.
_KEPT_FRAMES, _KEPT_VIDEOS = 8, 64
_VIDEOS = (".mp4", ".mkv", ".webm", ".mov", ".avi", ".npz")


@dataclass(slots=True, kw_only=True)
class Stage:
    """One world for all players. Its methods are called from one thread, which decodes.

    Attributes:
        world: that is played; it has controls.
        choices: name -> plan, of which players choose.
        first: a function that gives the frame to start with, uint8 [height, width, 3].
        keep: frames that a window keeps, but those of files, which say it; ``None``: as the world's release has it, or
            a quarter of the context: what is kept is fed again while the player waits.
        sampler: as for ``replay``.
        seed: of the first session; each further one has the next.
    """

    world: World
    choices: Mapping[str, Choice]
    first: Callable[[], Frame]
    keep: int | None = None
    sampler: Sampler | None = None
    seed: int = 0
    _roots: dict[str, Session] = field(default_factory=dict, repr=False)

    @property
    def controls(self) -> Controls:
        """Keys to actions.

        Raises:
            SpecError: nobody has said how this world is played.
        """
        if self.world.controls is None:
            raise SpecError(
                f"expected a world that is played with keys, got {self.world.name}, which has none. Step it from "
                "Python: world.start."
            )
        return self.world.controls

    def root(self, name: str) -> Session:
        """The session of a plan that no player steps, made when it is first asked for.

        Raises:
            SpecError: no such plan.
        """
        if name not in self.choices:
            raise SpecError(f"expected a plan of {', '.join(self.choices)}, got another one. Choose one of them.")
        if name not in self._roots:
            choice, keep = self.choices[name], self.keep
            if keep is None and self.world.keeps is None:
                keep = max(1, self.world.context_frames // 4)
            self._roots[name] = start(
                self.world, self.first(), schedule=choice.schedule, keep=None if choice.plan else keep,
                sampler=self.sampler, seed=self.seed, speculation=choice.speculation, plan=choice.plan,
            )  # fmt: skip
        return self._roots[name]

    def begin(self, name: str) -> Session:
        """A new session of a plan, from a frame to start with."""
        root = self.root(name)
        self.seed += 1
        return root.again(self.first(), seed=self.seed)

    def switch(self, session: Session, name: str) -> Session:
        """A session of another plan that goes on from there."""
        return self.root(name).again(after=session)


def frames_of(path: Path, world: World) -> list[Frame]:
    """The first frames of a video, as the world reads them.

    Raises:
        DocumentError, VideoError: it cannot be read, or has none.
    """
    frames: list[Frame] = []
    for frame in world.read_frames(path):
        frames.append(frame)
        if len(frames) == _MOST_FRAMES:
            break
    if not frames:
        raise DocumentError(f"expected a video with frames, got none in {path}. Give another one.")
    return frames


def start_frames(world: World, model: str, source: Path | None, at: int | None, seed: int) -> Callable[[], Frame]:
    """A function that gives the frame to start with.

    Args:
        world: that reads videos.
        model: its name; of one that ships the clip is there.
        source: a video, or a folder of videos, of which each start takes a random frame; ``None``: the shipped clip's.
        at: the number of a video's frame; ``None``: the first, of a folder a random one.
        seed: of what is drawn.

    Raises:
        SpecError: no source for a world without a clip, or a frame that is not there.
        DocumentError: a folder without videos, or a video that cannot be read.
    """
    draw = random.Random(seed)
    if source is None:
        if model not in SHIPPED:
            raise SpecError(
                f"expected frames to start {model} with, got none. Give a video or a folder of videos: --start FILE."
            )
        only = read_video(SHIPPED[model] / "clip.mp4", limit=(at or 0) + 1)
        return _always(only, at or 0, SHIPPED[model] / "clip.mp4")
    if not source.is_dir():
        return _always(frames_of(source, world), at or 0, source)
    videos = sorted(path for path in source.iterdir() if path.suffix.lower() in _VIDEOS)[:_MOST_VIDEOS]
    if not videos:
        raise DocumentError(f"expected videos in {source}, got none. Give a folder of {', '.join(_VIDEOS)} files.")

    @lru_cache(maxsize=_KEPT_VIDEOS)
    def drawn(video: Path) -> list[Frame]:
        """A few frames of a video, which is read once: all players wait while it is."""
        frames = frames_of(video, world)
        if at is not None:
            return [frames[min(at, len(frames) - 1)]]
        return draw.sample(frames, min(len(frames), _KEPT_FRAMES))

    def any_frame() -> Frame:
        return draw.choice(drawn(draw.choice(videos)))

    return any_frame


def _always(frames: Sequence[Frame] | Frame, at: int, source: Path) -> Callable[[], Frame]:
    if at >= len(frames):
        raise SpecError(f"expected a frame from 0 to {len(frames) - 1} of {source}, got at={at}. Give a smaller one.")
    frame: Frame = frames[at]
    return lambda: frame
