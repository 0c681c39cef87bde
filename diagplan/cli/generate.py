"""The main job: a video and actions in, a video out."""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import TimeRemainingColumn
from rich.text import Text

from diagplan.cli.shared.models import (
    MODEL,
    BackendOption,
    ContextOption,
    DeviceOption,
    DtypeOption,
    Int8Option,
    ThreadsOption,
    load_options,
    option,
)
from diagplan.cli.shared.output import (
    FINE,
    INTERRUPTED,
    JsonOption,
    command,
    console,
    npy_bytes,
    print_json,
    print_table,
    progress_bar,
    require_distinct,
    working,
)
from diagplan.cli.shared.requests import sampler_from_options
from diagplan.cli.shared.worldplans import extent, plan_for, read_plan_for, read_text, require_text_options
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.rollout import Rollout

if TYPE_CHECKING:
    from diagplan.backends.memory import Memory
    from diagplan.video.files import VideoWriter

__all__ = ["generate_command"]

PLAN, SAMPLING, OUTPUT = "Plan", "Sampling", "Output"


@command
def generate_command(
    video: Annotated[Path, typer.Option(help="A video; its first frames are the prompt.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="The video to write, .mp4.", show_default=False)],
    model: Annotated[
        str,
        typer.Option(
            help="crafter-mini; a world model's folder, with --backend onnx what export-onnx wrote; or a release: "
            "mc-ar, cosmos-4b, cosmos-12b, cosmos-5b-v2w, cosmos-13b-v2w, wham-200m, wham-1.6b.",
            rich_help_panel=MODEL,
        ),
    ] = "crafter-mini",
    actions: Annotated[
        Path | None, option(MODEL, "Actions between the video's frames: JSON lines; for WHAM also .npz, .npy.")
    ] = None,
    weights: Annotated[Path | None, option(MODEL, "Of a release: the checkpoint.")] = None,
    tokenizer: Annotated[
        Path | None, option(MODEL, "Of a release: the image tokenizer's folder; WHAM's is in its checkpoint.")
    ] = None,
    config: Annotated[
        str | None, option(MODEL, "For mc-ar: a released size such as 300M_16f, or a file; for cosmos: a file.")
    ] = None,
    context: ContextOption = None,
    text: Annotated[str | None, option(MODEL, "Instead, what the video shows, for a Video2World model.")] = None,
    text_encoder: Annotated[Path | None, option(MODEL, "With --text: a local folder of T5-11B.")] = None,
    backend: BackendOption = "torch",
    dtype: DtypeOption = "float32",
    device: DeviceOption = "cpu",
    int8: Int8Option = False,
    threads: ThreadsOption = None,
    frames: Annotated[
        int | None, option(PLAN, "Frames to generate; as many as the context and the actions allow.", min=1)
    ] = None,
    prompt_frames: Annotated[
        int | None, option(PLAN, "Frames that are given; 1, for Cosmos 9 (or 1), for WHAM 10.", min=1)
    ] = None,
    keep: Annotated[
        int | None, option(PLAN, "Beyond the context: slide a window that keeps so many frames; for WHAM 9.", min=1)
    ] = None,
    k: Annotated[int | None, option(PLAN, "Diagonal decoding with this row delay; next-token without it.")] = None,
    d: Annotated[int | None, option(PLAN, "Frame delay: the next frame begins after d steps.")] = None,
    policies: Annotated[str, typer.Option(help="Bundle of policies.", rich_help_panel=PLAN)] = "default",
    plan: Annotated[Path | None, option(PLAN, "Replay this plan instead.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sampling.", rich_help_panel=SAMPLING)] = 0,
    temperature: Annotated[float | None, option(SAMPLING, "Sample; greedy without the next three.")] = None,
    top_k: Annotated[int | None, option(SAMPLING, "Keep the k most probable tokens.")] = None,
    top_p: Annotated[float | None, option(SAMPLING, "Keep the most probable tokens up to this probability.")] = None,
    frames_dir: Annotated[Path | None, option(OUTPUT, "Write each frame here as soon as it is known, .png.")] = None,
    gif: Annotated[Path | None, option(OUTPUT, "Write a GIF too.")] = None,
    tokens: Annotated[Path | None, option(OUTPUT, "Write the tokens too, .npy, int [T, h, w].")] = None,
    fps: Annotated[int | None, option(OUTPUT, "Frames a second of the video; the model's own.", min=1, max=240)] = None,
    as_json: JsonOption = False,
) -> int:
    """Roll a world forward: a video and actions in, a video out."""
    from diagplan.backends.sampling import Greedy
    from diagplan.schemas.atomic import make_folder, write_atomically
    from diagplan.video.files import VideoWriter
    from diagplan.video.frames import fit
    from diagplan.video.frames import gif as gif_bytes
    from diagplan.worlds.generation import generate, require_frames
    from diagplan.worlds.loading import open_world

    err = console(stderr=True)
    asked = {"--k": k, "--d": d, "--frames": frames, "--prompt-frames": prompt_frames, "--keep": keep}
    if plan is not None and any(value is not None for value in asked.values()):
        raise SpecError(f"expected --plan, or {', '.join(asked)}, got both. A plan says all of these itself.")
    if out.suffix.lower() != ".mp4":
        raise SpecError(f"expected a name that ends in .mp4, got {out}. Change its ending.")
    require_distinct(
        {"-o": out, "--gif": gif, "--tokens": tokens},
        {"--video": video, "--actions": actions, "--plan": plan, "--weights": weights, "--tokenizer": tokenizer}
        | {"--context": context, "--text-encoder": text_encoder, "--model": Path(model)}
        | {"--config": None if config is None else Path(config)},
    )
    _require_folders({"--gif": gif, "--tokens": tokens})
    options = load_options(
        backend=backend, config=config, dtype=dtype, device=device, int8=int8, threads=threads, context=context
    )
    world = open_world(model, options, weights=weights, tokenizer=tokenizer)
    require_text_options(world, context, text, text_encoder)
    sampler = sampler_from_options(temperature=temperature, top_k=top_k, top_p=top_p, adapter=world.source.adapter)
    if world.block and actions is None:
        raise SpecError(f"expected actions, which lead {world.name} from frame to frame, got none. Give --actions.")
    blocks = None if actions is None else world.read_actions(actions)
    made = (
        read_plan_for(world, blocks, plan)
        if plan is not None
        else plan_for(world, blocks, frames, prompt_frames, keep, policies=policies, k=k, d=d)
    )
    first, last = extent(world, made)
    given = list(islice(world.read_frames(video), first))
    require_frames(given, first, video)
    if text is not None and text_encoder is not None:
        with working("reading the text", quiet=as_json):
            world = read_text(world, text, text_encoder, dtype=dtype)

    def tell(estimate: "Memory") -> None:
        if not as_json and err.is_terminal:
            err.print(Text(f"memory, estimated: {estimate}"), soft_wrap=True)

    memory = world.source.require_memory(made, sampled=not isinstance(sampler, Greedy), report=tell)
    with working("loading", quiet=as_json):
        world.load()
    height, width = given[0].shape[:2]
    if not as_json and (height, width) != (world.height, world.width):
        err.print(
            Text(f"frames of {width} x {height} are scaled and cut to {world.width} x {world.height}"), soft_wrap=True
        )
    if frames_dir is not None:
        make_folder(frames_dir)
    passes = made.steps if isinstance(made, Plan) else made.cost().passes
    bar = progress_bar("generating", "passes", TimeRemainingColumn(), quiet=as_json)
    written = False
    shown = _Shown([fit(frame, world.height, world.width) for frame in given], frames_dir)
    try:
        with bar as progress, VideoWriter(out, fps=fps or world.fps) as writer:
            task = progress.add_task("generating", total=passes)
            shown.writer = writer
            try:
                done = generate(
                    made, world, np.stack(given), blocks, sampler=sampler, seed=seed,
                    on_frame=lambda _, picture: shown.add(picture),
                    on_pass=lambda count: progress.update(task, completed=count),
                )  # fmt: skip
            except KeyboardInterrupt:
                if not shown.generated:  # the prompt alone is no result, and may lie over an earlier one
                    writer.discard()
                raise
        written = True
        if gif is not None:
            write_atomically(gif, gif_bytes(shown.frames, fps or world.fps))
        if tokens is not None:
            write_atomically(tokens, npy_bytes(done.tokens))
    except KeyboardInterrupt:
        kept = f"{out} holds the prompt and the {shown.generated} frames that were finished"
        return _interrupted(kept if shown.generated else "no file was changed", as_json=as_json)
    except OSError as error:
        if not written:
            raise
        raise DocumentError(
            f"{out} is written, what goes beside it is not: {error.strerror}. Check the disk."
        ) from None
    figures = {
        "frames": last - first,
        "passes": passes,
        "seconds": round(done.seconds, 3),
        "frames_per_second": round((last - first) / done.seconds, 2),
        "tokens_per_second": round(done.tokens.size / done.seconds, 1),
        "tokenizer_seconds": round(done.tokenizer_seconds, 3),
    }
    if isinstance(made, Rollout):
        figures |= {"windows": len(made.windows), "prefill_tokens": made.cost().prefill_tokens}
    if as_json:
        about = {"model": world.name, "memory": None if memory is None else memory._asdict()}
        print_json(figures | about | {"shape": list(done.frames.shape), "out": str(out)})
    else:
        print_table(["", ">"], [(name.replace("_", " "), value) for name, value in figures.items()])
        size = f"{len(shown.frames)} frames of {world.width} x {world.height}"
        console().print(Text(f"wrote {out}, {size}"), soft_wrap=True)
    return FINE


class _Shown:
    """The frames of a video so far, written to the video and to a folder; the prompt's with the first generated one."""

    def __init__(self, prompt: list[NDArray[np.uint8]], folder: Path | None) -> None:
        self.prompt, self.folder = prompt, folder
        self.frames: list[NDArray[np.uint8]] = []
        self.writer: VideoWriter | None = None

    @property
    def generated(self) -> int:
        """Frames that are not the prompt's."""
        return max(0, len(self.frames) - len(self.prompt))

    def add(self, picture: NDArray[np.uint8]) -> None:
        """One more frame."""
        for frame in [picture] if self.frames else [*self.prompt, picture]:
            self._write(frame)

    def _write(self, frame: NDArray[np.uint8]) -> None:
        from diagplan.schemas.atomic import write_atomically
        from diagplan.video.frames import png

        assert self.writer is not None
        self.writer.add(frame)
        self.frames.append(frame)
        if self.folder is not None:
            write_atomically(self.folder / f"{len(self.frames) - 1:04d}.png", png(frame))


def _interrupted(kept: str, *, as_json: bool) -> int:
    if as_json:
        print_json({"ok": False, "error": f"interrupted; {kept}."})
    else:
        console(stderr=True).print(Text(f"diagplan: interrupted; {kept}."), soft_wrap=True)
    return INTERRUPTED


def _require_folders(outputs: Mapping[str, Path | None]) -> None:
    """Say before the work that a folder is missing, not behind it."""
    for name, path in outputs.items():
        if path is not None and not path.parent.is_dir():
            raise DocumentError(f"expected {name} in a folder that is there, got {path}. Make the folder.")
