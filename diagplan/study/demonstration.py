"""The demonstration: one clip rolled forward under several plans, as pictures, a video and a table."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.backends.measured import SpeculationChoice, settled_speculation
from diagplan.backends.threads import Threads, threads_in_use
from diagplan.drawing.pictures import save_picture
from diagplan.evaluation.pictures import psnr, ssim
from diagplan.games.clips import Clip, read_clip
from diagplan.planner.extras import require_packages
from diagplan.planner.schedule import Diagonal, NextToken, Schedule
from diagplan.planner.speculation import Speculation
from diagplan.schemas.atomic import made_folder, write_atomically
from diagplan.schemas.files import write_plan
from diagplan.video.files import VideoWriter
from diagplan.video.frames import caption, fit, gif, png, sheet
from diagplan.worlds import SHIPPED, World, load_world
from diagplan.worlds.generation import Generated, compile_for, generate, prompt_tokens

__all__ = [
    "EXACT",
    "SCHEDULES",
    "WAYS",
    "Demonstration",
    "Outcome",
    "demonstrate",
    "make_demonstration",
    "save_demonstration",
    "side_by_side",
]

Frames = NDArray[np.uint8]

#: What the demonstration runs; in the last one a frame begins before the one above it is finished.
SCHEDULES: Mapping[str, Schedule] = MappingProxyType(
    {
        "next-token": NextToken(),
        "k=4": Diagonal(k=4),
        "k=2": Diagonal(k=2),
        "k=1": Diagonal(k=1),
        "k=2 d=14": Diagonal(k=2, d=14),
    }
)
#: Next-token prediction by speculation; its window is measured, unless one is given.
EXACT = "exact"
#: The ways of the demonstration, in the order of its table.
WAYS = ("next-token", EXACT, *(name for name in SCHEDULES if name != "next-token"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One plan's row of the table.

    Attributes:
        plan: its name.
        passes: forward passes for all frames; of ``exact`` as many as it took.
        tokens_a_pass: tokens of all frames over the passes.
        seconds: median of the replays.
        frames_per_second, speedup_passes, speedup_time: the last two against next-token prediction.
        psnr, ssim: against the recorded frames.
        same_as_ntp: share of tokens equal to next-token prediction's.
    """

    plan: str
    passes: int
    tokens_a_pass: float
    seconds: float
    frames_per_second: float
    speedup_passes: float
    speedup_time: float
    psnr: float
    ssim: float
    same_as_ntp: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """What a demonstration has made.

    Attributes:
        world: name of the model.
        frames: generated under each plan.
        threads: of the CPU, of a pass.
        table: one row for each of ``WAYS``.
        written: pictures, a video, a table, and the last plan with its picture.
        speculation: of ``exact``, as asked for or as measured.
    """

    world: str
    frames: int
    threads: int
    table: list[Outcome]
    written: list[Path]
    speculation: Speculation


def make_demonstration(
    out: str | Path,
    model: str = "crafter-mini",
    clip: str | Path | None = None,
    *,
    repeats: int = 3,
    speculation: SpeculationChoice = "auto",
    threads: Threads = None,
    on_run: Callable[[], None] | None = None,
) -> Demonstration:
    """Roll one clip forward in each of ``WAYS`` and write what comes out to a folder.

    Args:
        out: made if it is not there.
        model: ``"crafter-mini"``, or a world model's folder.
        clip: .mp4 with .jsonl beside it; ``None``: the bundled one.
        repeats: runs of each plan; the median time counts.
        speculation: of ``exact``; ``"auto"``: window and draft are measured.
        threads: CPU threads of one pass, as for ``load_model``.
        on_run: called after each run.

    Raises:
        DocumentError, VideoError: a model or a clip that cannot be read, or a file that cannot be written.
        SpecError: a draft's plan that the world's grid does not allow.
        MissingExtraError: a package is not installed.
    """
    require_packages("the demonstration", "torch", "safetensors", "av", "diffusers", "PIL", "skimage")
    folder = Path(out)
    world = load_world(model, threads=threads)
    path = SHIPPED["crafter-mini"] / "clip.mp4" if clip is None else Path(clip)
    recorded = read_clip(path)
    blocks = world.read_actions(path.with_suffix(".jsonl"))
    with made_folder(folder):
        length = min(world.context_frames, len(recorded.frames))
        settled = settled_speculation(speculation, compile_for(world, length - 1, NextToken()), world.model)
        table, generated, truth = demonstrate(
            world, recorded, blocks, repeats=repeats, speculation=settled, on_run=on_run
        )
        prompt = fit(recorded.frames[0], world.height, world.width)
        written = save_demonstration(folder, recorded, table, generated, truth, prompt)
        plan = compile_for(world, len(truth), SCHEDULES["k=2 d=14"])
        write_plan(plan, folder / "plan.json")
        save_picture(plan, folder / "plan.png")
        written += [folder / "plan.json", folder / "plan.png"]
    return Demonstration(
        world=world.name, frames=len(truth), threads=threads_in_use(world.load()), table=table, written=written,
        speculation=settled,
    )  # fmt: skip


def demonstrate(
    world: World,
    clip: Clip,
    blocks: NDArray[np.int64],
    *,
    repeats: int = 3,
    speculation: SpeculationChoice = "auto",
    on_run: Callable[[], None] | None = None,
) -> tuple[list[Outcome], dict[str, Generated], Frames]:
    """Roll a clip's first frame forward in each of ``WAYS``, greedily.

    Args:
        world: the model.
        clip: the truth; as many frames as the model's context are used.
        blocks: the clip's actions as blocks.
        repeats: runs of each plan, in turn; the median time is shown.
        speculation: as for ``make_demonstration``.
        on_run: called after each run.

    Returns:
        the table, what came out under each plan, and the truth's frames after the prompt.
    """
    length = min(world.context_frames, len(clip.frames))
    pixels = np.stack([fit(frame, world.height, world.width) for frame in clip.frames[:length]])
    plans = {name: compile_for(world, length - 1, SCHEDULES.get(name, NextToken())) for name in WAYS}
    ways = {EXACT: settled_speculation(speculation, plans[EXACT], world.model)}
    runs: dict[str, list[Generated]] = {name: [] for name in plans}
    prompt_tokens(world, pixels[:1])
    for _ in range(repeats):
        for name, plan in plans.items():
            runs[name].append(generate(plan, world, pixels[:1], blocks, speculation=ways.get(name)))
            if on_run is not None:
                on_run()
    seconds = {name: float(np.median([run.seconds for run in some])) for name, some in runs.items()}
    firsts = {name: some[0] for name, some in runs.items()}
    truth = pixels[1:]
    table = [_outcome(name, seconds, firsts, truth) for name in plans]
    return table, firsts, truth


def _outcome(name: str, seconds: Mapping[str, float], runs: Mapping[str, Generated], truth: Frames) -> Outcome:
    return Outcome(
        plan=name,
        passes=runs[name].passes,
        tokens_a_pass=runs[name].tokens.size / runs[name].passes,
        seconds=seconds[name],
        frames_per_second=len(truth) / seconds[name],
        speedup_passes=runs["next-token"].passes / runs[name].passes,
        speedup_time=seconds["next-token"] / seconds[name],
        psnr=psnr(truth, runs[name].frames),
        ssim=ssim(truth, runs[name].frames),
        same_as_ntp=float(np.mean(runs[name].tokens == runs["next-token"].tokens)),
    )


def save_demonstration(
    folder: Path, clip: Clip, table: list[Outcome], runs: Mapping[str, Generated], truth: Frames, prompt: Frames
) -> list[Path]:
    """Write side-by-side.mp4 and .gif, sheet.png and table.json; the paths that were written.

    ``EXACT`` has the pictures of next-token prediction, and is in the table alone.

    Raises:
        DocumentError, VideoError: a file cannot be written.
    """
    passes = {row.plan: row.passes for row in table}
    ways = {"truth": truth, **{name: run.frames for name, run in runs.items() if name != EXACT}}
    titles = {name: name if name == "truth" else f"{name}, {passes[name]} passes" for name in ways}
    pages = [side_by_side(ways, titles, None, clip.actions[0], prompt)]
    pages += [side_by_side(ways, titles, i, clip.actions[i], prompt) for i in range(len(truth))]
    pages += [pages[-1]] * 2
    video, moving, still, figures = (
        folder / name for name in ("side-by-side.mp4", "side-by-side.gif", "sheet.png", "table.json")
    )
    with VideoWriter(video, fps=2) as writer:
        for page in pages:
            writer.add(page)
    write_atomically(moving, gif([page[::2, ::2] for page in pages], 2))
    rows: list[tuple[str, list[NDArray[np.uint8]]]] = [
        (titles[name].replace(", ", "\n"), [prompt, *frames]) for name, frames in ways.items()
    ]
    head = ["prompt", *(f"{i + 1}: {name}" for i, name in enumerate(clip.actions[: len(truth)]))]
    write_atomically(still, png(sheet(rows, head=head)))
    write_atomically(figures, (json.dumps({"plans": [asdict(row) for row in table]}, indent=1) + "\n").encode())
    return [video, moving, still, figures]


def side_by_side(
    ways: Mapping[str, Frames], titles: Mapping[str, str], at: int | None, action: str, prompt: Frames
) -> Frames:
    """One frame of all ways beside each other, three in a row, under what is played; ``None`` for the prompt."""
    zoom, cells = 2, []
    for name, frames in ways.items():
        picture = prompt if at is None else frames[at]
        large = picture.repeat(zoom, 0).repeat(zoom, 1)
        cells.append(np.concatenate([caption(titles[name], large.shape[1], 28), large]))
    lines = [np.concatenate(cells[i : i + 3], axis=1) for i in range(0, len(cells), 3)]
    heading = "the prompt frame" if at is None else f"frame {at + 1}: the player plays {action}"
    return np.concatenate([caption(heading, lines[0].shape[1], 32, align="middle"), *lines])


def as_rows(table: list[Outcome]) -> tuple[list[str], list[list[Any]]]:
    """The table for ``print_table``: headings and cells."""
    columns = ["plan", ">passes", ">seconds", ">frames/s", ">x passes", ">x time", ">PSNR", ">SSIM", ">same as NTP"]
    cells = [
        [
            row.plan, row.passes, f"{row.seconds:.2f}", f"{row.frames_per_second:.1f}", f"{row.speedup_passes:.2f}",
            f"{row.speedup_time:.2f}", f"{row.psnr:.1f}", f"{row.ssim:.3f}", f"{100 * row.same_as_ntp:.1f}%",
        ]
        for row in table
    ]  # fmt: skip
    return columns, cells
