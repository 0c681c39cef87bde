"""Events of a job: in order, from where a client left off, and none that pile up."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fcntl")

from diagplan.batch.messages import Told
from diagplan.serve import events
from diagplan.serve.board import Board, Entry
from diagplan.serve.events import events_of, last_seen
from diagplan.serve.requests import RequestError, parse_job
from diagplan.serve.spool import Spool
from tests.support.serve import job

Event = tuple[str, str | None, dict[str, Any]]


def parsed(data: bytes) -> Event | None:
    fields = dict(line.split(": ", 1) for line in data.decode().splitlines() if line and not line.startswith(":"))
    return (fields["event"], fields.get("id"), json.loads(fields["data"])) if "event" in fields else None


class Case:
    def __init__(self, folder: Path) -> None:
        self.spool, self.board = Spool(folder), Board()
        self.entry: Entry = self.board.add(self.spool.accept(parse_job(job()), "a", 1, 1000.0))
        self.closing = asyncio.Event()

    def begin(self) -> None:
        self.board.take(1, 0.0)

    def tell(self, frames: int, passes: int = 1) -> None:
        for number in range(1, frames + 1):
            place = self.spool.frame("a", number)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(b"png %d" % number)
        self.board.told(Told(id="a", passes=passes, of=9, frames=frames))

    def finish(self, state: Any = "done") -> None:
        entry = self.board.settle("a")
        assert entry is not None
        entry.stored.state = state
        self.board.ended(entry)

    def read(self, script: Callable[["Reader"], Awaitable[None]], seen: int = 0, *, inline: bool = False) -> None:
        async def run() -> None:
            reader = Reader(self, seen, inline)
            try:
                await asyncio.wait_for(script(reader), 20)
            finally:
                await reader.stream.aclose()

        asyncio.run(run())
        assert self.entry.watchers == set()


class Reader:
    def __init__(self, case: Case, seen: int, inline: bool) -> None:
        self.stream: Any = events_of(case.entry, case.board, case.spool, seen=seen, inline=inline, closing=case.closing)

    async def next(self) -> Event:
        while True:
            event = parsed(await anext(self.stream))
            if event is not None:
                return event

    async def rest(self) -> list[Event]:
        return [event async for data in self.stream if (event := parsed(data)) is not None]


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setattr(events, "_APART", 0.001)
    return Case(tmp_path)


def test_from_the_queue_to_the_end(case: Case) -> None:
    async def script(reader: Reader) -> None:
        assert await reader.next() == ("progress", None, {"id": "a", "state": "queued", "frames": 0, "place": 1})
        case.begin()
        assert (await reader.next())[2]["state"] == "running"
        case.tell(2, passes=4)
        assert await reader.next() == ("frame", "1", {"frame": 1, "link": "/jobs/a/frames/1"})
        assert (await reader.next())[1] == "2"
        assert (await reader.next())[2] == {"id": "a", "state": "running", "frames": 2, "passes": 4, "of": 9}
        case.finish()
        assert await reader.rest() == [("done", "end", {"id": "a", "state": "done", "frames": 2})]

    case.read(script)


def test_a_slow_client_gets_the_newest_progress_and_every_frame(case: Case) -> None:
    async def script(reader: Reader) -> None:
        await reader.next()
        case.begin()
        for passes in range(1000):
            case.board.told(Told(id="a", passes=passes, of=999, frames=0))
        case.tell(3, passes=999)
        case.finish()
        rest = await reader.rest()
        assert [(kind, name) for kind, name, _ in rest] == [
            ("frame", "1"), ("frame", "2"), ("frame", "3"), ("done", "end")
        ]  # fmt: skip

    case.read(script)


def test_from_where_a_client_left_off_with_pictures(case: Case) -> None:
    case.begin()
    case.tell(3)
    case.finish()

    async def script(reader: Reader) -> None:
        frame, end = await reader.rest()
        assert (frame[1], base64.b64decode(frame[2]["png"])) == ("3", b"png 3")
        assert end[:2] == ("done", "end")

    case.read(script, seen=2, inline=True)


def test_other_ends(case: Case) -> None:
    case.begin()
    case.tell(1)

    async def closed(reader: Reader) -> None:
        assert [kind for kind, *_ in (await reader.next(), await reader.next())] == ["frame", "progress"]
        case.closing.set()
        assert await reader.rest() == []

    case.read(closed)
    case.board.cancel(case.entry)

    async def cancelled(reader: Reader) -> None:
        assert [kind for kind, *_ in await reader.rest()] == ["cancelled"]

    case.read(cancelled)


def test_a_connection_that_says_nothing_is_tried(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_QUIET", 0.01)

    async def script(reader: Reader) -> None:
        await reader.next()
        assert await anext(reader.stream) == b": waiting\n\n"

    case.read(script)


@pytest.mark.parametrize("header", ["x", "-1", "1.5", "9" * 14, "1\n2", "²"])
def test_ids_that_are_none(header: str) -> None:
    with pytest.raises(RequestError, match="expected the id of an event as Last-Event-ID"):
        last_seen(header)
