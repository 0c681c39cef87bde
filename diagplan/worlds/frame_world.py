"""A world model whose image tokenizer works frame by frame."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import ImageTokenizer
from diagplan.backends.given import given_from_prompt
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.video.files import read_frames
from diagplan.worlds.source import Source

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model
    from diagplan.schemas.world import ActionWords
    from diagplan.worlds.controls import Controls
    from diagplan.worlds.session import Session

__all__ = ["LEAST_PSNR", "FrameWorld"]

#: dB below which a tokenizer does not know the pictures; docs/generate.md says how the figure was chosen.
LEAST_PSNR = 25.0

Ids = NDArray[np.int64]
Frames = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class FrameWorld:
    """A world model whose image tokenizer works frame by frame.

    Attributes:
        name: for people.
        source: the transformer's files; ``model`` loads it, once.
        tokenizer: frames to tokens and back.
        rows, cols: tokens of a frame.
        block: tokens of one action; 0: the model knows no actions.
        context_frames: most frames of one sequence, prompt included.
        fps: of videos.
        read_actions: action blocks int64 [n, block] of an actions file.
        read_frames: the frames of a video file, uint8 [height, width, 3] each.
        prompt_frames: frames that are given where nobody says how many.
        keeps: frames that its release keeps where a window slides; ``None``: it has no such rule.
        words: ids of the actions, where an action is one word.
        controls: keys to actions; ``None``: nobody has said how it is played.
        map_rows: rows of tokens, from the top, that move with the player.
        least_psnr: least dB at which the tokenizer gives pictures back that it knows.
    """

    name: str
    source: Source
    tokenizer: ImageTokenizer
    rows: int
    cols: int
    block: int
    context_frames: int
    fps: int
    read_actions: Callable[[Path], Ids]
    read_frames: Callable[[Path], Iterator[Frames]] = field(default=read_frames)
    prompt_frames: int = 1
    keeps: int | None = None
    words: "ActionWords | None" = None
    controls: "Controls | None" = None
    map_rows: int | None = None
    least_psnr: float | None = LEAST_PSNR

    @property
    def reads_text(self) -> bool:
        """Whether a text is needed that is not there yet: never."""
        return False

    def require_text(self) -> None:
        """Nothing: no text is needed."""

    def with_text(self, features: Any) -> NoReturn:
        """No text is read.

        Raises:
            SpecError: always.
        """
        del features
        raise SpecError(f"expected no text: {self.name} reads none, got one. Leave it out.")

    def load(self) -> "Model":
        """The transformer, loaded if that was not done before.

        Raises:
            DiagplanError: as ``load_model``.
        """
        return self.model

    @cached_property
    def model(self) -> "Model":
        """The transformer, loaded when it is first asked for."""
        return self.source.load()

    @property
    def height(self) -> int:
        """Pixels of a frame."""
        return int(self.rows * self.tokenizer.factor)

    @property
    def width(self) -> int:
        """Pixels of a frame."""
        return int(self.cols * self.tokenizer.factor)

    def layout(self, frames: int, prompt_frames: int | None = None) -> Layout:
        """The layout of ``frames`` generated frames after ``prompt_frames`` given ones.

        Raises:
            SpecError: more frames than the model's context.
        """
        prompt = self.prompt_frames if prompt_frames is None else prompt_frames
        if frames + prompt > self.context_frames:
            raise SpecError(
                f"expected at most {self.context_frames} frames, prompt included, got {prompt} + {frames}. "
                f"{self.name} was trained on that many. Ask for fewer: "
                f"--frames {max(1, self.context_frames - prompt)}; or let a window slide that keeps some: --keep."
            )
        return Layout(frames=frames, rows=self.rows, cols=self.cols, prompt_frames=prompt, between_frames=self.block)

    def window(self, keep: int) -> Layout:
        """The layout of a window that slides and keeps ``keep`` frames, for ``compile_rollout``.

        Raises:
            SpecError: it would keep nothing, or leave no room.
        """
        if not 1 <= keep < self.context_frames:
            raise SpecError(
                f"expected to keep 1 to {self.context_frames - 1} of {self.context_frames} frames, got keep={keep}."
            )
        return self.layout(self.context_frames - keep, keep)

    def fits(self, layout: Layout) -> bool:
        """Whether a plan's layout is this world's, with a frame of pixels at least to begin with."""
        same = replace(layout, frames=1, prompt_frames=1) == self.layout(1, 1)
        return same and layout.prompt_frames >= 1 and layout.prompt_frames + layout.frames <= self.context_frames

    def example(self) -> Layout:
        """One of the layouts that fit."""
        return self.layout(1, 1)

    def pictures(self, token_frames: int) -> int:
        """How many frames of pixels the first ``token_frames`` frames of tokens are."""
        return token_frames

    def encode(self, frames: Frames) -> Ids:
        """Tokens int64 [F, rows, cols] of prompt frames uint8 [n, height, width, 3]."""
        tokens: Ids = self.tokenizer.encode(frames)
        return tokens

    def reconstruct(self, frames: Frames) -> Frames:
        """What the tokenizer makes of prompt frames uint8 [n, height, width, 3]: encoded, and decoded again."""
        decoded: Frames = self.tokenizer.decode(self.encode(frames))
        return decoded

    def given(self, layout: Layout, prompt: Ids, actions: Ids) -> Ids:
        """The given ids of a layout in slot order, int64 [1, G]."""
        return given_from_prompt(layout, prompt, actions if self.block else None)

    def start(self, prompt: Frames, actions: Ids | None = None, **options: Any) -> "Session":
        """A session that is stepped frame by frame; arguments as for ``diagplan.worlds.session.start``."""
        from diagplan.worlds.session import start

        return start(self, prompt, actions, **options)

    def decoding(self, prompt: Ids) -> Callable[[Ids], Frames]:
        """A function that is given the tokens int64 [rows, cols] of one frame after the other.

        It returns the pictures that each of them completes, uint8 [n, height, width, 3].

        Args:
            prompt: tokens of the prompt frames.
        """
        del prompt  # each frame is decoded by itself

        def pictures(tokens: Ids) -> Frames:
            decoded: Frames = self.tokenizer.decode(tokens[None])
            return decoded

        return pictures
