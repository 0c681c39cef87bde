"""Pictures to train an image tokenizer on: crops of frames, and mosaics of tiles put together at random.

A mosaic tells the network nothing about a tile by what lies around it, so that a tile's code comes to depend on the
tile alone; and rare tiles are drawn more often than they occur.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diagplan.planner.errors import DocumentError
from diagplan.video.files import read_video

__all__ = ["TileBank", "TileCodes", "cut", "join", "load_frames"]


def load_frames(paths: Sequence[Path], per_clip: int) -> NDArray[np.uint8]:
    """Frames evenly spread over each clip, uint8 [N, height, width, 3].

    Raises:
        DocumentError: a clip that cannot be read, or of another size than the first.
    """
    parts: list[NDArray[np.uint8]] = []
    for path in paths:
        frames = read_video(path)
        parts.append(frames[np.unique(np.linspace(0, len(frames) - 1, per_clip).astype(int))])
        if parts[-1].shape[1:] != parts[0].shape[1:]:
            raise DocumentError(f"expected clips of one size, got {path} with another than {paths[0]}.")
    return np.concatenate(parts)


class TileBank:
    """The tiles of some frames, drawn evenly over kinds of tiles that look alike.

    Args:
        frames: uint8 [N, height, width, 3].
        side: pixels a side of a tile; it divides height and width.
        evenness: 0 draws tiles as often as they occur, 1 every kind equally often.
    """

    def __init__(self, frames: NDArray[np.uint8], side: int, *, evenness: float = 0.75) -> None:
        self.side, self.frames = side, frames
        grid = cut(frames, side)
        self.rows, self.cols = grid.shape[1:3]
        self._tiles = grid.reshape(-1, side, side, 3)
        quarter = side // 4
        looks = self._tiles[:, ::quarter, ::quarter].reshape(len(self._tiles), -1) >> 5  # coarse, yet kinds differ
        keys = looks.astype(np.uint64) @ np.random.default_rng(0).integers(1, 2**63, looks.shape[1], dtype=np.uint64)
        _, kind, count = np.unique(keys, return_inverse=True, return_counts=True)
        order = np.argsort(kind, kind="stable")
        self._order, self._count = order, count
        self._first = np.concatenate(([0], np.cumsum(count)[:-1]))
        weight = count ** (1 - evenness) * (count >= 3)  # what was seen once or twice is a coder's noise
        if not weight.any():
            weight = np.ones(len(count))
        self._weight = weight / weight.sum()

    def tiles(self, random: np.random.Generator, count: int) -> NDArray[np.uint8]:
        """Some tiles, [count, side, side, 3]."""
        kinds = random.choice(len(self._count), count, p=self._weight)
        picked = self._order[self._first[kinds] + (random.random(count) * self._count[kinds]).astype(np.int64)]
        drawn: NDArray[np.uint8] = self._tiles[picked]
        return drawn

    def mosaics(self, random: np.random.Generator, count: int, rows: int, cols: int) -> NDArray[np.uint8]:
        """Pictures of tiles put together at random, [count, rows side, cols side, 3]."""
        return join(self.tiles(random, count * rows * cols).reshape(count, rows, cols, self.side, self.side, 3))

    def crops(self, random: np.random.Generator, count: int, rows: int, cols: int) -> NDArray[np.uint8]:
        """Crops of frames at whole tiles, [count, rows side, cols side, 3]."""
        cuts = []
        for n in random.integers(len(self.frames), size=count):
            top = self.side * int(random.integers(self.rows - rows + 1))
            left = self.side * int(random.integers(self.cols - cols + 1))
            cuts.append(self.frames[n, top : top + rows * self.side, left : left + cols * self.side])
        return np.stack(cuts)


def cut(frames: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Pictures [N, rows side, cols side, 3] as tiles [N, rows, cols, side, side, 3]."""
    n, height, width, _ = frames.shape
    return frames.reshape(n, height // side, side, width // side, side, 3).transpose(0, 1, 3, 2, 4, 5)


def join(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Tiles [N, rows, cols, side, side, 3] as pictures [N, rows side, cols side, 3]: the inverse of ``cut``."""
    n, rows, cols, side = tiles.shape[:4]
    return tiles.transpose(0, 1, 3, 2, 4, 5).reshape(n, rows * side, cols * side, 3)


class TileCodes:
    """A code for every kind of tile: centres laid farthest first, then moved to the mean of what is nearest.

    Args:
        bank: whose tiles to sort.
        limit: most codes.
        apart: root mean square difference, of 255, below which two tiles are of one kind.
        seed: of the tiles that are looked at.
    """

    def __init__(self, bank: TileBank, limit: int, *, apart: float = 8.0, seed: int = 0) -> None:
        tiles = bank.tiles(np.random.default_rng((seed, 1)), 20_000).reshape(20_000, -1).astype(np.float32)
        centres = [tiles[0]]
        distance = ((tiles - tiles[0]) ** 2).mean(1)
        while len(centres) < limit and distance.max() > apart**2:
            centres.append(tiles[distance.argmax()])
            distance = np.minimum(distance, ((tiles - centres[-1]) ** 2).mean(1))
        self.centres = np.stack(centres)
        for _ in range(3):
            mine = self._nearest(tiles)
            for code in np.unique(mine):
                self.centres[code] = tiles[mine == code].mean(0)

    def _nearest(self, flat: NDArray[np.float32]) -> NDArray[np.int64]:
        nearest: NDArray[np.int64] = ((self.centres**2).sum(1) - 2 * flat @ self.centres.T).argmin(1).astype(np.int64)
        return nearest

    def assign(self, frames: NDArray[np.uint8], side: int) -> NDArray[np.int64]:
        """The code of every tile, int64 [N, rows, cols], of frames [N, rows side, cols side, 3]."""
        grid = cut(frames, side)
        return self._nearest(grid.reshape(-1, side * side * 3).astype(np.float32)).reshape(grid.shape[:3])
