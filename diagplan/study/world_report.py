"""What a world model is worth on held-out clips: teacher-forced figures, and rollouts under several plans."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diagplan.backends.measured import SpeculationChoice, settled_speculation
from diagplan.backends.runtime import runtime_of
from diagplan.backends.speculative import Speculated, draft_name
from diagplan.backends.threads import Threads
from diagplan.evaluation.motion import MOVES, best_move, clear_moves
from diagplan.evaluation.pictures import psnr, ssim
from diagplan.games.clips import Clip, list_clips, read_clip
from diagplan.models.loading import given_ids, replay, replay_ids
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.schedule import NextToken, Schedule
from diagplan.worlds import World, load_world
from diagplan.worlds.generation import compile_for

__all__ = [
    "EXACT",
    "ExactRollout",
    "Horizons",
    "Windows",
    "WorldReport",
    "counted_moves",
    "decoded",
    "evaluate_world",
    "followed_moves",
    "judge_frames",
    "read_windows",
    "report_world",
    "teacher_forced",
]

#: The rollout of next-token prediction by speculation.
EXACT = "exact"

Ids = NDArray[np.int64]
Frames = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """Pieces of held-out clips, each as long as the model's context.

    Attributes:
        frames: uint8 [N, T, height, width, 3].
        tokens: int [N, T, rows, cols], of those frames.
        actions: int [N, T - 1, n], action blocks.
        moved: int [N, T - 1, 2], what the game says, (columns right, rows down).
    """

    frames: Frames
    tokens: Ids
    actions: Ids
    moved: Ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Horizons:
    """Quality against the truth at each horizon, the first generated frame first.

    Attributes:
        tokens: share of tokens equal to the truth's.
        psnr, ssim: of the pictures against the recorded frames.
    """

    tokens: tuple[float, ...]
    psnr: tuple[float, ...]
    ssim: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactRollout:
    """How next-token prediction went by speculation, each piece replayed alone.

    Attributes:
        window, draft: as asked for, or as measured.
        passes: of each piece.
        tokens_a_pass: tokens of all pieces over their passes.
        same_as_ntp: share of tokens equal to those of the schedule ``next-token``; ``None`` where that was not run.
    """

    window: int
    draft: str
    passes: tuple[int, ...]
    tokens_a_pass: float
    same_as_ntp: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldReport:
    """Figures of one model.

    Attributes:
        windows: how many pieces were rolled forward.
        tokenizer_psnr: of the tokenizer alone, in dB.
        loss, accuracy: teacher-forced, over all frames but the first.
        action_gap: how much the loss grows with opposite actions, over frames that follow a move.
        moved_loss: the loss over those frames.
        repeat: the first frame as reconstructed, shown again and again.
        rollouts: plan -> quality.
        following: plan -> share of the true one-cell moves that the rollout makes too; ``"truth"`` is the truth's own.
        clear_moves: how many true moves count.
        passes: plan -> passes; of ``exact`` the mean of the pieces.
        exact: how speculation went, where it was asked for.
    """

    windows: int
    tokenizer_psnr: float
    loss: float
    accuracy: float
    moved_loss: float
    action_gap: float
    repeat: Horizons
    rollouts: Mapping[str, Horizons]
    following: Mapping[str, float]
    clear_moves: int
    passes: Mapping[str, float]
    exact: ExactRollout | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON: ``None`` for every number that JSON has no word for."""
        document: dict[str, Any] = _finite(asdict(self))
        return document


def read_windows(world: World, paths: Sequence[Path], count: int, *, least_moves: int = 3) -> Windows:
    """The first ``count`` windows with motion, evenly from all clips.

    Args:
        world: whose context and tokenizer to use.
        paths: clips (.mp4 with actions beside them).
        count: windows wanted.
        least_moves: moves of the player that a window must hold, where the clips say.

    Raises:
        DocumentError: clips that cannot be read, or without such a window.
    """
    length = world.context_frames
    moving: list[tuple[int, Clip, int, Path]] = []
    for path in paths:
        clip = read_clip(path)
        for number in range(len(clip.frames) // length):
            first = number * length
            steps = clip.moved[first : first + length - 1]
            if sum(step is None or any(step) for step in steps) >= least_moves:
                moving.append((number, clip, first, path))
    chosen = sorted(moving, key=lambda item: item[0])[:count]
    if not chosen:
        raise DocumentError(f"expected clips of {length} frames with motion, got none. Record longer ones.")
    frames, tokens, actions, moved = [], [], [], []
    blocks = {path: world.read_actions(path.with_suffix(".jsonl")) for _, _, _, path in chosen}
    for _, clip, first, path in chosen:
        frames.append(clip.frames[first : first + length])
        tokens.append(world.tokenizer.encode(frames[-1]))
        actions.append(blocks[path][first : first + length - 1])
        moved.append([(0, 0) if step is None else step for step in clip.moved[first : first + length - 1]])
    return Windows(frames=np.stack(frames), tokens=np.stack(tokens), actions=np.stack(actions), moved=np.array(moved))


def judge_frames(windows: Windows, tokens: Ids, frames: Frames) -> Horizons:
    """Quality of generated tokens [N, T - 1, rows, cols] and their frames against the truth, by horizon."""
    steps = range(tokens.shape[1])
    return Horizons(
        tokens=tuple(float(np.mean(tokens[:, i] == windows.tokens[:, i + 1])) for i in steps),
        psnr=tuple(psnr(windows.frames[:, i + 1], frames[:, i]) for i in steps),
        ssim=tuple(ssim(windows.frames[:, i + 1], frames[:, i]) for i in steps),
    )


def teacher_forced(world: World, windows: Windows, *, batch: int = 32) -> dict[str, float]:
    """Loss, accuracy and action gap of the model on the windows, through the adapter's own forward pass.

    Raises:
        SpecError: a world whose actions are not words, or have no opposites.
    """
    import torch

    from diagplan.training.sequences import TokenClips
    from diagplan.training.world_model import Vocabulary, judge

    if world.words is None or not world.words.opposites:
        raise SpecError(f"expected actions with opposites, got none in {world.name}.")
    ids, model = world.words.ids, world.model
    opposites = {ids[name]: ids[other] for name, other in world.words.opposites.items()}
    words = Vocabulary(begin=world.words.begin, end=world.words.end, opposites=opposites)
    clips = TokenClips(frames=windows.tokens, actions=windows.actions[..., 1], moved=windows.moved)

    runtime = runtime_of(model)

    def forward(sequences: "torch.Tensor", wanted: "torch.Tensor") -> "torch.Tensor":
        places = np.arange(sequences.shape[1])
        at, mask = runtime.put(places), runtime.put(places <= places[:, None])
        ids, rows, cache = (
            runtime.put(sequences.numpy()),
            runtime.put(wanted.numpy()),
            model.new_cache(*sequences.shape),
        )
        with runtime.inference():
            logits = model.forward(ids, at, at, mask, cache, rows)
            return torch.from_numpy(np.array(runtime.numpy(runtime.float32(logits))))

    figures = judge(forward, clips, words, batch=batch)
    return {
        "loss": figures.loss,
        "accuracy": figures.accuracy,
        "moved_loss": figures.moved_loss,
        "action_gap": math.nan if math.isnan(figures.moved_loss) else figures.gap,
    }


def report_world(
    world: World,
    windows: Windows,
    schedules: Mapping[str, Schedule],
    *,
    map_rows: int | None = None,
    batch: int = 32,
    speculation: SpeculationChoice | None = None,
    on_plan: Callable[[str], None] | None = None,
) -> WorldReport:
    """Judge a model on windows: teacher-forced, and rolled forward from one frame under each schedule, greedily.

    Args:
        world: the model.
        windows: what to judge it on.
        schedules: name -> schedule.
        map_rows: rows of tokens that show the map, from the top; those below do not move; all by default.
        batch: windows at a time.
        speculation: also next-token prediction so, as the rollout ``exact``, each piece alone.
        on_plan: called with each schedule's name before it runs.
    """
    n, t = windows.tokens.shape[:2]
    if min(map_rows or world.rows, world.cols) < 3:
        raise SpecError(f"expected a map of at least 3 x 3 tokens, got {map_rows or world.rows} x {world.cols}.")
    clear = counted_moves(windows.tokens, windows.moved, map_rows)
    following = {"truth": _share(followed_moves(windows.tokens, windows.moved, map_rows), clear)}
    rollouts: dict[str, Horizons] = {}
    passes: dict[str, float] = {}
    own: Ids | None = None

    def judged(name: str, rolled: Ids) -> None:
        rollouts[name] = judge_frames(windows, rolled, decoded(world, rolled))
        whole = np.concatenate([windows.tokens[:, :1], rolled], axis=1)
        following[name] = _share(followed_moves(whole, windows.moved, map_rows), clear)

    for name, schedule in schedules.items():
        if on_plan is not None:
            on_plan(name)
        plan = compile_for(world, t - 1, schedule)
        passes[name] = plan.steps
        rolled = np.concatenate([
            replay(plan, world.model, windows.tokens[at : at + batch, :1], windows.actions[at : at + batch])
            for at in range(0, n, batch)
        ])  # fmt: skip
        own = rolled if name == "next-token" else own
        judged(name, rolled)
    exact = None
    if speculation is not None:
        if on_plan is not None:
            on_plan(EXACT)
        rolled, exact = _exact(world, windows, speculation, own)
        passes[EXACT] = float(np.mean(exact.passes))
        judged(EXACT, rolled)
    still = np.repeat(windows.tokens[:, :1], t - 1, axis=1)
    again = decoded(world, windows.tokens)
    return WorldReport(
        windows=n,
        tokenizer_psnr=psnr(windows.frames, again),
        **teacher_forced(world, windows, batch=batch),
        repeat=judge_frames(windows, still, np.repeat(again[:, :1], t - 1, axis=1)),
        rollouts=rollouts,
        following=following,
        clear_moves=int(clear.sum()),
        passes=passes,
        exact=exact,
    )


def _exact(world: World, windows: Windows, speculation: SpeculationChoice, own: Ids | None) -> tuple[Ids, ExactRollout]:
    """Tokens int64 [N, T - 1, rows, cols] of every piece alone: samples of a batch would wait for the slowest."""
    plan = compile_for(world, windows.tokens.shape[1] - 1, NextToken())
    how = settled_speculation(speculation, plan, world.model)
    tokens, passes = [], []
    for prompt, actions in zip(windows.tokens[:, :1], windows.actions, strict=True):
        done = replay_ids(plan, world.model, given_ids(plan, prompt, actions, None), speculation=how)
        assert isinstance(done, Speculated)
        tokens.append(done.tokens)
        passes.append(done.passes)
    rolled = np.concatenate(tokens)
    return rolled, ExactRollout(
        window=how.window, draft=draft_name(how), passes=tuple(passes), tokens_a_pass=rolled.size / sum(passes),
        same_as_ntp=None if own is None else float(np.mean(rolled == own)),
    )  # fmt: skip


def evaluate_world(
    clips: str | Path,
    model: str = "crafter-mini",
    *,
    backend: str = "torch",
    quantize: Literal["int8"] | None = None,
    windows: int = 128,
    map_rows: int | None = None,
    speculation: SpeculationChoice | None = None,
    threads: Threads = None,
    on_plan: Callable[[str], None] | None = None,
) -> WorldReport:
    """Judge a world model on a folder of held-out clips, under the plans of the demonstration.

    Args:
        clips: a folder of clips, such as a recording's ``test``.
        model: ``"crafter-mini"``, or a world model's folder; for ``"onnx"`` an exported one.
        backend: ``"torch"`` or ``"onnx"``.
        quantize: ``"int8"`` products.
        windows: pieces with motion to roll forward.
        map_rows: rows of tokens, from the top, that show the map; ``None``: what the model says.
        speculation: as for ``report_world``.
        threads: CPU threads of one pass, as for ``load_model``.
        on_plan: called with each plan's name before it runs.

    Raises:
        SpecError: more map rows than the model has, or fewer than 3.
        DocumentError: a model or clips that cannot be read, or clips without motion.
        MissingExtraError: a package is not installed.
    """
    from diagplan.study.demonstration import SCHEDULES

    world = load_world(model, backend=backend, quantize=quantize, threads=threads)
    if map_rows is not None and map_rows > world.rows:
        raise SpecError(f"expected map_rows <= {world.rows}, got map_rows={map_rows}. Leave it out.")
    pieces = read_windows(world, list_clips(Path(clips)), windows)
    return report_world(
        world, pieces, SCHEDULES, map_rows=map_rows or world.map_rows, speculation=speculation, on_plan=on_plan
    )


def counted_moves(tokens: Ids, moved: Ids, map_rows: int | None = None) -> NDArray[np.bool_]:
    """The true steps at which a rollout's move is judged, bool [N, T - 1]; ``clear_moves`` says which.

    Args:
        tokens: the truth's, [N, T, rows, cols].
        moved: what the game says, int [N, T - 1, 2].
        map_rows: rows of tokens that show the map, from the top; all by default.
    """
    before, after = _steps(tokens, map_rows)
    return clear_moves(before, after, moved.reshape(-1, 2)).reshape(moved.shape[:2])


def followed_moves(tokens: Ids, moved: Ids, map_rows: int | None = None) -> NDArray[np.bool_]:
    """Whether tokens [N, T, rows, cols], the prompt's frame first, move as the game says, bool [N, T - 1]."""
    steps = np.array(list(MOVES.values()))[best_move(*_steps(tokens, map_rows))]
    same: NDArray[np.bool_] = (steps.reshape(moved.shape) == moved).all(-1)
    return same


def _steps(tokens: Ids, map_rows: int | None) -> tuple[Ids, Ids]:
    """The maps before and after every step, [N (T - 1), rows, cols] each."""
    maps = tokens[:, :, :map_rows]
    return maps[:, :-1].reshape(-1, *maps.shape[2:]), maps[:, 1:].reshape(-1, *maps.shape[2:])


def _share(followed: NDArray[np.bool_], counted: NDArray[np.bool_]) -> float:
    return float(followed[counted].mean()) if counted.any() else float("nan")


def decoded(world: World, tokens: Ids) -> Frames:
    """Frames uint8 [N, T, height, width, 3] of tokens [N, T, rows, cols]."""
    n, t = tokens.shape[:2]
    frames: Frames = world.tokenizer.decode(tokens.reshape(n * t, *tokens.shape[2:]))
    return frames.reshape(n, t, *frames.shape[1:])


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
