"""MC-AR's action blocks: 11 tokens between two frames, made from recorded keyboard and mouse.

Recorded actions are JSON lines in the form of OpenAI's VPT recordings, one a frame, of which are read
``{"keyboard": {"keys": ["key.keyboard.w"]}, "mouse": {"dx": 0, "dy": 0, "buttons": [0]}}``.
"""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diagplan.planner.errors import DocumentError, SpecError

__all__ = ["ACTION_IDS", "ACTION_TOKENS", "BLOCK", "BUTTON_KEYS", "FIRST_ACTION", "decode_actions", "encode_actions"]

#: Tokens of one block.
BLOCK = 11
#: The id of the first action token: image ids come before it.
FIRST_ACTION = 8192

_BINS = 21
_BIN = 9.0
_LARGEST = 90.0  # degrees
_MU = 11.4887
_DEGREES = 360 / 2400  # of one unit of dx or dy

_HOTBAR = tuple(f"hotbar.{i}" for i in range(1, 10))
#: The 68 action tokens in the order of their ids.
ACTION_TOKENS = (
    "use", "attack", "forward", "back", "left", "right", "jump", "sneak", "sprint", "drop", "swapHands", "pickItem",
    "inventory", "ESC", *_HOTBAR, *(f"cam_0_{i}" for i in range(_BINS)), *(f"cam_1_{i}" for i in range(_BINS)),
    "<act_bos>", "<null_act>", "<act_eos>",
)  # fmt: skip
#: Token -> id.
ACTION_IDS: Mapping[str, int] = MappingProxyType({name: FIRST_ACTION + i for i, name in enumerate(ACTION_TOKENS)})

#: Button -> key, as recorded. Keys that are not here do nothing.
BUTTON_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "forward": "key.keyboard.w",
        "back": "key.keyboard.s",
        "left": "key.keyboard.a",
        "right": "key.keyboard.d",
        "jump": "key.keyboard.space",
        "sneak": "key.keyboard.left.shift",
        "sprint": "key.keyboard.left.control",
        "drop": "key.keyboard.q",
        "swapHands": "key.keyboard.f",
        "inventory": "key.keyboard.e",
        "ESC": "key.keyboard.escape",
    }
    | {name: f"key.keyboard.{name[-1]}" for name in _HOTBAR}
)
_KEY_BUTTONS = {key: button for button, key in BUTTON_KEYS.items()}
_MOUSE_BUTTONS = ("attack", "use", "pickItem")

#: Places 3 to 9 of a block. A place of a pair is null with both pressed; of several hotbar keys the first counts.
_PLACES = (
    _HOTBAR,
    ("forward", "back"),
    ("left", "right"),
    ("sprint", "sneak"),
    ("use", "attack"),
    ("jump",),
    ("drop", "pickItem"),
)
_NULL = ACTION_IDS["<null_act>"]
_CAMERA = tuple(ACTION_IDS[f"{axis}_0"] for axis in ("cam_0", "cam_1"))  # y, then x


def encode_actions(
    actions: str | Path | Iterable[str | Mapping[str, Any]], *, as_release: bool = False
) -> NDArray[np.int64]:
    """The blocks of recorded actions, int64 [n, 11].

    Args:
        actions: a file of JSON lines, or its lines, or the actions themselves.
        as_release: do as the release's reader, which cuts degrees to whole ones towards zero (1.9 degrees become
            bin 10 instead of 11) and drops both of jump and sneak where both are pressed.

    Raises:
        DocumentError: a file that cannot be read, or a line that is no action; the message names the line.

    >>> encode_actions(['{"keyboard": {"keys": ["key.keyboard.w"]}, "mouse": {"dx": 0, "dy": 0, "buttons": [0]}}'])
    array([[8257, 8225, 8246, 8258, 8194, 8258, 8258, 8193, 8258, 8258, 8259]])
    """
    lines = _lines(Path(actions)) if isinstance(actions, (str, Path)) else actions
    read = [_action(line, number) for number, line in enumerate(lines, start=1)]
    blocks = np.full((len(read), BLOCK), _NULL, dtype=np.int64)
    blocks[:, 0], blocks[:, -1] = ACTION_IDS["<act_bos>"], ACTION_IDS["<act_eos>"]
    degrees = np.array([camera for camera, _ in read], dtype=np.float64).reshape(-1, 2)
    blocks[:, 1:3] = _camera_bins(np.trunc(degrees) if as_release else degrees) + np.array(_CAMERA)
    for block, (_, pressed) in zip(blocks, read, strict=True):
        if as_release and {"jump", "sneak"} <= pressed:
            pressed -= {"jump", "sneak"}
        for place, buttons in enumerate(_PLACES, start=3):
            held = [button for button in buttons if button in pressed]
            if len(held) == 1 or (held and buttons is _HOTBAR):
                block[place] = ACTION_IDS[held[0]]
    return blocks


def decode_actions(ids: ArrayLike) -> list[dict[str, Any]]:
    """Blocks as actions that ``encode_actions`` turns into the same blocks; the camera is that of a bin's centre.

    Not in a block, and so lost: the camera within a bin, swapHands, inventory, ESC, and pairs pressed together.

    Args:
        ids: int [n, 11].

    Raises:
        SpecError: not such blocks; the message names the first place that is wrong.

    >>> decode_actions([[8257, 8225, 8246, 8258, 8194, 8258, 8258, 8193, 8258, 8258, 8259]])[0]["keyboard"]
    {'keys': ['key.keyboard.w']}
    """
    blocks = np.asarray(ids)
    if blocks.ndim != 2 or blocks.shape[1] != BLOCK or not np.issubdtype(blocks.dtype, np.integer):
        raise SpecError(
            f"expected action blocks as integers [n, {BLOCK}], got {blocks.dtype} {list(blocks.shape)}. "
            f"A block is {BLOCK} tokens."
        )
    for place, allowed in enumerate(_ALLOWED):
        for row in np.flatnonzero(~np.isin(blocks[:, place], allowed))[:1]:
            raise SpecError(
                f"expected an id for place {place} of an action block, got id={blocks[row, place]} in block {row}. "
                f"That place holds one of {', '.join(ACTION_TOKENS[i - FIRST_ACTION] for i in allowed)}."
            )
    degrees = _bin_degrees(blocks[:, 1:3] - np.array(_CAMERA))
    decoded = []
    for (dy, dx), block in zip(degrees / _DEGREES, blocks, strict=True):
        pressed = [ACTION_TOKENS[i - FIRST_ACTION] for i in block[3:-1] if i != _NULL]
        keys = [BUTTON_KEYS[button] for button in pressed if button in BUTTON_KEYS]
        buttons = sorted(_MOUSE_BUTTONS.index(button) for button in pressed if button in _MOUSE_BUTTONS)
        mouse = {"dx": float(dx), "dy": float(dy), "buttons": buttons}
        decoded.append({"keyboard": {"keys": keys}, "mouse": mouse})
    return decoded


#: The ids that each place of a block may hold.
_ALLOWED: tuple[list[int], ...] = (
    [ACTION_IDS["<act_bos>"]],
    *([first + i for i in range(_BINS)] for first in _CAMERA),
    *([*(ACTION_IDS[button] for button in buttons), _NULL] for buttons in _PLACES),
    [ACTION_IDS["<act_eos>"]],
)


def _camera_bins(degrees: NDArray[np.float64]) -> NDArray[np.int64]:
    """Degrees [n, 2] to bins 0 to 20: clipped, mu-law encoded, rounded."""
    part = np.clip(degrees, -_LARGEST, _LARGEST) / _LARGEST
    encoded = np.sign(part) * np.log1p(_MU * np.abs(part)) / math.log1p(_MU) * _LARGEST
    return np.rint((encoded + _LARGEST) / _BIN).astype(np.int64)


def _bin_degrees(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """The degrees [n, 2] at the centres of bins."""
    part = (bins * _BIN - _LARGEST) / _LARGEST
    degrees: NDArray[np.float64] = np.sign(part) * np.expm1(np.abs(part) * math.log1p(_MU)) / _MU * _LARGEST
    return degrees


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "it is not UTF-8 text"
        raise DocumentError(f"cannot read {path}: {reason}. Check the name and the permissions.") from None
    # Not splitlines(): JSON text may hold the other line ends of Unicode.
    return text.removesuffix("\n").split("\n") if text else []


def _action(line: str | Mapping[str, Any], number: int) -> tuple[tuple[float, float], set[str]]:
    """The camera's degrees, y and x, and the buttons pressed."""
    try:
        action: Any = json.loads(line) if isinstance(line, str) else line
    except (ValueError, RecursionError):
        raise _bad(number, "a JSON object", str(line)[:60]) from None
    keyboard = _part(action, "keyboard", Mapping, "an object", number)
    mouse = _part(action, "mouse", Mapping, "an object", number)
    keys = _part(keyboard, "keys", list, "a list", number)
    buttons = _part(mouse, "buttons", list, "a list", number)
    degrees = [_part(mouse, name, (int, float), "a number", number) for name in ("dy", "dx")]
    for value in degrees:
        if isinstance(value, bool) or not abs(value) < 1e300:
            raise _bad(number, "finite numbers for dx and dy", value)
    pressed = {_KEY_BUTTONS[key] for key in keys if isinstance(key, str) and key in _KEY_BUTTONS}
    pressed |= {name for i, name in enumerate(_MOUSE_BUTTONS) if i in buttons}
    return (degrees[0] * _DEGREES, degrees[1] * _DEGREES), pressed


def _part(of: Any, name: str, kind: Any, words: str, number: int) -> Any:
    got = of.get(name) if isinstance(of, Mapping) else of
    if not isinstance(of, Mapping) or not isinstance(got, kind):
        raise _bad(number, f"{words} for {name}", repr(got)[:60])
    return got


def _bad(number: int, wanted: str, got: object) -> DocumentError:
    return DocumentError(
        f"expected {wanted}, got {got} in line {number}. A recorded action is one JSON object a line with "
        "keyboard.keys, mouse.dx, mouse.dy and mouse.buttons. Mend that line."
    )
