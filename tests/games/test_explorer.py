"""The explorer keeps moving."""

from collections import Counter
from itertools import groupby
from typing import Any

from diagplan.games.explorer import Explorer


class Corridor:
    """A game of one picture: three moves, nothing happens."""

    name = "corridor"
    actions: tuple[str, ...] = ("noop", "do", "move_left", "move_right", "move_up")
    moves: tuple[str, ...] = actions[2:]
    height = width = 16
    map_rows: int | None = None

    def reset(self, seed: int) -> Any: ...
    def step(self, action: str) -> Any: ...
    def close(self) -> None: ...


def test_the_explorer_keeps_moving_and_rests_now_and_then() -> None:
    explorer = Explorer(Corridor(), seed=1)
    chosen = [explorer.choose() for _ in range(6000)]
    assert chosen != [Explorer(Corridor(), seed=2).choose() for _ in range(6000)]
    rests = Counter(name for name in chosen if name not in Corridor.moves)
    assert set(rests) == {"noop", "do"}
    assert 0.12 < sum(rests.values()) / len(chosen) < 0.18
    runs = [(name, len(list(group))) for name, group in groupby(name for name in chosen if name in Corridor.moves)]
    assert {name for name, _ in runs} == set(Corridor.moves)
    assert {length for _, length in runs[:-1]} == set(range(2, 9))


def test_the_explorer_turns_where_the_way_is_blocked() -> None:
    lengths = []
    for moved in ((0, 0), (1, 0), None):
        explorer = Explorer(Corridor(), seed=1, rest=0.0)
        runs = [len(list(group)) for _, group in groupby(explorer.choose(moved) for _ in range(2000))]
        lengths.append(sum(runs) / len(runs))
    assert lengths[0] < 2.5 < 4 < lengths[1]
    assert lengths[1] == lengths[2]
