"""Keys and mouse to the actions of a world: what a player presses, as a line of an actions file and as a block.

Keys are named as a browser's ``KeyboardEvent.code`` names them: by their place, whatever the keyboard's language.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.mc_ar_actions import BUTTON_KEYS, encode_actions
from diagplan.adapters.wham_actions import BUTTONS, FIRST_ACTION
from diagplan.planner.errors import SpecError
from diagplan.planner.shown import shown

if TYPE_CHECKING:
    from diagplan.schemas.world import ActionWords

__all__ = ["Controls", "Held", "mc_ar_controls", "wham_controls", "word_controls"]

Ids = NDArray[np.int64]
Line = dict[str, Any]


class Held(NamedTuple):
    """What a player holds at one moment.

    Attributes:
        keys: codes of the keys, the newest last.
        dx, dy: how far the mouse was moved since the last frame, right and down, in pixels.
        buttons: of the mouse, by the numbers of ``MouseEvent.button``: 0 left, 1 middle, 2 right.
    """

    keys: tuple[str, ...] = ()
    dx: float = 0.0
    dy: float = 0.0
    buttons: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Controls:
    """How a world is played.

    Attributes:
        keys: code of a key -> what it does, for people.
        touch: the keys that a touch screen has buttons for.
        mouse: whether the mouse does something.
        line: what is held, as a line of the world's actions file.
        block: such a line as the block of one action, int64 [n]; raises ``DiagplanError`` for another one.
    """

    keys: Mapping[str, str]
    touch: tuple[str, ...]
    mouse: bool
    line: Callable[[Held], Line]
    block: Callable[[Any], Ids]


_ARROWS = {"left": "ArrowLeft", "right": "ArrowRight", "up": "ArrowUp", "down": "ArrowDown"}
_WASD = {"left": "KeyA", "right": "KeyD", "up": "KeyW", "down": "KeyS"}
#: The ends of names that are moves.
_MOVES = {"forward": "up", "back": "down", "backward": "down"} | {name: name for name in _ARROWS}
_DOING = ("do", "attack", "use", "interact")
_FREE = (
    *(f"Digit{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)), "KeyE", "KeyR", "KeyF", "KeyZ", "KeyX", "KeyC", "KeyV",
    "KeyT", "KeyG", "KeyB", "KeyY", "KeyH", "KeyN", "KeyU", "KeyJ", "KeyI", "KeyK",
)  # fmt: skip


def word_controls(words: "ActionWords") -> Controls:
    """Of a world whose action is one word a frame: the arrows and WASD move, Space does, digits and letters the rest.

    Of several keys that are held the newest counts; with none the action is ``noop``, or the first that moves nothing.
    """
    keys: dict[str, str] = {}
    idle = "noop" if "noop" in words.ids else next(iter(words.ids))
    free = iter(_FREE)
    for name in words.ids:
        move = _MOVES.get(name.rpartition("_")[2])
        taken = [_ARROWS[move], _WASD[move]] if move else ["Space"] if name in _DOING else []
        taken = [code for code in taken if code not in keys]
        if name != idle:
            keys |= dict.fromkeys(taken or [code for code in [next(free, None)] if code], name)

    def line(held: Held) -> Line:
        pressed = [keys[code] for code in held.keys if code in keys]
        return {"action": pressed[-1] if pressed else idle}

    def block(action: Any) -> Ids:
        name = action.get("action") if isinstance(action, Mapping) else action
        if not isinstance(name, str) or name not in words.ids:
            raise SpecError(
                f"expected an action of {', '.join(words.ids)}, got action={shown(name)}. Name one of them."
            )
        return np.array([words.begin, words.ids[name], words.end], dtype=np.int64)

    buttons = [code for code in keys if not code.startswith("Key")]
    return Controls(keys=MappingProxyType(keys), touch=tuple(buttons), mouse=False, line=line, block=block)


#: Code -> key as MineWorld's recordings name it.
_MINECRAFT = {
    "Space": "space", "ShiftLeft": "left.shift", "ControlLeft": "left.control", "Escape": "escape",
    **{f"Key{letter}": letter.lower() for letter in "WASDQFE"}, **{f"Digit{n}": str(n) for n in range(1, 10)},
}  # fmt: skip


def mc_ar_controls() -> Controls:
    """MineWorld's: keyboard and mouse, which the arrows stand in for."""
    buttons = {key: name for name, key in BUTTON_KEYS.items()}
    keys = {code: buttons[f"key.keyboard.{key}"] for code, key in _MINECRAFT.items()}
    keys |= {code: f"look {name}" for name, code in _ARROWS.items()}

    def line(held: Held) -> Line:
        names = [f"key.keyboard.{_MINECRAFT[code]}" for code in held.keys if code in _MINECRAFT]
        dx, dy = _arrows(held)
        # Of a recording's mouse button 1 is the right one and 2 the middle one.
        pressed = sorted({{0: 0, 1: 2, 2: 1}[number] for number in held.buttons if number in (0, 1, 2)})
        return {
            "keyboard": {"keys": names},
            "mouse": {"dx": held.dx + 80 * dx, "dy": held.dy + 80 * dy, "buttons": pressed},
        }

    def block(action: Any) -> Ids:
        return np.asarray(encode_actions([action])[0])

    touch = (*_ARROWS.values(), "KeyW", "KeyA", "KeyS", "KeyD", "Space")
    return Controls(keys=MappingProxyType(keys), touch=touch, mouse=True, line=line, block=block)


_PAD = (*(f"Digit{n}" for n in (1, 2, 3, 4, 5, 6, 7, 8, 9, 0)), "Space", "KeyE")


def wham_controls(image_codes: int) -> Controls:
    """WHAM's: WASD is the left stick, the arrows are the right one, digits, Space and E are its twelve buttons.

    Args:
        image_codes: ids of images, which come before those of actions.
    """
    keys = {code: f"button {number}" for number, code in enumerate(_PAD)}
    keys |= {code: f"left stick {name}" for name, code in _WASD.items()}
    keys |= {code: f"right stick {name}" for name, code in _ARROWS.items()}
    assert len(_PAD) == BUTTONS

    def line(held: Held) -> Line:
        sticks = [*_arrows(held, _WASD), *_arrows(held)]
        # NOTE: why no mouse? A stick has a position, a mouse none.
        return {"buttons": [int(code in held.keys) for code in _PAD], "sticks": [float(axis) for axis in sticks]}

    def block(action: Any) -> Ids:
        from diagplan.adapters.wham_recordings import encode_line

        return np.asarray(encode_line(action) - FIRST_ACTION + image_codes)

    touch = (*_WASD.values(), *_ARROWS.values(), *_PAD[:4])
    return Controls(keys=MappingProxyType(keys), touch=touch, mouse=False, line=line, block=block)


def _arrows(held: Held, codes: Mapping[str, str] = _ARROWS) -> tuple[int, int]:
    """Which way four keys point: right and down."""
    down = {name for name, code in codes.items() if code in held.keys}
    return ("right" in down) - ("left" in down), ("down" in down) - ("up" in down)
