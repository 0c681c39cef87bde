"""What the page and the server say to each other; docs/play.md is the specification.

A client's messages are JSON texts, small and checked; the server's are JSON texts, and binary ones: one byte of kind,
four bytes of length, so long a JSON header, then the data.
"""

import io
import json
import math
import re
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import DiagplanError

__all__ = [
    "FRAME",
    "MOST_BYTES",
    "SAVED",
    "WAVE",
    "Budget",
    "HeldMessage",
    "MessageError",
    "Order",
    "binary",
    "parse",
    "picture",
    "text",
]

#: Bytes of a client's message.
MOST_BYTES = 2048
#: Kinds of binary messages.
FRAME, WAVE, SAVED = 1, 2, 3
_KEYS, _MOVE, _SEQ = 16, 10_000, 1 << 53
_CODE = re.compile(r"[A-Za-z0-9]{1,24}")


class MessageError(DiagplanError):
    """A client's message that is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldMessage:
    """What is held now.

    Attributes:
        seq: its number, which the frame that it acts on bears.
        keys: codes, the newest last.
        dx, dy: how far the mouse was moved since the message before.
        buttons: of the mouse.
    """

    seq: int
    keys: tuple[str, ...]
    dx: float
    dy: float
    buttons: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Something to do: ``reset``, ``plan``, ``wave``, ``pause`` or ``save``.

    Attributes:
        what: which of them.
        name: of a plan.
        on: whether a wave is shown, or the game is paused.
    """

    what: str
    name: str = ""
    on: bool = False


def parse(message: str) -> HeldMessage | Order:
    """A client's message.

    Raises:
        MessageError: another text.
    """
    if len(message) > MOST_BYTES:
        raise MessageError(f"expected a message of at most {MOST_BYTES} bytes, got {len(message)}.")
    try:
        content = json.loads(message)
    except (ValueError, RecursionError):
        raise MessageError("expected a JSON object, got another text.") from None
    if not isinstance(content, dict):
        raise MessageError("expected a JSON object, got another value.")
    match content:
        case {"type": "held", **rest} if set(rest) <= {"seq", "keys", "dx", "dy", "buttons"}:
            return _held(rest)
        case {"type": "reset" | "save" as what} if len(content) == 1:
            return Order(what=what)
        case {"type": "plan", "name": str(name)} if len(content) == 2:
            return Order(what="plan", name=name)
        case {"type": "wave" | "pause" as what, "on": bool(on)} if len(content) == 2:
            return Order(what=what, on=on)
    raise MessageError("expected a message of the protocol, got another one. docs/play.md lists them.")


def _held(content: dict[str, Any]) -> HeldMessage:
    seq, keys, buttons = content.get("seq", 0), content.get("keys", []), content.get("buttons", [])
    moves = [content.get(name, 0) for name in ("dx", "dy")]
    fine = (
        type(seq) is int
        and 0 <= seq < _SEQ
        and isinstance(keys, list)
        and len(keys) <= _KEYS
        and all(isinstance(key, str) and _CODE.fullmatch(key) for key in keys)
        and isinstance(buttons, list)
        and len(buttons) <= 5
        and all(type(button) is int and 0 <= button < 5 for button in buttons)
        and all(type(move) in (int, float) and math.isfinite(move) and abs(move) <= _MOVE for move in moves)
    )
    if not fine:
        raise MessageError("expected what is held in the protocol's form, got another one. docs/play.md describes it.")
    return HeldMessage(
        seq=seq, keys=tuple(keys), dx=float(moves[0]), dy=float(moves[1]), buttons=tuple(sorted(set(buttons)))
    )


def text(kind: str, **content: Any) -> str:
    """A message of the server's as text."""
    return json.dumps({"type": kind} | content, separators=(",", ":"))


def binary(kind: int, header: dict[str, Any], data: bytes) -> bytes:
    """A binary message of the server's."""
    head = json.dumps(header, separators=(",", ":")).encode()
    return bytes([kind]) + len(head).to_bytes(4, "little") + head + data


def picture(frame: NDArray[np.uint8]) -> bytes:
    """A frame as PNG, packed quickly rather than small."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame)).save(file, format="PNG", compress_level=1)
    return file.getvalue()


@dataclass(slots=True, kw_only=True)
class Budget:
    """How many messages a client may send: so many at once, and so many a second on the whole."""

    burst: float = 120.0
    rate: float = 60.0
    _left: float = field(default=-1.0, repr=False)
    _at: float = field(default=0.0, repr=False)

    def spend(self, now: float | None = None) -> bool:
        """Count one; false where it is one too many."""
        now = time.monotonic() if now is None else now
        before = self.burst if self._left < 0 else self._left + (now - self._at) * self.rate
        self._left, self._at = max(0.0, min(self.burst, before) - 1), now
        return before >= 1
