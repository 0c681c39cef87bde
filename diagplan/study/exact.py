"""The conditions ``exact``: next-token prediction's own tokens in fewer passes, whose quality need not be judged again.

How many passes a clip takes depends on how well it can be guessed. So every clip is replayed alone, and its passes and
seconds are its own. That the tokens are next-token prediction's is checked, not believed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from diagplan.backends.errors import MismatchError
from diagplan.backends.measured import SpeculationChoice, accepted, settled_speculation
from diagplan.backends.rolling import Rolled
from diagplan.backends.speculative import Speculated
from diagplan.planner.rollout import Rollout
from diagplan.planner.speculation import Speculation
from diagplan.study.conditions import Condition
from diagplan.study.results import Result
from diagplan.worlds import World

__all__ = ["Clips", "ReplayClip", "expected_passes", "replay_clips", "require_same", "same_result", "settled"]

Ids = NDArray[np.int64]
#: Replays one clip, by its number, speculatively.
ReplayClip = Callable[[int, Speculation], Rolled | Speculated]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clips:
    """Clips that were replayed alone, one after the other.

    Attributes:
        tokens: int64 [N, T, rows, cols].
        seconds: of each clip's passes.
        passes: of each clip.
    """

    tokens: Ids
    seconds: list[float]
    passes: list[int]


def settled(speculation: SpeculationChoice, rollout: Rollout, world: World) -> Speculation:
    """The speculation itself, or the one that is measured for the model and its device."""
    return settled_speculation(speculation, rollout.plan_of(rollout.windows[-1]), world.model, rows=1)


def replay_clips(
    replay: ReplayClip, clips: Sequence[int], speculation: Speculation, *, on_clip: Callable[[], None] | None = None
) -> Clips:
    """Replay clips alone.

    Args:
        replay: one clip.
        clips: their numbers.
        speculation: how.
        on_clip: called after each.
    """
    done = []
    for clip in clips:
        done.append(replay(clip, speculation))
        if on_clip is not None:
            on_clip()
    return Clips(
        tokens=np.concatenate([one.tokens for one in done]),
        seconds=[one.seconds for one in done],
        passes=[one.passes for one in done],
    )


def require_same(condition: Condition, tokens: Ids, own: Ids) -> None:
    """Raise ``MismatchError`` unless the tokens are those of next-token prediction, both int64 [N, T, rows, cols]."""
    differ = np.argwhere(tokens != own)
    if len(differ):
        clip, frame = differ[0][:2]
        raise MismatchError(
            f"expected the tokens of {condition.model}/ntp from {condition.id}, got {len(differ)} others of "
            f"{own.size}, the first in clip {clip}, frame {frame}. Speculative replay gives a plan's own tokens; at "
            "near-ties passes of other widths may round to another. Study with --dtype float32, or leave the condition "
            "out with --only."
        )


def same_result(condition: Condition, ntp: Result, speculation: Speculation, clips: Clips) -> Result:
    """The result of an exact condition: next-token prediction's figures, with passes and seconds of its own.

    Args:
        condition: what was run.
        ntp: the result of next-token prediction of the same model.
        speculation: how it was replayed.
        clips: all of them, replayed.
    """
    about = {"window": speculation.window, "draft": speculation.draft, "adaptive": speculation.adaptive}
    steps = float(np.mean(clips.passes))
    return replace(
        ntp,
        id=condition.id,
        plan={**ntp.plan, "condition": condition.id, "steps": steps, "speculation": about},
        seconds={"clips": clips.seconds},
        passes=clips.passes,
    )


def expected_passes(speculation: SpeculationChoice, steps: int) -> float:
    """About how many passes a clip takes, for a bar of progress: as crafter-mini's clips do."""
    window = speculation.window if isinstance(speculation, Speculation) else 40
    return max(1.0, steps / accepted(window))
