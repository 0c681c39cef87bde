"""One player: what is held, what is to be done, and the frames of a session. It knows no network."""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import DiagplanError
from diagplan.play.messages import FRAME, WAVE, HeldMessage, Order, binary, picture, text
from diagplan.play.recording import Recording
from diagplan.play.stage import Stage
from diagplan.worlds.controls import Held
from diagplan.worlds.session import Session

__all__ = ["GoneError", "Player"]

#: Seconds over which frames a second are counted.
_SPAN = 3.0
#: A frame of which no more than this share of the usual time has passed is begun anew, once, where keys change.
_EARLY = 0.5


class GoneError(Exception):
    """The player has left while a frame was decoded."""


class _AnewError(Exception):
    """Something else is held since the frame was begun."""


class Player:
    """A player's side of a stage.

    ``hear`` is called where messages arrive; ``decode`` in the thread that decodes.

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
        self._fresh, self._usual = False, 0.0  # other keys than the frame's; seconds that a frame takes
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
            self._fresh |= (message.keys, message.buttons) != (self._held.keys, self._held.buttons)
            self._held = message
            self._dx, self._dy = self._dx + message.dx, self._dy + message.dy
        elif message.what == "reset":
            self._reset = True
        elif message.what == "plan" and message.name in self.stage.choices:
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
        self._fresh, held = False, self._held
        tapped = [key for key in self._tapped if key not in held.keys]
        self._tapped.clear()
        moved = Held(keys=(*tapped, *held.keys), dx=self._dx, dy=self._dy, buttons=held.buttons)
        self._dx = self._dy = 0.0
        return moved, held.seq

    def hello(self) -> str:
        """The first message."""
        world, controls = self.stage.world, self.stage.controls
        return text(
            "hello", world=world.name, width=world.width, height=world.height, rows=world.rows, cols=world.cols,
            plans=list(self.stage.choices), plan=self.plan, keys=dict(controls.keys), touch=list(controls.touch),
            mouse=controls.mouse,
        )  # fmt: skip

    def work(self, on_wave: Callable[[bytes], None]) -> tuple[str | None, bytes]:
        """``decode``, and draw what it gives."""
        notice, draw = self.decode(on_wave)
        return notice, draw()

    def decode(self, on_wave: Callable[[bytes], None]) -> tuple[str | None, Callable[[], bytes]]:
        """Do what was ordered, else decode the next frame.

        Args:
            on_wave: called with messages of the wave while a frame is decoded, if the player wants them.

        Returns:
            A text to send before, and a function that draws the frame and gives its message. It is called once, before
            that of the next frame; in another thread if need be, while the next frame is decoded.

        Raises:
            GoneError: the player has left.
            DiagplanError: the frame cannot be decoded.
        """
        began = time.perf_counter()
        session = self._session
        if session is None or self._reset:
            self._reset, self._number = False, 0
            self._session = session = self.stage.begin(self.plan)
            return None, self._drawing(session, 0, began, self._held.seq, self.recording.begin)
        if self._asked:
            name, self._asked = self._asked, ""
            notice = text("plan", name=name)
            try:
                self._session = session = self.stage.switch(session, name)
                self.plan = name
            except DiagplanError as error:  # the game goes on as it was
                notice = text("notice", text=str(error))
            return notice, self._drawing(session, 0, began, self._held.seq, None)
        line, seq, passes = self._advance(session, on_wave)
        self._number += 1
        return None, self._drawing(session, passes, began, seq, lambda shown: self.recording.add(shown, line))

    def _advance(self, session: Session, on_wave: Callable[[bytes], None]) -> tuple[dict[str, Any], int, int]:
        """Decode the next frame: the line that led to it, the message that it was in, and the passes.

        Keys that change early in the frame act on it still: it is begun anew, once.
        """
        cells, anew = session.world.rows * session.world.cols, session.rewinds
        while True:
            taken = tuple(self._tapped), self._dx, self._dy
            held, seq = self.take()
            line = self.stage.controls.line(held)
            before, began = session.passes, time.perf_counter()
            early = began + _EARLY * self._usual if anew else 0.0

            def stepped(tokens: NDArray[np.int64], before: int = before, early: float = early) -> None:
                if self.gone:
                    raise GoneError
                if self._fresh and time.perf_counter() < early:
                    raise _AnewError
                if self.wave:
                    known = np.packbits(tokens.reshape(-1) >= 0).tobytes()
                    header = {"n": self._number + 1, "pass": session.passes - before, "cells": cells}
                    on_wave(binary(WAVE, header, known))

            try:
                session.advance(line, on_step=stepped)
            except _AnewError:
                tapped, dx, dy = taken  # what was tapped before acts on this frame as it did
                self._tapped.extendleft(reversed(tapped))
                self._dx, self._dy, anew = self._dx + dx, self._dy + dy, False
                continue
            took = time.perf_counter() - began
            self._usual = took if not self._usual else 0.8 * self._usual + 0.2 * took
            return line, seq, session.passes - before

    def _drawing(
        self, session: Session, passes: int, began: float, seq: int, keep: Callable[[bytes], None] | None
    ) -> Callable[[], bytes]:
        """A function that draws the session's newest frame as it is now; ``keep`` is told the picture."""
        tokens, number, plan = session.tokens, self._number, self.plan
        seconds = time.perf_counter() - began

        def draw() -> bytes:
            shown = picture(session.picture(tokens))
            if keep is not None:
                keep(shown)
            now = time.perf_counter()
            if passes:
                self._times.append(now)
            header: dict[str, Any] = {
                "n": number, "seq": seq, "plan": plan, "passes": passes, "ms": round(1000 * seconds, 1),
                "server_ms": round(1000 * (now - began), 1),
                "fps": round(sum(now - at < _SPAN for at in self._times) / _SPAN, 1),
            }  # fmt: skip
            return binary(FRAME, header, shown)

        return draw
