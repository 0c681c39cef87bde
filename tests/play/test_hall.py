"""Places and the queue: first come, first served, and a place is never lost."""

import asyncio
from contextlib import suppress

import pytest

from diagplan.play.hall import FullError, Hall


def test_places_go_round() -> None:
    async def scene() -> None:
        hall, told, order = Hall(2), {name: list[int]() for name in "abcd"}, list[str]()
        leave = {name: asyncio.Event() for name in "abcd"}

        async def play(name: str) -> None:
            async with hall.place(told[name].append):
                order.append(name)
                await leave[name].wait()

        tasks = {}
        for name in "abcd":
            tasks[name] = asyncio.ensure_future(play(name))
            await asyncio.sleep(0)
        assert (order, hall.playing, hall.queued) == (["a", "b"], 2, 2)
        assert (told["c"], told["d"]) == ([1], [2])
        leave["b"].set()
        await tasks["b"]
        await asyncio.sleep(0)
        assert (order, hall.playing, told["d"]) == (["a", "b", "c"], 2, [2, 1])
        for name in "acd":
            leave[name].set()
        await asyncio.gather(*tasks.values())
        assert (order[-1], hall.playing, hall.queued) == ("d", 0, 0)

    asyncio.run(scene())


def test_who_leaves_the_queue_frees_it() -> None:
    async def scene() -> None:
        hall = Hall(1, waiting=2)
        told: list[int] = []
        leave = asyncio.Event()

        async def play(event: asyncio.Event) -> None:
            async with hall.place(told.append):
                await event.wait()

        playing = asyncio.ensure_future(play(leave))
        await asyncio.sleep(0)
        first, second = (asyncio.ensure_future(play(asyncio.Event())) for _ in range(2))
        await asyncio.sleep(0)
        with pytest.raises(FullError, match="expected at most 2 connections in the queue"):
            await play(leave)
        first.cancel()
        await asyncio.sleep(0)
        assert told == [1, 2, 1]
        # Given a place and cancelled before it runs on: the place is given back.
        leave.set()
        await playing
        second.cancel()
        with suppress(asyncio.CancelledError):
            await second
        assert (hall.playing, hall.queued) == (0, 0)

    asyncio.run(scene())
