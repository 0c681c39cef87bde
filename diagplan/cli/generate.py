"""The main job: a video and actions in, a video out."""

from itertools import islice
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import TimeElapsedColumn
from rich.text import Text

from diagplan.cli.models import (
    MODEL,
    BackendOption,
    DeviceOption,
    DtypeOption,
    Int8Option,
    ThreadsOption,
    option,
    require_exported_options,
    set_threads,
)
from diagplan.cli.output import (
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
)
from diagplan.cli.requests import policies_from_options, sampler_from_options, schedule_from_options
from diagplan.planner.errors import SpecError

__all__ = ["register"]

PLAN, SAMPLING, OUTPUT = "Plan", "Sampling", "Output"


@command
def generate_command(
    video: Annotated[Path, typer.Option(help="A video; its first frames are the prompt.", show_default=False)],
    actions: Annotated[Path, typer.Option(help="Actions between its frames, JSON lines.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="The video to write, .mp4.", show_default=False)],
    model: Annotated[
        str,
        typer.Option(
            help="crafter-mini, mc-ar, or a world model's folder; with --backend onnx what export-onnx wrote.",
            rich_help_panel=MODEL,
        ),
    ] = "crafter-mini",
    weights: Annotated[Path | None, option(MODEL, "For mc-ar: the checkpoint.")] = None,
    tokenizer: Annotated[Path | None, option(MODEL, "For mc-ar: the image tokenizer's folder.")] = None,
    config: Annotated[str | None, option(MODEL, "For mc-ar: a released size such as 300M_16f, or a file.")] = None,
    backend: BackendOption = "torch",
    dtype: DtypeOption = "float32",
    device: DeviceOption = "cpu",
    int8: Int8Option = False,
    threads: ThreadsOption = None,
    frames: Annotated[
        int | None, option(PLAN, "Frames to generate; as many as the context and the actions allow.", min=1)
    ] = None,
    prompt_frames: Annotated[int | None, option(PLAN, "Frames that are given; 1.", min=1)] = None,
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
    from diagplan.generation import compile_for, generate, require_frames, require_layout
    from diagplan.planner.atomic import make_folder, write_atomically
    from diagplan.schemas.files import read_plan
    from diagplan.video.files import VideoWriter, read_frames
    from diagplan.video.frames import fit, png
    from diagplan.video.frames import gif as gif_bytes
    from diagplan.worlds import load_world

    err = console(stderr=True)
    if plan is not None and any(option is not None for option in (k, d, frames, prompt_frames)):
        raise SpecError(
            "expected --plan, or --k, --d, --frames and --prompt-frames, got both. A plan says all of these itself."
        )
    if out.suffix.lower() != ".mp4":
        raise SpecError(f"expected a name that ends in .mp4, got {out}. Change its ending.")
    require_distinct(
        {"-o": out, "--gif": gif, "--tokens": tokens},
        {"--video": video, "--actions": actions, "--plan": plan, "--weights": weights, "--tokenizer": tokenizer}
        | {"--model": Path(model)},
    )
    require_exported_options(backend, config=config, dtype=dtype, int8=int8)
    set_threads(backend, threads)
    world = load_world(
        model, weights=weights, tokenizer=tokenizer, config=config, backend=backend, dtype=dtype, device=device,
        quantize="int8" if int8 else None, threads=threads,
    )  # fmt: skip
    blocks = world.read_actions(actions)
    if plan is not None:
        made = read_plan(plan)
        require_layout(world, made)
    else:
        prompt_frames = prompt_frames or 1
        possible = min(world.context_frames, len(blocks) + 1) - prompt_frames
        if possible < 1 and frames is None:
            raise SpecError(
                f"expected room for a frame after {prompt_frames} prompt frames, got {len(blocks)} actions and a "
                f"context of {world.context_frames} frames. Give more actions or fewer prompt frames."
            )
        layout = world.layout(possible if frames is None else frames, prompt_frames)
        timing = schedule_from_options(
            layout, policies, name=None if k is not None else "next-token", k=k, d=d, window=None, order=None
        )
        chosen = policies_from_options(policies, proxy=None, row_end=None, proxy_kv=None, visibility=None)
        made = compile_for(world, layout.frames, timing, prompt_frames=prompt_frames, policies=chosen)
    layout = made.layout
    given = list(islice(read_frames(video), layout.prompt_frames))
    require_frames(given, layout.prompt_frames, video)
    height, width = given[0].shape[:2]
    if not as_json and (height, width) != (world.height, world.width):
        err.print(
            Text(f"frames of {width} x {height} are scaled and cut to {world.width} x {world.height}"), soft_wrap=True
        )
    if frames_dir is not None:
        make_folder(frames_dir)
    sampler = sampler_from_options(temperature=temperature, top_k=top_k, top_p=top_p)
    shown: list[NDArray[np.uint8]] = []
    bar = progress_bar("generating", "frames", TimeElapsedColumn(), quiet=as_json)
    try:
        with bar as progress, VideoWriter(out, fps=fps or world.fps) as writer:
            task = progress.add_task("generating", total=layout.frames)

            def show(frame: NDArray[np.uint8]) -> None:
                writer.add(frame)
                shown.append(frame)
                if frames_dir is not None:
                    write_atomically(frames_dir / f"{len(shown) - 1:04d}.png", png(frame))

            def on_frame(_: int, picture: NDArray[np.uint8]) -> None:
                show(picture)
                progress.advance(task)

            for frame in given:
                show(fit(frame, world.height, world.width))
            try:
                done = generate(world, np.stack(given), blocks, made, sampler=sampler, seed=seed, on_frame=on_frame)
            except KeyboardInterrupt:
                if len(shown) == len(given):  # the prompt alone is no result, and may lie over an earlier one
                    writer.discard()
                raise
    except KeyboardInterrupt:
        finished = len(shown) - len(given)
        kept = (
            f"{out} holds the prompt and the {finished} frames that were finished"
            if finished > 0
            else "no file was changed"
        )
        if as_json:
            print_json({"ok": False, "error": f"interrupted; {kept}."})
        else:
            err.print(Text(f"diagplan: interrupted; {kept}."), soft_wrap=True)
        return INTERRUPTED
    if gif is not None:
        write_atomically(gif, gif_bytes(shown, fps or world.fps))
    if tokens is not None:
        write_atomically(tokens, npy_bytes(done.tokens))
    figures = {
        "frames": layout.frames,
        "passes": made.steps,
        "seconds": round(done.seconds, 3),
        "frames_per_second": round(layout.frames / done.seconds, 2),
        "tokens_per_second": round(done.tokens.size / done.seconds, 1),
        "tokenizer_seconds": round(done.tokenizer_seconds, 3),
    }
    if as_json:
        print_json(figures | {"model": world.name, "shape": list(done.frames.shape), "out": str(out)})
    else:
        print_table(["", ">"], [(name.replace("_", " "), value) for name, value in figures.items()])
        console().print(Text(f"wrote {out}, {len(shown)} frames of {world.width} x {world.height}"), soft_wrap=True)
    return FINE


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("generate")(generate_command)
