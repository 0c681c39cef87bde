"""What of texts is handed to a model: ids of every branch of guidance, padded on the left to one length.

Shapes: B pictures, P leading ids, G given slots.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.arguments import require_kind
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout, require_int
from diagplan.planner.shown import shown

__all__ = ["Branch", "Prompted", "Request", "padded", "parse_ratio", "parse_size"]

#: The largest side of a picture, in pixels, and of a ratio.
_LARGEST = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked for.

    Args:
        texts: a prompt for each picture; of LlamaGen's classes the number of a class.
        negative: what guidance leads away from; ``None``: as the family's release has it.
        size: width and height in pixels; ``None``: the family's own.
        ratio: width : height, where a family has sizes by ratio.
        suffix: appended to every prompt; ``None``: as the release does. ``""``: nothing.
        guided: whether there are branches without the condition.
        features: a file for each text, of what an encoder made of it, for a model that reads no ids (LlamaGen).

    Raises:
        SpecError: no text, or a value of another kind.
    """

    texts: tuple[str, ...]
    negative: str | None = None
    size: tuple[int, int] | None = None
    ratio: tuple[int, int] | None = None
    suffix: str | None = None
    guided: bool = True
    features: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        require_kind("texts", self.texts, tuple | list, "Give a list of prompts.", what="a list of texts")
        if not self.texts:
            raise SpecError("expected a prompt at least, got none. Give a text.")
        for text in self.texts:
            require_kind("a prompt", text, str, "Give a text.")
        object.__setattr__(self, "texts", tuple(self.texts))
        if self.size is not None and self.ratio is not None:
            raise SpecError("expected size or ratio, got both. Give one of them.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One branch of guidance.

    Attributes:
        ids: leading ids, int64 [B, P], in the ids of the model as diagplan feeds it.
        pad: how many of them, from the left, are padding that nothing sees, int64 [B].
    """

    ids: NDArray[np.int64]
    pad: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompted:
    """What a model is handed.

    Attributes:
        layouts: grids in the order in which they are generated; the last is the picture's, and each leads the next.
        branches: the conditional one first; alone where there is no guidance.
        between: ids between two rows.
        width, height: of the picture, in pixels.
        texts: the prompts, as they were given.
        features: of each text, float32 [T, width], where the model reads those.
    """

    layouts: tuple[Layout, ...]
    branches: tuple[Branch, ...]
    between: tuple[int, ...] = ()
    width: int
    height: int
    texts: tuple[str, ...]
    features: tuple[NDArray[np.float32], ...] = ()

    def given(self, branch: int, *, at: int = 0) -> NDArray[np.int64]:
        """The given ids of a layout in slot order, but for what is generated before it, int64 [B, G].

        Args:
            branch: number of the branch.
            at: number of the layout.
        """
        lead = self.branches[branch].ids
        rows = np.tile(np.array(self.between, dtype=np.int64), self.layouts[at].rows - 1)
        return np.concatenate([lead, np.broadcast_to(rows, (len(lead), len(rows)))], axis=1)

    @property
    def pad(self) -> NDArray[np.int64]:
        """Padding of all rows, branch after branch, int64 [branches x B]."""
        return np.concatenate([branch.pad for branch in self.branches])

    def only(self, samples: slice) -> "Prompted":
        """The same for some of the pictures."""
        branches = tuple(Branch(ids=one.ids[samples], pad=one.pad[samples]) for one in self.branches)
        return replace(self, branches=branches, texts=self.texts[samples], features=self.features[samples])


def padded(branches: Sequence[Sequence[Sequence[int]]], filler: int) -> tuple[Branch, ...]:
    """Branches of one length: every prompt is padded on the left to the longest of all.

    Args:
        branches: ids of each prompt of each branch.
        filler: the id of padding.

    >>> padded([[[5, 6, 7], [8]]], 0)[0].ids.tolist()
    [[5, 6, 7], [0, 0, 8]]
    """
    longest = max(len(ids) for branch in branches for ids in branch)
    return tuple(
        Branch(
            ids=np.array([[filler] * (longest - len(ids)) + list(ids) for ids in branch], dtype=np.int64),
            pad=np.array([longest - len(ids) for ids in branch], dtype=np.int64),
        )
        for branch in branches
    )


def parse_size(value: Any) -> tuple[int, int]:
    """Width and height of a text such as ``1024x768``, or of two numbers.

    Raises:
        SpecError: something else.

    >>> parse_size("1024x768")
    (1024, 768)
    """
    return _pair("size", value, "x", "1024x768")


def parse_ratio(value: Any) -> tuple[int, int]:
    """Width and height of a text such as ``16:9``, or of two numbers.

    Raises:
        SpecError: something else.

    >>> parse_ratio("16:9")
    (16, 9)
    """
    return _pair("ratio", value, ":", "16:9")


def _pair(name: str, value: Any, mark: str, example: str) -> tuple[int, int]:
    parts: Any = value
    if isinstance(value, str):
        written = re.fullmatch(rf" *([0-9]{{1,6}}) *{mark} *([0-9]{{1,6}}) *", value)
        parts = [] if written is None else [int(part) for part in written.groups()]
    if not isinstance(parts, tuple | list) or len(parts) != 2:
        raise SpecError(
            f"expected {name} as width and height with {mark!r} between, got {name}={shown(value)}. Write {example}."
        )
    width, height = (require_int(name, part, 1, largest=_LARGEST) for part in parts)
    return width, height
