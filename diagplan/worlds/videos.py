"""The main job with files: a video and actions in; a video, its tokens and its frames out."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diagplan.backends.measured import SpeculationChoice
from diagplan.backends.memory import Memory
from diagplan.backends.sampling import Greedy, Sampler
from diagplan.backends.threads import threads_in_use
from diagplan.planner.arguments import require_kind, require_path
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.rollout import Rollout
from diagplan.schemas.atomic import make_folder, npy_bytes, require_ending, write_atomically
from diagplan.video.files import VideoWriter
from diagplan.video.frames import gif as gif_bytes
from diagplan.video.frames import png
from diagplan.worlds.generation import Generated, generate, require_frames, require_world
from diagplan.worlds.plans import plan_for, read_plan_for
from diagplan.worlds.prompts import PromptCheck, check_prompt, cut_frames
from diagplan.worlds.texts import read_text, require_text
from diagplan.worlds.world import World

__all__ = ["GeneratedVideo", "PlanChoice", "generate_video"]

Blocks = NDArray[np.int64] | None
#: A plan, the name of its file, or a function of the world and the actions, such as ``plan_for``.
PlanChoice = Plan | Rollout | str | Path | Callable[[World, Blocks], Plan | Rollout]


class GeneratedVideo(NamedTuple):
    """What was written, and how.

    Attributes:
        generated: frames without the prompt, their tokens, seconds.
        plan: that was replayed.
        passes: of the transformer.
        prompt: the frames that were given, as the image tokenizer sees them.
        memory: the estimate, made before the transformer was loaded; ``None``: the family cannot tell before.
        frames: of the video, prompt included.
        threads: of the CPU, of a pass.
    """

    generated: Generated
    plan: Plan | Rollout
    passes: int
    prompt: PromptCheck
    memory: Memory | None
    frames: int
    threads: int


def generate_video(
    world: World,
    video: str | Path,
    out: str | Path,
    *,
    actions: str | Path | None = None,
    plan: PlanChoice = plan_for,
    text: str | None = None,
    text_encoder: Path | None = None,
    sampler: Sampler | None = None,
    seed: int = 0,
    speculation: SpeculationChoice | None = None,
    check: bool = False,
    frames_dir: Path | None = None,
    gif: Path | None = None,
    tokens: Path | None = None,
    fps: int | None = None,
    on_progress: Callable[[str, int, int], None] | None = None,
    on_memory: Callable[[Memory], None] | None = None,
    on_prompt: Callable[[PromptCheck], None] | None = None,
) -> GeneratedVideo:
    """Roll a world forward from the first frames of a video, and write a video: the prompt, then what was generated.

    What can be checked without the transformer is checked before it is loaded.

    Args:
        world: from ``load_world``, with ``lazy=True`` to have memory checked before the transformer is loaded.
        video: its first frames are the prompt, of any size.
        out: the .mp4 to write; it appears when it is whole.
        actions: the file of the actions between frames; ``None`` for a world without actions.
        plan: what is replayed; by default next-token prediction of as many frames as context and actions allow.
        text: what the video shows, for a Video2World model that was given no features.
        text_encoder: with ``text``: a local folder of T5-11B.
        sampler: as for ``diagplan.replay``.
        seed: as for ``diagplan.replay``.
        speculation: as for ``diagplan.replay``.
        check: as for ``generate``.
        frames_dir: a folder for every frame, ``0000.png`` and so on, as soon as it is known.
        gif: a GIF to write too.
        tokens: the tokens to write too, .npy, int64 [T, rows, cols].
        fps: frames a second of the video; the world's if left out.
        on_progress: called with what is done, the plan's steps done and its steps in all; 0 of 0 where they are not
            counted.
        on_memory: called with the estimate of memory before it is checked.
        on_prompt: called with what the image tokenizer makes of the prompt, before a frame is generated.

    Raises:
        SpecError, DocumentError, MismatchError: files, plan and world that do not fit together, or cannot be read.
        CapacityError, NumericError, InvalidPlanError: as ``diagplan.replay``.
        KeyboardInterrupt: interrupted; its text says what was written: a whole video of the finished frames.

    >>> generate_video(load_world("crafter-mini"), "clip.mp4", "out.mp4", actions="clip.jsonl")  # doctest: +SKIP
    """
    require_world(world)
    for name, path in {"video": video, "out": out}.items():
        require_path(name, path)
    for name, target, endings in (("out", out, (".mp4",)), ("gif", gif, (".gif",)), ("tokens", tokens, (".npy", ""))):
        require_ending(name, target, endings)
    require_kind(
        "plan",
        plan,
        str | Path | Plan | Rollout | Callable,
        "plan_for makes one.",
        what="a plan, a file or a function",
    )
    out, tell = Path(out), on_progress or (lambda *_: None)
    require_text(world, text, text_encoder)
    if world.block and actions is None:
        raise SpecError(f"expected actions, which lead {world.name} from frame to frame, got none. Give their file.")
    blocks = None if actions is None else world.read_actions(Path(actions))
    if isinstance(plan, str | Path):
        plan = read_plan_for(world, blocks, plan)
    elif not isinstance(plan, Plan | Rollout):
        plan = plan(world, blocks)
    first = world.pictures((plan.layout if isinstance(plan, Plan) else plan).prompt_frames)
    given = list(islice(world.read_frames(Path(video)), first))
    require_frames(given, first, video)
    if text is not None and text_encoder is not None:
        tell("reading the text", 0, 0)
        world = read_text(world, text, text_encoder)
    sampled = sampler is not None and not isinstance(sampler, Greedy)
    memory = world.source.require_memory(plan, sampled=sampled, speculation=speculation, report=on_memory)
    tell("checking the prompt", 0, 0)
    prompt = check_prompt(world, given)
    if on_prompt is not None:
        on_prompt(prompt)
    tell("loading", 0, 0)
    world.load()
    steps = plan.steps if isinstance(plan, Plan) else plan.cost().passes
    tell("generating", 0, steps)
    if frames_dir is not None:
        make_folder(frames_dir)
    cut = cut_frames(world, given)
    with VideoWriter(out, fps=fps or world.fps) as writer:
        shown = _Shown(list(cut), writer, frames_dir)
        try:
            done = generate(
                plan, world, cut, blocks, sampler=sampler, seed=seed, speculation=speculation, check=check,
                probe=speculation is not None, on_frame=lambda _, picture: shown.add(picture),
                on_pass=lambda count: tell("generating", count, steps),
            )  # fmt: skip
        except KeyboardInterrupt:
            if shown.generated:
                raise KeyboardInterrupt(
                    f"{out} holds the prompt and the {shown.generated} frames that were finished."
                ) from None
            writer.discard()  # the prompt alone is no result, and may lie over an earlier one
            raise
    try:
        if gif is not None:
            write_atomically(gif, gif_bytes(shown.frames, fps or world.fps))
        if tokens is not None:
            write_atomically(tokens, npy_bytes(done.tokens))
    except DocumentError as error:
        raise DocumentError(f"{error} {out} is written.") from None
    return GeneratedVideo(done, plan, done.passes, prompt, memory, len(shown.frames), threads_in_use(world.load()))


class _Shown:
    """The frames of a video so far, written to the video and to a folder; the prompt's with the first generated one."""

    def __init__(self, prompt: list[NDArray[np.uint8]], writer: VideoWriter, folder: Path | None) -> None:
        self.prompt, self.writer, self.folder = prompt, writer, folder
        self.frames: list[NDArray[np.uint8]] = []

    @property
    def generated(self) -> int:
        """Frames that are not the prompt's."""
        return max(0, len(self.frames) - len(self.prompt))

    def add(self, picture: NDArray[np.uint8]) -> None:
        """One more frame."""
        for frame in [picture] if self.frames else [*self.prompt, picture]:
            self.writer.add(frame)
            self.frames.append(frame)
            if self.folder is not None:
                write_atomically(self.folder / f"{len(self.frames) - 1:04d}.png", png(frame))
