"""One player: what is held, what is to be done, and the frames of a session. It knows no network."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.play.messages import FRAME, WAVE, HeldMessage, Order, binary, picture, text
from diagplan.play.recording import Recording
from diagplan.play.stage import Stage
from diagplan.worlds.controls import Held
from diagplan.worlds.session import Session

__all__ = ["GoneError", "Player"]

#: Seconds over which frames a second are counted.
_SPAN = 3.0


class GoneError(Exception):
    """The player has left while a frame was decoded."""


class Player:
    """A player's side of a stage.

    ``hear`` is called where messages arrive; ``work`` and ``open`` in the thread that decodes.

    Args:
        stage: what is played.
        plan: the name of the plan to begin with.

    Attributes:
        paused: whether no frame is to be decoded.
        gone: set when the player has left: a frame that is being decoded ends at its next pass.
        recording: what was played since the last start.
    """

    def __init__(self, stage: Stage, plan: str) -> None:
        self.stage, self.plan = stage, plan
        self.paused = self.gone = self.wave = False
        self.recording = Recording()
        self._held, self._tapped = HeldMessage(seq=0, keys=(), dx=0, dy=0, buttons=()), deque[str](maxlen=8)
        self._dx = self._dy = 0.0
        self._reset, self._asked = False, ""
        self._session: Session | None = None
        self._times: deque[float] = deque(maxlen=256)
        self._number = 0

    def hear(self, message: HeldMessage | Order) -> None:
        """Take a message; the newest of a kind wins. ``save`` is not its business."""
        if isinstance(message, HeldMessage):
            # A key that is pressed and let go between two frames acts on the next one.
            self._tapped.extend(key for key in message.keys if key not in self._held.keys)
            self._held = message
            self._dx, self._dy = self._dx + message.dx, self._dy + message.dy
        elif message.what == "reset":
            self._reset = True
        elif message.what == "plan" and message.name in self.stage.schedules:
            self._asked = message.name
        elif message.what == "wave":
            self.wave = message.on
        elif message.what == "pause":
            self.paused = message.on

    @property
    def ordered(self) -> bool:
        """Whether there is something to do although the game is paused."""
        return self._reset or bool(self._asked)

    def take(self) -> tuple[Held, int]:
        """What acts on the next frame, and the number of the message that it came in."""
        held, tapped = self._held, [key for key in self._tapped if key not in self._held.keys]
        self._tapped.clear()
        moved = Held(keys=(*tapped, *held.keys), dx=self._dx, dy=self._dy, buttons=held.buttons)
        self._dx = self._dy = 0.0
        return moved, held.seq

    def hello(self) -> str:
        """The first message."""
        world, controls = self.stage.world, self.stage.controls
        return text(
            "hello", world=world.name, width=world.width, height=world.height, rows=world.rows, cols=world.cols,
            plans=list(self.stage.schedules), plan=self.plan, keys=dict(controls.keys), touch=list(controls.touch),
            mouse=controls.mouse,
        )  # fmt: skip

    def work(self, on_wave: Callable[[bytes], None]) -> tuple[str | None, bytes]:
        """Do what was ordered, else decode the next frame.

        Args:
            on_wave: called with messages of the wave while a frame is decoded, if the player wants them.

        Returns:
            A text to send before, and the frame's message.

        Raises:
            GoneError: the player has left.
            DiagplanError: the frame cannot be decoded.
        """
        began = time.perf_counter()
        session = self._session
        if session is None or self._reset:
            self._reset, self._number = False, 0
            self._session = session = self.stage.begin(self.plan)
            shown = picture(session.frame)
            self.recording.begin(shown)
            return None, self._frame(shown, 0, 0, began, self._held.seq)
        if self._asked:
            name, self._asked = self._asked, ""
            self._session = session = self.stage.switch(session, name)
            self.plan = name
            return text("plan", name=name), self._frame(picture(session.frame), 0, 0, began, self._held.seq)
        held, seq = self.take()
        line = self.stage.controls.line(held)
        before, cells = session.passes, session.world.rows * session.world.cols

        def stepped(tokens: NDArray[np.int64]) -> None:
            if self.gone:
                raise GoneError
            if self.wave:
                known = np.packbits(tokens.reshape(-1) >= 0).tobytes()
                on_wave(binary(WAVE, {"n": self._number + 1, "pass": session.passes - before, "cells": cells}, known))

        frame = session.step(line, on_step=stepped)
        decoded = time.perf_counter()
        shown = picture(frame)
        self.recording.add(shown, line)
        self._number += 1
        self._times.append(decoded)
        return None, self._frame(shown, session.passes - before, decoded - began, began, seq)

    def _frame(self, shown: bytes, passes: int, seconds: float, began: float, seq: int) -> bytes:
        now = time.perf_counter()
        recent = [at for at in self._times if now - at < _SPAN]
        header: dict[str, Any] = {
            "n": self._number, "seq": seq, "plan": self.plan, "passes": passes, "ms": round(1000 * seconds, 1),
            "server_ms": round(1000 * (now - began), 1), "fps": round(len(recent) / _SPAN, 1),
        }  # fmt: skip
        return binary(FRAME, header, shown)
