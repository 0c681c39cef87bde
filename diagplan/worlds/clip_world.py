"""A world model whose tokenizer takes clips whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.video.files import read_frames
from diagplan.worlds.source import Source

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model
    from diagplan.adapters.cosmos_config import CosmosConfig
    from diagplan.adapters.cosmos_tokenizer import CosmosTokenizer

__all__ = ["ClipWorld"]

Ids = NDArray[np.int64]
Frames = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class ClipWorld:
    """A world model whose tokenizer takes clips whole: a frame of tokens stands for several frames of pixels.

    Frames are counted in pixels: ``layout(24, 9)`` of Cosmos has 3 frames of tokens after 2. The first frame of a clip
    is one frame of tokens, each other stands for ``tokenizer.step`` frames. There are no actions, and no window slides.

    Attributes:
        name: for people.
        source: the transformer's files; ``model`` loads it, once.
        tokenizer: of clips: ``encode_prompt``, ``decode``, ``clip``, ``prompts``, ``step``.
        config: the transformer's sizes.
        fps: of videos.
    """

    name: str
    source: Source
    tokenizer: "CosmosTokenizer"
    config: "CosmosConfig"
    fps: int

    #: Tokens of one action: there are none.
    block = 0
    #: No window slides, no action is a word, and how well the tokenizer gives clips back was not measured.
    keeps = words = controls = map_rows = least_psnr = None

    @property
    def rows(self) -> int:
        """Rows of tokens of a frame."""
        return self.config.video_latent_shape[1]

    @property
    def cols(self) -> int:
        """Columns of tokens of a frame."""
        return self.config.video_latent_shape[2]

    @property
    def context_frames(self) -> int:
        """Frames of pixels of a clip, prompt included."""
        return int(self.tokenizer.clip[0])

    @property
    def prompt_frames(self) -> int:
        """Frames of pixels that are given where nobody says how many."""
        return max(self.tokenizer.prompts)

    def read_actions(self, path: Path) -> NoReturn:
        """No actions are known.

        Raises:
            SpecError: always.
        """
        raise SpecError(f"expected no actions, which Cosmos does not know, got {path}. Leave them out.")

    def read_frames(self, path: Path) -> Iterator[Frames]:
        """The frames of a video file, uint8 [height, width, 3] each."""
        return read_frames(path)

    @property
    def reads_text(self) -> bool:
        """Whether a text is needed that is not there yet: ``with_text``."""
        return self.config.context_dim is not None and self.source.options.context is None and not self.source.exported

    def with_text(self, features: Any) -> "ClipWorld":
        """The same world, led by a text: features as for ``load_model``'s context."""
        return replace(self, source=self.source.replaced(context=features))

    def require_text(self) -> None:
        """Raise ``SpecError`` where a text is needed that is not there."""
        if self.reads_text:
            raise SpecError(
                f"expected a text for {self.name}, a Video2World model, got none. Give --context FILE of text "
                "features, or --text TEXT and --text-encoder FOLDER."
            )

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

    def reconstruct(self, frames: Frames) -> Frames:
        """What the tokenizer makes of prompt frames uint8 [n, height, width, 3]: encoded, and decoded again.

        It decodes whole clips only: the rest is filled up with the last frame, as when a prompt is encoded.
        """
        filler = np.repeat(frames[-1:], self.context_frames - len(frames), axis=0)
        decoded: Frames = self.tokenizer.decode(self.tokenizer.encode(np.concatenate([frames, filler])))
        return decoded[: len(frames)]

    def given(self, layout: Layout, prompt: Ids, actions: Ids) -> Ids:
        """The given ids of a layout in slot order, int64 [1, G]; there are no actions."""
        del layout, actions
        return self.config.given(prompt)

    def start(self, prompt: Frames, actions: Ids | None = None, **options: Any) -> NoReturn:
        """A clip is made whole, and not stepped.

        Raises:
            SpecError: always.
        """
        del prompt, actions, options
        raise SpecError(
            f"expected a world that is stepped frame by frame, got {self.name}. It makes {self.context_frames} frames "
            "at once; generate a clip."
        )

    def decoding(self, prompt: Ids) -> Callable[[Ids], Frames]:
        """As for ``FrameWorld``; nothing comes before the last frame of tokens, and with it all pictures."""
        clip = list(prompt)

        def pictures(tokens: Ids) -> Frames:
            clip.append(tokens)
            if self.pictures(len(clip)) < self.context_frames:
                return np.empty((0, self.height, self.width, 3), dtype=np.uint8)
            decoded: Frames = self.tokenizer.decode(np.stack(clip))
            return decoded[self.pictures(len(prompt)) :]

        return pictures
