"""What a study is run on: the chosen pieces as frames, tokens and actions."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.evaluation.clips import Rule, choose_pieces, list_videos
from diagplan.games.clips import read_actions
from diagplan.planner.errors import DocumentError
from diagplan.planner.layout import Layout
from diagplan.planner.policy import Policies
from diagplan.planner.rollout import Rollout, compile_rollout, rollout_cost
from diagplan.planner.schedule import NextToken, Schedule
from diagplan.study.pieces import piece_tokens, pixel_frames
from diagplan.study.world_report import counted_moves
from diagplan.video.frames import fit
from diagplan.worlds import World

__all__ = ["Material", "read_material"]

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Material:
    """N pieces of F given frames of tokens and T to generate; n frames of pixels, which are as many or more.

    Attributes:
        layout: of one piece.
        frames: uint8 [N, n, height, width, 3], cut to the model's size.
        tokens: int [N, F + T, rows, cols], of those frames.
        actions: blocks int [N, F + T - 1, n].
        names: of the actions, N x (n - 1); numbers where an action is no word, or there are none.
        moved: int [N, T, 2], what the game says of each generated frame, 0 where unknown.
        counted: bool [N, T], the moves that are judged; ``None`` where the grid shows none.
        pieces: which pieces these are, for JSON.
        window: of a window that slides over pieces longer than the context; ``None``: a piece is one window.
    """

    layout: Layout
    frames: NDArray[np.uint8]
    tokens: Ids
    actions: Ids
    names: tuple[tuple[str, ...], ...]
    moved: Ids
    counted: NDArray[np.bool_] | None
    pieces: tuple[dict[str, object], ...]
    window: Layout | None = None

    @property
    def given(self) -> int:
        """F, the frames of tokens that are given."""
        return self.layout.prompt_frames

    @property
    def given_frames(self) -> int:
        """The frames of pixels that are given."""
        return pixel_frames(self.frames.shape[1], self.tokens.shape[1], self.given)

    def rollout(self, schedule: Schedule, policies: Policies | None = None) -> Rollout:
        """The windows and plans of a piece: one of each within the context."""
        window = self.window or self.layout
        return compile_rollout(window, schedule, policies, frames=self.layout.frames, prompt_frames=self.given)

    def digest(self) -> str:
        """SHA-256 of the pieces, their tokens and actions."""
        digest = hashlib.sha256(json.dumps(self.pieces, sort_keys=True).encode())
        for array in (self.tokens, self.actions, self.moved):
            digest.update(np.ascontiguousarray(array, np.int64).tobytes())
        return digest.hexdigest()


def read_material(world: World, folder: Path, rule: Rule, *, seed: int, keep: int | None = None) -> Material:
    """Choose pieces of a folder's videos by a rule, and turn them into tokens.

    Args:
        world: the world model.
        folder: of videos with actions.
        rule: from ``rule_for``.
        seed: of the choice.
        keep: frames that a window keeps where a piece is longer than the context.

    Raises:
        SpecError: a window that would keep nothing, or leave no room; more given frames than a window holds.
        DocumentError: files that cannot be read, or no piece.
    """
    assert rule.frames is not None
    acts = world.block > 0
    layout, window = _layouts(world, rule.frames, rule.given, keep)
    lines_of: dict[Path, list[dict[str, Any]]] = {}
    blocks: dict[Path, Ids] = {}

    def moves(path: Path, numbers: Ids) -> int | None:
        if world.words is None:
            return None
        lines_of.setdefault(path, read_actions(path.with_suffix(".jsonl")))
        steps = [line.get("moved") for line in lines_of[path][numbers[0] : numbers[-1]]]
        return sum(step is None or any(step) for step in steps)

    pieces = choose_pieces(
        list_videos(folder, actions=acts), rule, seed=seed, moves=moves, actions=acts,
        fit=lambda frame: fit(frame, world.height, world.width),
    )  # fmt: skip
    actions, names, moved = [], [], []
    for piece in pieces:
        path, (first, last) = piece.path, (int(piece.numbers[0]), int(piece.numbers[-1]))
        if not acts:
            names.append(tuple(f"frame {i + 1}" for i in range(len(piece.numbers) - 1)))
            continue
        if path not in blocks:
            blocks[path] = world.read_actions(path.with_suffix(".jsonl"))
        mine = blocks[path][first:last]
        if len(mine) < last - first:
            raise DocumentError(
                f"expected {last} actions or more in {path.with_suffix('.jsonl')}, got {len(blocks[path])}. "
                "Line i leads to frame i + 1."
            )
        actions.append(mine)
        lines = lines_of.get(path, [])[first:last]
        names.append(tuple(line["action"] for line in lines) or tuple(f"action {i + 1}" for i in range(len(mine))))
        moved.append([line.get("moved", (0, 0)) for line in lines] or [(0, 0)] * len(mine))
    frames = np.stack([piece.frames for piece in pieces])
    tokens = piece_tokens(world, frames, rule.given)
    if acts:
        since, blocks_of = np.array(moved, np.int64)[:, rule.given - 1 :], np.stack(actions)
    else:
        since = np.zeros((len(tokens), layout.frames, 2), np.int64)
        blocks_of = np.zeros((len(tokens), tokens.shape[1] - 1, 0), np.int64)
    shows = world.words is not None and min(world.map_rows or world.rows, world.cols) >= 3
    return Material(
        layout=layout,
        window=window,
        frames=frames,
        tokens=tokens,
        actions=blocks_of,
        names=tuple(names),
        moved=since,
        counted=counted_moves(tokens[:, rule.given - 1 :], since, world.map_rows) if shows else None,
        pieces=tuple(piece.as_dict() for piece in pieces),
    )


def _layouts(world: World, whole: int, given: int, keep: int | None) -> tuple[Layout, Layout | None]:
    """The layout of a piece, and that of a window which slides over it where it is longer than the context."""
    if keep is None or whole <= world.context_frames:
        return world.layout(whole - given, given), None
    window = world.window(keep)
    rollout_cost(window, NextToken(), frames=whole - given, prompt_frames=given)  # says what does not fit
    return replace(window, frames=whole - given, prompt_frames=given), window
