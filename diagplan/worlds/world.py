"""What ``generate`` needs of a world model, the same for every family; and how a family opens one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.options import LoadOptions
from diagplan.planner.layout import Layout
from diagplan.worlds.source import Source

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model
    from diagplan.schemas.world import ActionWords
    from diagplan.worlds.controls import Controls

__all__ = ["World", "WorldFiles", "WorldOpener"]

Ids = NDArray[np.int64]
Frames = NDArray[np.uint8]


class World(Protocol):
    """A world model: a transformer, its image tokenizer, and how actions become tokens.

    ``FrameWorld`` and ``ClipWorld`` are the two kinds that there are. Frames are counted in pixels.
    """

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def source(self) -> Source:
        """The transformer's files; ``model`` loads it, once."""
        ...

    @property
    def tokenizer(self) -> Any:
        """Frames to tokens and back: an ``ImageTokenizer``, or a family's tokenizer of clips."""
        ...

    @property
    def rows(self) -> int:
        """Rows of tokens of a frame."""
        ...

    @property
    def cols(self) -> int:
        """Columns of tokens of a frame."""
        ...

    @property
    def block(self) -> int:
        """Tokens of one action; 0: the model knows no actions."""
        ...

    @property
    def context_frames(self) -> int:
        """Most frames of one sequence, prompt included."""
        ...

    @property
    def fps(self) -> int:
        """Frames a second of videos."""
        ...

    @property
    def prompt_frames(self) -> int:
        """Frames that are given where nobody says how many."""
        ...

    @property
    def keeps(self) -> int | None:
        """Frames that its release keeps where a window slides; ``None``: it has no such rule."""
        ...

    @property
    def words(self) -> "ActionWords | None":
        """Ids of the actions, where an action is one word."""
        ...

    @property
    def controls(self) -> "Controls | None":
        """Keys to actions; ``None``: nobody has said how it is played."""
        ...

    @property
    def map_rows(self) -> int | None:
        """Rows of tokens, from the top, that move with the player."""
        ...

    @property
    def least_psnr(self) -> float | None:
        """Least dB at which the tokenizer gives pictures back that it knows; ``None``: nobody has measured that."""
        ...

    @property
    def reads_text(self) -> bool:
        """Whether a text is needed that is not there yet: ``with_text``."""
        ...

    @property
    def model(self) -> "Model":
        """The transformer, loaded when it is first asked for."""
        ...

    @property
    def height(self) -> int:
        """Pixels of a frame."""
        ...

    @property
    def width(self) -> int:
        """Pixels of a frame."""
        ...

    def read_actions(self, path: Path, /) -> Ids:
        """Action blocks int64 [n, block] of an actions file."""
        ...

    def read_frames(self, path: Path, /) -> Iterator[Frames]:
        """The frames of a video file, uint8 [height, width, 3] each."""
        ...

    def require_text(self) -> None:
        """Raise ``SpecError`` where a text is needed that is not there."""
        ...

    def with_text(self, features: Any) -> "World":
        """The same world, led by a text: features as for ``load_model``'s context."""
        ...

    def load(self) -> "Model":
        """The transformer, loaded if that was not done before."""
        ...

    def layout(self, frames: int, prompt_frames: int | None = None) -> Layout:
        """The layout of ``frames`` generated frames after ``prompt_frames`` given ones."""
        ...

    def window(self, keep: int) -> Layout:
        """The layout of a window that slides and keeps ``keep`` frames, for ``compile_rollout``."""
        ...

    def fits(self, layout: Layout) -> bool:
        """Whether a plan's layout is this world's."""
        ...

    def example(self) -> Layout:
        """One of the layouts that fit."""
        ...

    def pictures(self, token_frames: int) -> int:
        """How many frames of pixels the first ``token_frames`` frames of tokens are."""
        ...

    def encode(self, frames: Frames) -> Ids:
        """Tokens int64 [F, rows, cols] of prompt frames uint8 [n, height, width, 3]."""
        ...

    def reconstruct(self, frames: Frames) -> Frames:
        """What the tokenizer makes of prompt frames uint8 [n, height, width, 3]: encoded, and decoded again."""
        ...

    def given(self, layout: Layout, prompt: Ids, actions: Ids) -> Ids:
        """The given ids of a layout in slot order, int64 [1, G]."""
        ...

    def start(self, prompt: Frames, actions: Ids | None = None, **options: Any) -> Any:
        """A ``Session`` that is stepped frame by frame; arguments as for ``diagplan.worlds.session.start``."""
        ...

    def decoding(self, prompt: Ids) -> Callable[[Ids], Frames]:
        """A function that is given the tokens int64 [rows, cols] of one frame after the other.

        It returns the pictures that each of them completes, uint8 [n, height, width, 3].

        Args:
            prompt: tokens of the prompt frames.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldFiles:
    """What a world model is opened from.

    Attributes:
        model: the name of a release, or of a folder.
        folder: of a world model, or of what was exported of one; ``None``: a release.
        weights: of a release.
        tokenizer: of a release.
    """

    model: str
    folder: Path | None = None
    weights: str | Path | None = None
    tokenizer: str | Path | None = None


#: How a family opens its world models: files and options to a world whose transformer is not loaded yet.
WorldOpener = Callable[[WorldFiles, LoadOptions], World]
