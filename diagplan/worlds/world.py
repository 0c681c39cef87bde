"""What ``generate`` needs of a world model, the same for every family."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from diagplan.backends.given import given_from_prompt
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.video.files import read_frames
from diagplan.worlds.source import Source

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model
    from diagplan.adapters.cosmos_config import CosmosConfig
    from diagplan.schemas.world import ActionWords

__all__ = ["ClipWorld", "World"]

Ids = NDArray[np.int64]
Frames = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class World:
    """A world model whose image tokenizer works frame by frame.

    Attributes:
        name: for people.
        source: the transformer's files; ``model`` loads it, once.
        tokenizer: frames to tokens and back: ``encode``, ``decode``, ``codes``, ``factor``.
        rows, cols: tokens of a frame.
        block: tokens of one action; 0: the model knows no actions.
        context_frames: most frames of one sequence, prompt included.
        fps: of videos.
        read_actions: action blocks int64 [n, block] of an actions file.
        read_frames: the frames of a video file, uint8 [height, width, 3] each.
        prompt_frames: frames that are given where nobody says how many.
        keeps: frames that its release keeps where a window slides; ``None``: it has no such rule.
        words: ids of the actions, where an action is one word.
        map_rows: rows of tokens, from the top, that move with the player.
    """

    name: str
    source: Source
    tokenizer: Any
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
    map_rows: int | None = None

    @property
    def reads_text(self) -> bool:
        """Whether a text is needed that is not there yet: ``with_text``."""
        return False

    def require_text(self) -> None:
        """Raise ``SpecError`` where a text is needed that is not there."""

    def load(self) -> "Model":
        """The transformer, loaded if that was not done before.

        Raises:
            SpecError: it reads a text, and there is none.
            DiagplanError: as ``load_model``.
        """
        self.require_text()
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

    def given(self, layout: Layout, prompt: Ids, actions: Ids) -> Ids:
        """The given ids of a layout in slot order, int64 [1, G]."""
        return given_from_prompt(layout, prompt, actions if self.block else None)

    def decoding(self, _prompt: Ids) -> Callable[[Ids], Frames]:
        """A function that is given the tokens int64 [rows, cols] of one frame after the other.

        It returns the pictures that each of them completes, uint8 [n, height, width, 3].

        Args:
            _prompt: tokens of the prompt frames.
        """

        def pictures(tokens: Ids) -> Frames:
            decoded: Frames = self.tokenizer.decode(tokens[None])
            return decoded

        return pictures


@dataclass(frozen=True, kw_only=True)
class ClipWorld(World):
    """A world model whose tokenizer takes clips whole: a frame of tokens stands for several frames of pixels.

    Frames are counted in pixels: ``layout(24, 9)`` of Cosmos has 3 frames of tokens after 2. The first frame of a clip
    is one frame of tokens, each other stands for ``tokenizer.step`` frames. There are no actions, and no window slides.

    Attributes:
        config: the transformer's sizes.
    """

    config: "CosmosConfig"

    @property
    def reads_text(self) -> bool:
        """Whether a text is needed that is not there yet: ``with_text``."""
        return self.config.context_dim is not None and self.source.context is None and not self.source.exported

    def with_text(self, features: Any) -> "ClipWorld":
        """The same world, led by a text: features as for ``load_model``'s context."""
        return replace(self, source=replace(self.source, context=features))

    def require_text(self) -> None:
        """Raise ``SpecError`` where a text is needed that is not there."""
        if self.reads_text:
            raise SpecError(
                f"expected a text for {self.name}, a Video2World model, got none. Give --context FILE of text "
                "features, or --text TEXT and --text-encoder FOLDER."
            )

    @property
    def height(self) -> int:
        """Pixels of a frame."""
        return int(self.tokenizer.clip[1])

    @property
    def width(self) -> int:
        """Pixels of a frame."""
        return int(self.tokenizer.clip[2])

    def pictures(self, token_frames: int) -> int:
        """How many frames of pixels the first ``token_frames`` frames of tokens are."""
        return 1 + (token_frames - 1) * int(self.tokenizer.step)

    def layout(self, frames: int, prompt_frames: int | None = None) -> Layout:
        """The layout of a whole clip; both are counted in frames of pixels.

        Raises:
            SpecError: not a whole clip, or not a number of prompt frames that the tokenizer knows.
        """
        prompt = self.prompt_frames if prompt_frames is None else prompt_frames
        known = {count: f"{count} + {self.context_frames - count}" for count in self.tokenizer.prompts}
        if prompt not in known or prompt + frames != self.context_frames:
            raise SpecError(
                f"expected given and generated frames of a whole clip, {' or '.join(known.values())}, got {prompt} + "
                f"{frames}. {self.name} makes {self.context_frames} frames at once, prompt included."
            )
        return self.config.layout(prompt_frames=self.tokenizer.prompts[prompt])

    def window(self, keep: int) -> NoReturn:
        """No window slides.

        Raises:
            SpecError: always.
        """
        raise SpecError(
            f"expected no --keep for {self.name}, got {keep}. It makes {self.context_frames} frames at once; begin "
            "another clip with its last frames, cut to a file of their own."
        )

    def fits(self, layout: Layout) -> bool:
        """Whether a plan's layout is this world's."""
        return layout in [self.layout(self.context_frames - count, count) for count in self.tokenizer.prompts]

    def example(self) -> Layout:
        """One of the layouts that fit."""
        return self.layout(self.context_frames - self.prompt_frames)

    def encode(self, frames: Frames) -> Ids:
        """Tokens int64 [F, rows, cols] of prompt frames uint8 [n, height, width, 3]."""
        tokens: Ids = self.tokenizer.encode_prompt(frames)
        return tokens

    def given(self, _layout: Layout, prompt: Ids, _actions: Ids) -> Ids:
        """The given ids of a layout in slot order, int64 [1, G]."""
        return self.config.given(prompt)

    def decoding(self, prompt: Ids) -> Callable[[Ids], Frames]:
        """As for ``World``; nothing comes before the last frame of tokens, and with it all pictures."""
        clip = list(prompt)

        def pictures(tokens: Ids) -> Frames:
            clip.append(tokens)
            if self.pictures(len(clip)) < self.context_frames:
                return np.empty((0, self.height, self.width, 3), dtype=np.uint8)
            decoded: Frames = self.tokenizer.decode(np.stack(clip))
            return decoded[self.pictures(len(prompt)) :]

        return pictures
