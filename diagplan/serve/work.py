"""What a worker of a service does: the clips of a batch, whose frames are there one by one, and how far they are."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.batch.clips import Clip, ClipWork
from diagplan.batch.messages import Told
from diagplan.batch.recipe import Recipe
from diagplan.play.messages import picture
from diagplan.schemas.atomic import make_folder, write_atomically
from diagplan.serve.places import frame_place
from diagplan.worlds.loading import open_world

__all__ = ["ServedClips", "open_served"]

Ids = NDArray[np.int64]
Frames = NDArray[np.uint8]
#: Seconds between two words about the same clips, where no frame is new.
_APART = 0.1


def open_served(recipe: Recipe, out: Path) -> "ServedClips":
    """The work of a service; as ``diagplan.batch.clips.open_clips``.

    Raises:
        DiagplanError: as ``diagplan.load_world`` and ``diagplan.plan_for``.
    """
    world = open_world(recipe.model, recipe.options, weights=recipe.weights, tokenizer=recipe.tokenizer)
    return ServedClips(world, recipe, out)


class ServedClips(ClipWork):
    """Clips of a batch, each frame of which is a PNG as soon as its tokens are known.

    A picture is decoded once: the video is made of those files, which lose nothing.
    """

    _tell: Callable[[Told], None] | None = None

    def tell_by(self, tell: Callable[[Told], None]) -> None:
        """Say by this function how far clips are. What it raises, because nobody listens any more, ends the work."""
        self._tell = tell

    def watching(self, clips: Sequence[Clip]) -> dict[str, Any]:
        """Write frames as they are complete, and tell of passes and frames."""
        watch = _Watch(self, clips)
        return {"on_frame": watch.frame if self.recipe.pictures else None, "on_pass": watch.passed}

    def pictures_of(self, clip: Clip, tokens: Ids) -> Iterator[Frames]:
        """The pictures that lie there already."""
        from PIL import Image

        del tokens
        for number in range(1, self.frames_of(clip) + 1):
            with Image.open(frame_place(self.out, clip.job.id, number)) as file:
                yield np.asarray(file.convert("RGB"))[None]

    def frames_of(self, clip: Clip) -> int:
        """Pictures that a clip generates."""
        given, frames = clip.planned.prompt_frames, clip.planned.frames
        return self.world.pictures(given + frames) - self.world.pictures(given)

    def told(self, told: Told) -> None:
        """Pass on how far a clip is."""
        if self._tell is not None:
            self._tell(told)


class _Watch:
    """Clips that are made together."""

    def __init__(self, work: ServedClips, clips: Sequence[Clip]) -> None:
        self._work, self._clips = work, clips
        self._decoding = [work.world.decoding(clip.prompt) for clip in clips] if work.recipe.pictures else []
        self._early: dict[int, Ids] = {}  # frames whose predecessors are not complete yet
        self._next, self._frames, self._passes, self._at = 0, 0, 0, 0.0
        self._of = 0 if work.recipe.speculation is not None else clips[0].planned.steps
        if work.recipe.pictures:
            for clip in clips:
                make_folder(frame_place(work.out, clip.job.id, 1).parent)

    def frame(self, number: int, tokens: Ids) -> None:
        """A frame of tokens is complete, int64 [rows, h, w]; pictures are decoded in order."""
        self._early[number] = tokens.copy()
        while (one := self._early.pop(self._next, None)) is not None:
            self._next += 1
            count = 0
            for row, clip in enumerate(self._clips):
                pictures = self._decoding[row](one[row])
                count = len(pictures)
                for offset, shown in enumerate(pictures, start=1):
                    write_atomically(frame_place(self._work.out, clip.job.id, self._frames + offset), picture(shown))
            self._frames += count
            self._say()

    def passed(self) -> None:
        """One more pass."""
        self._passes += 1
        if time.monotonic() - self._at >= _APART:
            self._say()

    def _say(self) -> None:
        self._at = time.monotonic()
        for clip in self._clips:
            self._work.told(Told(id=clip.job.id, passes=self._passes, of=self._of, frames=self._frames))
