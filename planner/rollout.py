"""A video longer than the model's context: a window that slides by whole frames, as a sequence of plans.

A window keeps the newest frames as its prompt and generates the next ones. Where it slides its positions begin anew, so
nothing cached is of use any more and its plan begins with a prefill of the frames it keeps. Windows of one shape share
one plan: a rollout has at most three, for the first window, for those in the middle and for a shorter last one.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

from diagplan.planner.arguments import require_kind
from diagplan.planner.compiler import SlotOrder, compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout, require_int
from diagplan.planner.lowering import prefill_feeds
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Imported, Schedule, record, require_schedule
from diagplan.planner.shown import shown

__all__ = ["Rollout", "RolloutCost", "Window", "compile_rollout", "rollout_cost"]


class RolloutCost(NamedTuple):
    """What a rollout costs.

    Attributes:
        windows: how often the model begins with an empty cache.
        passes: forward passes, each window's pass over its prompt included.
        prefill_tokens: given tokens that those first passes feed beside the one that predicts the first token.
        tokens: tokens generated; next-token prediction without windows needs as many passes.
    """

    windows: int
    passes: int
    prefill_tokens: int
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One run of a plan. Frames are numbered from the first prompt frame of the whole video.

    Args:
        plan: number of its plan.
        first: the oldest frame it keeps.
        kept: frames that are its prompt.
        frames: frames it generates, right after those.
    """

    plan: int
    first: int
    kept: int
    frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """The windows of one video, in order, and their plans.

    Args:
        prompt_frames, frames: of the whole video: given, and generated.
        plans: of one schedule and one set of policies, each used by at least one window.
        windows: each begins with frames that those before it have generated.
    """

    prompt_frames: int
    frames: int
    plans: tuple[Plan, ...]
    windows: tuple[Window, ...]

    def plan_of(self, window: Window) -> Plan:
        """The plan of a window."""
        return self.plans[window.plan]

    def cost(self) -> RolloutCost:
        """Windows, passes, prefill and tokens, counted in the plans.

        >>> from diagplan.planner.schedule import NextToken
        >>> window = Layout(frames=1, rows=18, cols=30, prompt_frames=9, between_frames=16)
        >>> compile_rollout(window, NextToken(), frames=3, prompt_frames=10).cost()
        RolloutCost(windows=3, passes=1620, prefill_tokens=15009, tokens=1620)
        """
        used = [self.plan_of(window) for window in self.windows]
        prefill = [prefill_feeds(plan) for plan in self.plans]
        return RolloutCost(
            windows=len(used),
            passes=sum(plan.steps for plan in used),
            prefill_tokens=sum(prefill[window.plan] for window in self.windows),
            tokens=sum(plan.layout.tokens for plan in used),
        )


def compile_rollout(
    window: Layout,
    schedule: Schedule,
    policies: Policies | None = None,
    *,
    frames: int,
    prompt_frames: int | None = None,
    max_width: int | None = None,
    slots: SlotOrder = "position",
) -> Rollout:
    """Compile the plans of a video of any length.

    The prompt fills the window first; once it is full it slides, keeps ``window.prompt_frames`` frames and generates
    ``window.frames``. The last window is shorter where frames do not come out even, so that a frame's tokens never
    depend on how many come after it.

    Args:
        window: the layout of a window that has slid. WHAM keeps nine frames and generates one.
        schedule: of every window; not an imported order, which fits one number of frames.
        policies: as for ``compile_plan``.
        frames: to generate.
        prompt_frames: given; as many as the window keeps by default, and at most as many as it holds.
        max_width: as for ``compile_plan``.
        slots: as for ``compile_plan``.

    Raises:
        SpecError: the description is inconsistent; the message says what to change.
    """
    prompt, frames = _checked_frames(window, schedule, frames, prompt_frames)
    shapes: dict[tuple[int, int], int] = {}
    windows = []
    have, whole = prompt, window.prompt_frames + window.frames
    while have < prompt + frames:
        kept = have if have < whole and have == prompt else window.prompt_frames
        new = min(whole - kept, prompt + frames - have)
        number = shapes.setdefault((kept, new), len(shapes))
        windows.append(Window(plan=number, first=have - kept, kept=kept, frames=new))
        have += new
    plans = tuple(
        compile_plan(
            replace(window, prompt_frames=kept, frames=new), schedule, policies, max_width=max_width, slots=slots
        )
        for kept, new in shapes
    )
    return Rollout(prompt_frames=prompt, frames=frames, plans=plans, windows=tuple(windows))


def rollout_cost(window: Layout, schedule: Schedule, *, frames: int, prompt_frames: int | None = None) -> RolloutCost:
    """The cost of a rollout without a width cap, by the closed form; arguments as for ``compile_rollout``.

    With W the frames of a window, K those it keeps, S = W - K, P(t) the passes of t frames and q tokens of a frame
    with what lies between: the first window generates t0 = min(frames, W - prompt_frames) frames, then come
    m = (frames - t0) div S whole ones and one of r = (frames - t0) mod S frames. Passes: P(t0) + m P(S) + P(r);
    prefill: lead + prompt_frames q - 1 for the first, lead + K q - 1 for each other one.

    Raises:
        SpecError: the description is inconsistent.

    >>> from diagplan.planner.schedule import Diagonal
    >>> window = Layout(frames=1, rows=18, cols=30, prompt_frames=9, between_frames=16)
    >>> rollout_cost(window, Diagonal(k=2), frames=100, prompt_frames=1)
    RolloutCost(windows=92, passes=6400, prefill_tokens=455828, tokens=54000)
    """
    prompt, frames = _checked_frames(window, schedule, frames, prompt_frames)
    kept = window.prompt_frames
    head = min(frames, kept + window.frames - prompt)
    slid, rest = divmod(frames - head, window.frames)

    def passes(count: int) -> int:
        return record(schedule, replace(window, prompt_frames=kept, frames=count)).steps if count else 0

    def prefill(count: int) -> int:
        return window.lead + count * window.frame_stride - 1

    begun = slid + (rest > 0)
    return RolloutCost(
        windows=(head > 0) + begun,
        passes=passes(head) + slid * passes(window.frames) + passes(rest),
        prefill_tokens=(prefill(prompt) if head else 0) + begun * prefill(kept),
        tokens=frames * window.rows * window.cols,
    )


def _checked_frames(window: Layout, schedule: Schedule, frames: int, prompt_frames: int | None) -> tuple[int, int]:
    """The frames given and to generate, checked together with the rest."""
    require_kind(
        "window",
        window,
        Layout,
        "The window's layout comes first: compile_rollout(window, schedule, policies, frames=...).",
    )
    require_schedule(schedule)
    if isinstance(schedule, Imported):
        raise SpecError(
            "expected a schedule by name for a rollout, got an imported order. An order fits one number of frames, and "
            "windows have several. Take NextToken, Diagonal or ZipAR."
        )
    prompt = window.prompt_frames if prompt_frames is None else prompt_frames
    frames = require_int("frames", frames, 1)
    prompt = require_int("prompt_frames", prompt, 0 if window.lead else 1)
    whole = window.prompt_frames + window.frames
    if prompt > whole:
        raise SpecError(
            f"expected at most {whole} prompt frames, as many as a window holds, got prompt_frames={shown(prompt)}. "
            f"Give the last {whole}."
        )
    return prompt, frames
