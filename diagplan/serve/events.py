"""Server-sent events of a job. They are made of its state when they are sent: nothing piles up for a slow client."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

from diagplan.serve.board import ENDED, Board, Entry
from diagplan.serve.documents import brief
from diagplan.serve.requests import RequestError
from diagplan.serve.spool import Spool

__all__ = ["END", "events_of", "last_seen"]

#: The id of the last event; one of a frame is its number.
END = "end"
#: Seconds between two events of progress, and after which a connection that says nothing is tried.
_APART, _QUIET = 0.1, 15.0
#: Milliseconds after which a client asks again.
_RETRY = 2000
_MOST = 1 << 40


def last_seen(header: str | None) -> int | None:
    """The newest frame that a client has seen, by its ``Last-Event-ID``; ``None``: it has seen the end.

    Raises:
        RequestError: no such id.

    >>> last_seen(None), last_seen("3"), last_seen("end")
    (0, 3, None)
    """
    if header is None or not header.strip():
        return 0
    if header == END:
        return None
    if not (header.isascii() and header.isdigit() and len(header) < 14 and int(header) < _MOST):
        raise RequestError("expected the id of an event as Last-Event-ID, got another one. Leave it out to begin anew.")
    return int(header)


async def events_of(
    entry: Entry, board: Board, spool: Spool, *, seen: int, inline: bool, closing: asyncio.Event, root: str = ""
) -> AsyncIterator[bytes]:
    """The events of a job until its end, or the service's.

    Args:
        entry: the job.
        board: the jobs.
        spool: where frames lie.
        seen: frames that the client has.
        inline: whether frames come as PNG in base64, or by their links.
        closing: set when the service ends.
        root: what stands before all paths.
    """
    loop, changed = asyncio.get_running_loop(), asyncio.Event()

    def watch() -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(changed.set)

    with board.lock:
        entry.watchers.add(watch)
    try:
        yield f"retry: {_RETRY}\n\n".encode()
        before: dict[str, Any] = {}
        while True:
            changed.clear()
            now = brief(entry, board)
            while seen < now["frames"] and now["state"] != "cancelled":
                seen += 1
                data: dict[str, Any] = {"frame": seen, "link": f"{root}/jobs/{now['id']}/frames/{seen}"}
                if inline and (png := await asyncio.to_thread(_png, spool, now["id"], seen)) is not None:
                    data["png"] = base64.b64encode(png).decode()
                yield _event("frame", data, str(seen))
            if now["state"] in ENDED:
                yield _event(now["state"], now, END)
                return
            if now != before:
                yield _event("progress", now)
                before = now
            if closing.is_set():
                return
            await _change(changed, closing)
            if not changed.is_set() and not closing.is_set():
                yield b": waiting\n\n"
            await asyncio.sleep(_APART)
    finally:
        with board.lock:
            entry.watchers.discard(watch)


async def _change(changed: asyncio.Event, closing: asyncio.Event) -> None:
    """Until something has changed, or for a while."""
    tasks = [asyncio.ensure_future(changed.wait()), asyncio.ensure_future(closing.wait())]
    try:
        await asyncio.wait(tasks, timeout=_QUIET, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _png(spool: Spool, name: str, number: int) -> bytes | None:
    try:
        return spool.frame(name, number).read_bytes()
    except OSError:  # it was removed with its job
        return None


def _event(kind: str, data: dict[str, Any], name: str | None = None) -> bytes:
    head = "" if name is None else f"id: {name}\n"
    return f"{head}event: {kind}\ndata: {json.dumps(data)}\n\n".encode()
