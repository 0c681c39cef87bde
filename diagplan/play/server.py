"""The server: the page, and a WebSocket for each player.

Frames are decoded in one thread and drawn in another, never in the event loop: while one frame's picture is made of its
tokens, the next frame is decoded.
"""

import asyncio
import contextlib
import hmac
import ipaddress
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from diagplan.planner.errors import DiagplanError
from diagplan.play.hall import FullError, Hall
from diagplan.play.messages import SAVED, Budget, MessageError, Order, binary, parse, text
from diagplan.play.player import GoneError, Player
from diagplan.play.recording import packed
from diagplan.play.stage import Stage

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["Settings", "is_loopback", "make_app"]

#: Reasons for closing a WebSocket: RFC 6455, section 7.4.1.
_POLICY, _LATER, _ERROR = 1008, 1013, 1011
_POLICY_OF_PAGE = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a stage is served.

    Attributes:
        plan: the name of the plan to begin with.
        players: at a time.
        fps: frames a second at most, each player; what is saved has as many.
        token: that page and WebSocket must be asked with; ``None``: none, on the loopback address only.
        idle: seconds without a message after which a player is sent away.
        rest: seconds without a message after which the game rests until the next one.
    """

    plan: str
    players: int = 4
    fps: int = 15
    token: str | None = None
    idle: float = 600.0
    rest: float = 30.0


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone.

    >>> [is_loopback(host) for host in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def make_app(stage: Stage, settings: Settings) -> Starlette:
    """The application: ``/`` is the page, ``/play`` the WebSocket.

    Raises:
        SpecError: a world without controls.
    """
    _ = stage.controls
    service = _Service(stage, settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        try:
            yield
        finally:
            service.close()

    app = Starlette(routes=[Route("/", service.page), WebSocketRoute("/play", service.play)], lifespan=lifespan)
    app.state.service = service
    return app


@dataclass(slots=True)
class _Outbox:
    """What waits to be sent to one player: texts in order, and the newest frame and wave alone."""

    texts: deque[str] = field(default_factory=lambda: deque(maxlen=32))
    saved: bytes | None = None
    frame: bytes | None = None
    wave: bytes | None = None
    dropped: int = 0
    filled: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, *, text: str | None = None, frame: bytes | None = None, wave: bytes | None = None) -> None:
        if text is not None:
            self.texts.append(text)
        if frame is not None:
            self.dropped += self.frame is not None
            self.frame, self.wave = frame, None  # a wave of before the frame says nothing any more
        if wave is not None:
            self.wave = wave
        self.filled.set()

    async def send(self, socket: WebSocket) -> None:
        """Send for ever; while a slow client holds a message up, newer frames take the place of older ones."""
        while True:
            await self.filled.wait()
            self.filled.clear()
            while self.texts:
                await socket.send_text(self.texts.popleft())
            for name in ("saved", "frame", "wave"):
                data: bytes | None = getattr(self, name)
                setattr(self, name, None)
                if data is not None:
                    await socket.send_bytes(data)


class _Service:
    """The handlers, and what they share: the threads that decode and draw, and the places."""

    def __init__(self, stage: Stage, settings: Settings) -> None:
        self.stage, self.settings = stage, settings
        self.hall = Hall(settings.players)
        self.decoder = ThreadPoolExecutor(1, "diagplan-decode")
        self.painter = ThreadPoolExecutor(1, "diagplan-draw")
        self.players: set[Player] = set()

    def close(self) -> None:
        """End what is being decoded at its next pass."""
        for player in self.players:
            player.gone = True
        for threads in (self.decoder, self.painter):
            threads.shutdown(wait=False, cancel_futures=True)

    def refused(self, request: HTTPConnection) -> str | None:
        """Why a request is refused; ``None``: it is not."""
        host, origin = request.headers.get("host", ""), request.headers.get("origin")
        token = self.settings.token
        try:
            name = urlsplit(f"//{host}").hostname or ""
            of_page = host if origin is None else urlsplit(origin).netloc
        except ValueError:
            return "The headers Host and Origin name no host."
        if token is None and not is_loopback(name):
            return "This server answers to the loopback address alone."  # a foreign name may lead here: DNS rebinding
        if of_page != host:
            return "A page of another origin may not play here."
        if token is not None:
            given = request.query_params.get("token", "")
            if not hmac.compare_digest(given.encode(), token.encode()):
                return "The token is missing or wrong: /?token=..."
        return None

    async def page(self, request: Request) -> Response:
        """The page."""
        reason = self.refused(request)
        if reason is not None:
            return PlainTextResponse(f"{reason}\n", status_code=403)
        return HTMLResponse(
            files("diagplan.play").joinpath("page.html").read_text(encoding="utf-8"),
            headers={
                "content-security-policy": _POLICY_OF_PAGE, "referrer-policy": "no-referrer",
                "x-content-type-options": "nosniff", "cache-control": "no-store",
            },
        )  # fmt: skip

    async def play(self, socket: WebSocket) -> None:
        """One connection, from the queue to its end."""
        if self.refused(socket) is not None:
            await socket.close(_POLICY)
            return
        await socket.accept()
        outbox = _Outbox()
        connection = _Connection(self, socket, outbox)
        tasks = [asyncio.ensure_future(job) for job in (connection.read(), outbox.send(socket), connection.run())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            connection.player.gone = True
            for task in tasks:
                task.cancel()
            # NOTE: why not gather? Cancelled itself it forgets by whom, and who cancelled it does not know its own.
            await asyncio.wait(tasks)
        ended = [*done, *(task for task in tasks if task not in done)]
        errors = [task.exception() for task in ended if not task.cancelled()]
        await connection.end(next((error for error in errors if error is not None), None))


class _Connection:
    """One WebSocket and its player."""

    def __init__(self, service: _Service, socket: WebSocket, outbox: _Outbox) -> None:
        self.service, self.socket, self.outbox = service, socket, outbox
        self.player = Player(service.stage, service.settings.plan)
        self.changed = asyncio.Event()
        self.heard = time.monotonic()
        self.saving: asyncio.Task[None] | None = None

    async def read(self) -> None:
        """Take messages until the client leaves, or says something that is none."""
        budget = Budget()
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1000))
            if not budget.spend():
                raise MessageError("expected at most 60 messages a second, got more.")
            line = message.get("text")
            if line is None:
                raise MessageError("expected a text, got a binary message.")
            parsed = parse(line)
            self.heard = time.monotonic()
            if isinstance(parsed, Order) and parsed.what == "save":
                self.save()
            self.player.hear(parsed)
            self.changed.set()

    def save(self) -> None:
        """Send what was played, packed in another thread than that which decodes."""
        if self.saving is not None and not self.saving.done():
            return
        try:
            held = self.player.recording.copy()
        except DiagplanError as error:
            self.outbox.put(text=text("notice", text=str(error)))
            return
        if len(held) < 2:
            self.outbox.put(text=text("notice", text="Nothing has been played yet."))
            return

        async def pack() -> None:
            try:
                data = await asyncio.to_thread(packed, held, self.service.settings.fps)
            except DiagplanError as error:
                self.outbox.put(text=text("notice", text=str(error)))
                return
            self.outbox.saved = binary(SAVED, {"name": "played.zip", "frames": len(held)}, data)
            self.outbox.filled.set()

        self.saving = asyncio.ensure_future(pack())

    async def run(self) -> None:
        """Wait for a place, then play."""
        queue = self.outbox
        async with self.service.hall.place(lambda place: queue.put(text=text("waiting", place=place))):
            self.heard = time.monotonic()
            queue.put(text=self.player.hello())
            self.service.players.add(self.player)
            try:
                await self._play(asyncio.get_running_loop())
            finally:
                self.service.players.discard(self.player)

    async def _play(self, loop: "AbstractEventLoop") -> None:
        """A frame, a pause until the next one is due or a key changes, and so on."""
        player, settings = self.player, self.service.settings

        def on_wave(message: bytes) -> None:
            loop.call_soon_threadsafe(lambda: self.outbox.put(wave=message))

        due, drawing = loop.time(), None
        try:
            while True:
                resting = time.monotonic() - self.heard > settings.rest
                if (player.paused or resting) and not player.ordered and drawing is not None:
                    await drawing
                    if resting:
                        self.outbox.put(text=text("resting"))
                    await self._quiet()
                    due = loop.time()
                self.changed.clear()
                notice, draw = await loop.run_in_executor(self.service.decoder, player.decode, on_wave)
                if drawing is not None:  # one at a time: pictures come in order, and none piles up
                    await drawing
                drawing = asyncio.ensure_future(self._show(notice, draw))
                due = max(due + 1 / settings.fps, loop.time())
                # A key that changes now need not wait until the frame is due.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.changed.wait(), max(0.001, due - loop.time()))
        finally:
            if drawing is not None:
                drawing.cancel()

    async def _show(self, notice: str | None, draw: Callable[[], bytes]) -> None:
        """Draw a frame, and have it sent."""
        frame = await asyncio.get_running_loop().run_in_executor(self.service.painter, draw)
        self.outbox.put(text=notice, frame=frame)

    async def _quiet(self) -> None:
        """Until the next message, or until the player is idle for good."""
        left = self.service.settings.idle - (time.monotonic() - self.heard)
        try:
            await asyncio.wait_for(self.changed.wait(), max(0.001, left))
        except TimeoutError:
            raise _IdleError from None

    async def end(self, error: BaseException | None) -> None:
        """Say why, where somebody may hear it, and close."""
        if self.saving is not None:
            self.saving.cancel()
        if error is None or isinstance(error, WebSocketDisconnect | GoneError):
            return
        code, why = _ERROR, "The server failed."
        if isinstance(error, MessageError):
            code, why = _POLICY, str(error)
        elif isinstance(error, FullError):
            code, why = _LATER, str(error)
        elif isinstance(error, _IdleError):
            code, why = 1000, "Nothing was pressed for a long time. Reload the page to go on."
        elif isinstance(error, DiagplanError):
            why = str(error)
        with contextlib.suppress(RuntimeError, WebSocketDisconnect, OSError):
            await self.socket.send_text(text("ended", why=why))
            await self.socket.close(code)
        if why == "The server failed.":
            raise error


class _IdleError(Exception):
    """Nothing was pressed for a long time."""
