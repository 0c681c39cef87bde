"""The service over HTTP; docs/serve.md is the specification."""

import asyncio
import contextlib
import hmac
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from diagplan.batch.records import place_of
from diagplan.play.messages import Budget
from diagplan.play.server import is_loopback
from diagplan.serve.board import ENDED, Entry
from diagplan.serve.documents import MEDIA_TYPES, brief, whole
from diagplan.serve.events import END, events_of, last_seen
from diagplan.serve.requests import RequestError
from diagplan.serve.service import Service
from diagplan.serve.settings import HEADERS

__all__ = ["make_app"]

Answer = TypeVar("Answer")
#: Seconds between two looks for jobs that are too old.
_TIDY = 60.0
#: Addresses whose rates are remembered, and bodies of the largest size that are in memory at once.
_ADDRESSES, _BODIES = 4096, 16


def make_app(service: Service) -> Starlette:
    """The application; its workers start and end with it."""
    handlers = _Handlers(service)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        del app
        await handlers.begin()
        try:
            yield
        finally:
            await handlers.end()

    get, one = ["GET"], "/jobs/{name}"
    app = Starlette(
        routes=[
            Route("/health", handlers.health, methods=get),
            Route("/metrics", handlers.metrics, methods=get),
            Route("/jobs", handlers.post, methods=["POST"]),
            Route(one, handlers.job, methods=get),
            Route(one, handlers.delete, methods=["DELETE"]),
            Route(f"{one}/events", handlers.events, methods=get),
            Route(f"{one}/result", handlers.result, methods=get),
            Route(f"{one}/result.{{ending}}", handlers.result, methods=get),
            Route(f"{one}/frames/{{number}}", handlers.frame, methods=get),
        ],
        exception_handlers={RequestError: handlers.refused, HTTPException: handlers.unknown},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False  # which would answer before anyone has asked who it is
    app.add_middleware(_Outer, handlers=handlers)
    app.state.handlers = handlers
    return app


class _Handlers:
    def __init__(self, service: Service) -> None:
        self.service, self.settings = service, service.settings
        self.closing = asyncio.Event()
        self._disk = ThreadPoolExecutor(1, "diagplan-disk")  # one after the other: nothing is accepted twice
        self._bytes, self._most = 0, _BODIES * service.settings.max_body
        self._rates: OrderedDict[str, Budget] = OrderedDict()
        self._tidying: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Start workers, and remove what is old from now on."""
        loop, due, engine = asyncio.get_running_loop(), asyncio.Event(), self.service.engine

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(due.set)

        async def tidy() -> None:
            while True:
                await self.on_disk(self.service.tidy)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(due.wait(), _TIDY)
                due.clear()

        ended = engine.on_end

        def end() -> None:
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self.closing.set)
            ended()

        engine.on_outcome, engine.on_end = tell, end
        self._tidying = asyncio.ensure_future(tidy())
        engine.start()

    async def end(self) -> None:
        """End events, then workers; what is in hand is done first, unless the engine was told to leave it."""
        self.closing.set()
        if self._tidying is not None:
            self._tidying.cancel()
        self.service.engine.drain()
        await asyncio.to_thread(self.service.engine.join)
        self._disk.shutdown(wait=True)
        self.service.close()

    async def on_disk(self, call: Callable[..., Answer], *arguments: Any) -> Answer:
        """Call something in the thread that writes."""
        return await asyncio.get_running_loop().run_in_executor(self._disk, call, *arguments)

    # Who may ask

    def require_allowed(self, request: Request) -> None:
        """Raise ``RequestError`` for a request of somebody else."""
        host, origin, token = request.headers.get("host", ""), request.headers.get("origin"), self.settings.token
        try:
            name = urlsplit(f"//{host}").hostname or ""
            of_page = host if origin is None else urlsplit(origin).netloc
        except ValueError:
            raise RequestError("expected a host as Host and Origin, got something else.") from None
        if token is None and not is_loopback(name):  # a foreign name may lead here: DNS rebinding
            raise RequestError("expected the loopback address as Host, got another one. Start it with a token.", 403)
        if of_page != host:
            raise RequestError("expected no page of another origin, got one.", 403)
        if token is None:
            return
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
            raise RequestError("expected the header Authorization: Bearer TOKEN, got none or another token.", 401)

    def require_rate(self, request: Request) -> None:
        """Raise ``RequestError`` where an address asks too often."""
        if self.settings.rate is None:
            return
        address = request.client.host if request.client else ""
        rate = self.settings.rate
        budget = self._rates.pop(address, None) or Budget(burst=max(1.0, 10 * rate), rate=rate)
        self._rates[address] = budget
        if len(self._rates) > _ADDRESSES:
            self._rates.popitem(last=False)
        if not budget.spend():
            raise RequestError(f"expected at most {self.settings.rate:g} jobs a second, got more. Slow down.", 429)

    def entry(self, request: Request) -> Entry:
        """The job that a path names."""
        entry = self.service.board.get(request.path_params["name"])
        if entry is None:
            raise RequestError("expected the id of a job that is kept, got another one.", 404)
        return entry

    # Answers

    async def refused(self, request: Request, error: Exception) -> Response:
        """The answer to a request that is none."""
        del request
        assert isinstance(error, RequestError)
        headers = dict(self.service.retry_after(error.status))
        if error.status == 401:
            headers["www-authenticate"] = "Bearer"
        return _json({"error": str(error)}, error.status, headers)

    async def unknown(self, request: Request, error: Exception) -> Response:
        """The answer to a path or a method that is none."""
        del request
        assert isinstance(error, HTTPException)
        what = "a path" if error.status_code == 404 else "a method"
        return _json({"error": f"expected {what} of docs/serve.md, got another one."}, error.status_code, error.headers)

    async def health(self, request: Request) -> Response:
        """Whether it is ready; anyone may ask."""
        del request
        status, document = await asyncio.to_thread(self.service.health)
        return _json(document, status, self.service.retry_after(status))

    async def metrics(self, request: Request) -> Response:
        """Counters for Prometheus."""
        self.require_allowed(request)
        service = self.service
        text = service.metrics.text(service.board.states(), workers=service.engine.ready, free=service.spool.free())
        return Response(text, media_type="text/plain; version=0.0.4")

    async def post(self, request: Request) -> Response:
        """Take a job."""
        self.require_allowed(request)
        if self.service.engine.draining:
            raise RequestError("expected a service that goes on, got one that ends. Ask again later.", 503)
        self.require_rate(request)
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise RequestError("expected Content-Type: application/json, got another one.", 415)
        async with self._body(request) as body:
            entry, fresh = await self.on_disk(self.service.accept, body, request.headers.get("idempotency-key"))
        place = f"{_root(request)}/jobs/{entry.stored.id}"
        document = brief(entry, self.service.board) | {"links": {"self": place, "events": f"{place}/events"}}
        return _json(document, 202 if fresh else 200, {"location": place})

    @contextlib.asynccontextmanager
    async def _body(self, request: Request) -> AsyncIterator[bytes]:
        """The body, if it is not too large, comes in time, and there is room for it until it is done with."""
        most, announced = self.settings.max_body, request.headers.get("content-length", "")
        size = int(announced) if announced.isascii() and announced.isdigit() and len(announced) < 20 else most
        if size > most:
            raise RequestError(f"expected a request of at most {most} bytes, got a larger one.", 413)
        if self._bytes + size > self._most:
            raise RequestError("expected fewer requests at once, got more. Ask again later.", 429)
        self._bytes += size
        try:
            yield await self._whole(request, most)
        finally:
            self._bytes -= size

    async def _whole(self, request: Request, most: int) -> bytes:
        parts, total = [], 0
        try:
            async with asyncio.timeout(self.settings.body_seconds):
                async for part in request.stream():
                    total += len(part)
                    if total > most:
                        raise RequestError(f"expected a request of at most {most} bytes, got a larger one.", 413)
                    parts.append(part)
        except TimeoutError:
            raise RequestError("expected the whole request in time, got a part. Send it again.", 408) from None
        except ClientDisconnect:
            raise RequestError("expected the whole request, got a part.") from None
        return b"".join(parts)

    async def job(self, request: Request) -> Response:
        """All about a job."""
        self.require_allowed(request)
        entry = self.entry(request)
        service, root = self.service, _root(request)
        return _json(await asyncio.to_thread(whole, entry, service.board, service.spool, root))

    async def delete(self, request: Request) -> Response:
        """Cancel a job, or forget one that has ended."""
        self.require_allowed(request)
        entry = self.entry(request)
        if await self.on_disk(self.service.cancel, entry):
            return _json(brief(entry, self.service.board))
        return Response(status_code=204)

    async def events(self, request: Request) -> Response:
        """Progress and frames as they come."""
        self.require_allowed(request)
        entry, seen = self.entry(request), last_seen(request.headers.get("last-event-id"))
        if seen is None:
            return Response(status_code=204, headers={"last-event-id": END})  # a browser asks no more
        if request.method == "HEAD":
            return Response(media_type="text/event-stream")
        inline = request.query_params.get("frames") == "base64"
        stream = events_of(
            entry, self.service.board, self.service.spool, seen=seen, inline=inline, closing=self.closing,
            root=_root(request),
        )  # fmt: skip
        return StreamingResponse(stream, media_type="text/event-stream", headers={"x-accel-buffering": "no"})

    async def result(self, request: Request) -> Response:
        """What was made: tokens, video or record."""
        self.require_allowed(request)
        entry = self.entry(request)
        ending, job = request.path_params.get("ending", "json"), entry.stored
        if ending not in MEDIA_TYPES:
            raise RequestError(f"expected a result of {', '.join(MEDIA_TYPES)}, got another one.", 404)
        if job.state not in ENDED:
            raise _NotYetError(job.state)
        if job.state != "done":
            raise RequestError(f"expected a job that was done, got one that is {job.state}. {job.error}".strip(), 410)
        return await _file(place_of(self.service.spool.results, job.id, f".{ending}"), MEDIA_TYPES[ending])

    async def frame(self, request: Request) -> Response:
        """A generated frame as PNG."""
        self.require_allowed(request)
        entry, number = self.entry(request), request.path_params["number"]
        known = number.isascii() and number.isdigit() and len(number) < 8 and 1 <= int(number) <= entry.shown
        if not known:
            raise RequestError(f"expected a frame from 1 to {entry.shown}, got another one.", 404)
        return await _file(self.service.spool.frame(entry.stored.id, int(number)), "image/png")


class _NotYetError(RequestError):
    """The job has not ended."""

    def __init__(self, state: str) -> None:
        super().__init__(f"expected a job that has ended, got one that is {state}. Listen to its events.", 409)


class _Outer:
    """Counts answers, and has nothing kept by anyone between."""

    def __init__(self, app: ASGIApp, handlers: _Handlers) -> None:
        self._app, self._handlers = app, handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._handlers.service.metrics.answer(message["status"])
                own = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        if scope["type"] == "http" and sum(len(name) + len(value) for name, value in scope["headers"]) > HEADERS:
            refusal = _json({"error": f"expected at most {HEADERS} bytes of headers, got more. Send fewer."}, 431)
            await refusal(scope, receive, sent)
            return
        await self._app(scope, receive, sent)


def _root(request: Request) -> str:
    """What a proxy has put before all paths."""
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


async def _file(path: Any, media: str) -> Response:
    try:
        status = await asyncio.to_thread(path.stat)
    except OSError:
        raise RequestError("expected a file that was made, got none.", 404) from None
    return FileResponse(path, media_type=media, stat_result=status)


def _json(document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    text = f"{json.dumps(document)}\n"
    return Response(text, status, dict(headers or {}), "application/json")
