"""The colours of the drawings: a perceptual ramp for steps, and fixed colours with one meaning each."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Colour", "blend", "hex_code", "on", "ramp", "rgb"]

Colour = tuple[int, int, int]

# Eleven equidistant samples of viridis (S. van der Walt and N. Smith, CC0).
_VIRIDIS = "440154 482475 414487 355f8d 2a788e 21918c 22a884 44bf70 7ad151 bddf26 fde725"
_TABLE = np.array([list(bytes.fromhex(code)) for code in _VIRIDIS.split()], dtype=np.float64)  # [11, 3]


def ramp(step: ArrayLike, steps: int) -> NDArray[np.uint8]:
    """The colour of each step out of ``steps``, uint8 [..., 3]; the first is dark, the last bright.

    >>> ramp([0, 9], 10).tolist()
    [[68, 1, 84], [253, 231, 37]]
    """
    at = np.clip(np.asarray(step, dtype=np.float64) / max(1, steps - 1), 0, 1) * (len(_TABLE) - 1)
    left = np.minimum(at.astype(np.intp), len(_TABLE) - 2)
    part = (at - left)[..., None]
    return np.asarray(np.rint(_TABLE[left] * (1 - part) + _TABLE[left + 1] * part), dtype=np.uint8)


def rgb(code: str) -> Colour:
    """The colour of a code of six hexadecimal digits.

    >>> rgb("ff8000")
    (255, 128, 0)
    """
    red, green, blue = bytes.fromhex(code)
    return red, green, blue


def hex_code(colour: ArrayLike) -> str:
    """A colour as ``#rrggbb``.

    >>> hex_code((255, 128, 0))
    '#ff8000'
    """
    return "#" + bytes(np.asarray(colour, dtype=np.uint8).tolist()).hex()


def blend(colour: Colour, other: Colour, part: float) -> Colour:
    """``colour`` with ``part`` (0 to 1) of it replaced by ``other``."""
    red, green, blue = (round(a * (1 - part) + b * part) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def on(background: ArrayLike) -> Colour:
    """The text colour, white or near black, that is readable on a background."""
    red, green, blue = np.asarray(background, dtype=np.float64).tolist()
    return (255, 255, 255) if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else (24, 28, 38)
