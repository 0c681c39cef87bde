"""The main job: a video and actions in, a video out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import TimeRemainingColumn
from rich.text import Text

from diagplan.cli.shared.extras import require_for
from diagplan.cli.shared.files import IDS, Output, require_outputs
from diagplan.cli.shared.models import (
    MODEL,
    BackendOption,
    ContextOption,
    DeviceOption,
    DtypeOption,
    Int8Option,
    ReleaseConfigOption,
    ReleaseTokenizerOption,
    ReleaseWeightsOption,
    ThreadsOption,
    load_options,
    option,
)
from diagplan.cli.shared.output import (
    FINE,
    PROBLEM,
    JsonOption,
    command,
    console,
    print_json,
    print_table,
    progress_bar,
)
from diagplan.cli.shared.parallel import TensorParallelOption, for_all_ranks, ranks_of_command, unwritten
from diagplan.cli.shared.recipes import (
    OUTPUT,
    FramesOption,
    KeepOption,
    PlanFileOption,
    PromptFramesOption,
    WorldModelOption,
)
from diagplan.cli.shared.requests import (
    SAMPLING,
    FrameDelayOption,
    GreedyOption,
    MinPOption,
    PoliciesOption,
    ProxyKvOption,
    ProxyOption,
    RowDelayOption,
    RowEndOption,
    ScheduleNameOption,
    TemperatureOption,
    TopKOption,
    TopPOption,
    VisibilityOption,
    ZipArWindowOption,
    policies_from_options,
    sampler_from_options,
    schedule_from_options,
)
from diagplan.cli.shared.speculation import (
    CheckOption,
    DraftOption,
    ExactOption,
    SpeculateOption,
    SpeculationOption,
    checked_figures,
    speculation_figures,
    speculation_from_options,
)
from diagplan.planner.errors import SpecError
from diagplan.planner.rollout import Rollout
from diagplan.worlds.loading import folder_of

if TYPE_CHECKING:
    from diagplan.backends.memory import Memory
    from diagplan.worlds import World
    from diagplan.worlds.prompts import PromptCheck
    from diagplan.worlds.videos import GeneratedVideo, PlanChoice

__all__ = ["generate_command"]


@command
@for_all_ranks
def generate_command(
    video: Annotated[Path, typer.Option(help="A video; its first frames are the prompt.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="The video to write, .mp4.", show_default=False)],
    model: WorldModelOption = "crafter-mini",
    actions: Annotated[
        Path | None, option(MODEL, "Actions between the video's frames: JSON lines; for WHAM also .npz, .npy.")
    ] = None,
    weights: ReleaseWeightsOption = None,
    tokenizer: ReleaseTokenizerOption = None,
    config: ReleaseConfigOption = None,
    context: ContextOption = None,
    text: Annotated[
        str | None, option(MODEL, "Instead of --context: what the video shows, for a Video2World model.")
    ] = None,
    text_encoder: Annotated[Path | None, option(MODEL, "With --text: a local folder of T5-11B.")] = None,
    backend: BackendOption = "torch",
    dtype: DtypeOption = "float32",
    device: DeviceOption = "cpu",
    int8: Int8Option = False,
    threads: ThreadsOption = None,
    tensor_parallel: TensorParallelOption = False,
    frames: FramesOption = None,
    prompt_frames: PromptFramesOption = None,
    keep: KeepOption = None,
    plan: PlanFileOption = None,
    schedule: ScheduleNameOption = None,
    k: RowDelayOption = None,
    d: FrameDelayOption = None,
    window: ZipArWindowOption = None,
    policies: PoliciesOption = "default",
    proxy: ProxyOption = None,
    row_end: RowEndOption = None,
    proxy_kv: ProxyKvOption = None,
    visibility: VisibilityOption = None,
    seed: Annotated[int, typer.Option(help="The seed of the sampling.", rich_help_panel=SAMPLING)] = 0,
    greedy: GreedyOption = False,
    temperature: TemperatureOption = None,
    top_k: TopKOption = None,
    top_p: TopPOption = None,
    min_p: MinPOption = None,
    frames_dir: Annotated[Path | None, option(OUTPUT, "Write each frame here as soon as it is known, .png.")] = None,
    gif: Annotated[Path | None, option(OUTPUT, "Write a GIF too.")] = None,
    tokens: Annotated[Path | None, option(OUTPUT, "Write the tokens too, .npy, int [T, h, w].")] = None,
    fps: Annotated[
        int | None, option(OUTPUT, "Frames a second of the video. Left out: the model's own.", min=1, max=240)
    ] = None,
    exact: ExactOption = False,
    speculate: SpeculateOption = None,
    draft: DraftOption = None,
    speculation_document: SpeculationOption = None,
    check: CheckOption = False,
    as_json: JsonOption = False,
) -> int:
    """Roll a world forward: a video and actions in, a video out."""
    from diagplan.worlds.loading import open_world
    from diagplan.worlds.plans import plan_for
    from diagplan.worlds.videos import generate_video

    bundle = None if policies == "default" else policies
    asked = {
        "frames": frames, "prompt_frames": prompt_frames, "keep": keep, "schedule": schedule, "k": k, "d": d,
        "window": window, "policies": bundle, "proxy": proxy, "row_end": row_end, "proxy_kv": proxy_kv,
        "visibility": visibility,
    }  # fmt: skip
    given = [f"--{name.replace('_', '-')}" for name, value in asked.items() if value is not None]
    if plan is not None and given:
        raise SpecError(f"expected --plan or {given[0]}, got both. A plan file says frames, schedule and policies.")
    speculation = speculation_from_options(
        exact=exact, speculate=speculate, draft=draft, speculation=speculation_document
    )
    require_for("videos", weights or folder_of(model), backend, "av", "PIL")
    require_outputs(
        Output("-o", out, (".mp4",)), Output("--gif", gif, (".gif",)), Output("--tokens", tokens, IDS),
        Output("--frames-dir", frames_dir),
        inputs={"--video": video, "--actions": actions, "--plan": plan, "--weights": weights, "--context": context}
        | {"--speculation": speculation_document}
        | {"--tokenizer": tokenizer, "--text-encoder": text_encoder, "--model": Path(model)}
        | {"--config": None if config is None else Path(config)},
    )  # fmt: skip
    chosen = policies_from_options(policies, proxy=proxy, row_end=row_end, proxy_kv=proxy_kv, visibility=visibility)
    named = schedule or (None if k is not None or window is not None else "next-token")
    ranks, device = ranks_of_command(tensor_parallel, device)
    options = load_options(
        backend=backend, config=config, dtype=dtype, device=device, int8=int8, threads=threads, context=context,
        ranks=ranks,
    )  # fmt: skip
    world = open_world(model, options, weights=weights, tokenizer=tokenizer)
    sampler = sampler_from_options(
        temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p, greedy=greedy, adapter=world.source.adapter
    )

    def planned(world: "World", blocks: NDArray[np.int64] | None) -> Any:
        return plan_for(
            world, blocks, frames=frames, prompt_frames=prompt_frames, keep=keep, policies=chosen,
            schedule=lambda layout: schedule_from_options(
                layout, policies, name=named, k=k, d=d, window=window, order=None
            ),
        )  # fmt: skip

    replayed: PlanChoice = planned if plan is None else plan
    unit = "passes" if speculation is None else "steps"
    with (
        unwritten(ranks) as elsewhere,
        progress_bar("{task.description}", unit, TimeRemainingColumn(), quiet=as_json) as bar,
    ):
        if elsewhere is not None:
            out, frames_dir, gif, tokens = elsewhere / "out.mp4", None, None, None
        task = bar.add_task("opening", total=None)

        def on_progress(what: str, done: int, of: int) -> None:
            bar.update(task, description=what, completed=done, total=of or None)

        def on_memory(memory: "Memory") -> None:
            if bar.console.is_terminal and not as_json:
                bar.console.print(Text(f"memory, estimated: {memory}"), soft_wrap=True)

        def on_prompt(prompt: "PromptCheck") -> None:
            for line in [] if as_json else _notes(world, prompt):
                bar.console.print(Text(line), soft_wrap=True)

        generated = generate_video(
            world, video, out, actions=actions, plan=replayed, text=text, text_encoder=text_encoder, sampler=sampler,
            seed=seed, speculation=speculation, check=check, frames_dir=frames_dir, gif=gif, tokens=tokens, fps=fps,
            on_progress=on_progress, on_memory=on_memory, on_prompt=on_prompt,
        )  # fmt: skip
    _say(world, generated, out, as_json=as_json)
    checked = generated.generated.checked
    return FINE if checked is None or checked.ok else PROBLEM


def _notes(world: "World", prompt: "PromptCheck") -> list[str]:
    """What a person should know of the prompt before a frame is generated."""
    lines = []
    if prompt.cut:
        size = f"{world.width} x {world.height}"
        lines.append(f"frames of {prompt.width} x {prompt.height} are scaled and cut to {size}")
    if prompt.unlike:
        lines.append(
            f"diagplan: warning: the image tokenizer gives the prompt back with {prompt.psnr:.1f} dB only, below "
            f"{prompt.least:g}: {world.name} was trained on other pictures, and what it generates may mean little."
        )
    return lines


def _say(world: "World", generated: "GeneratedVideo", out: Path, *, as_json: bool) -> None:
    """The figures, and where the video is."""
    done = generated.generated
    figures = {
        "frames": len(done.frames),
        "passes": generated.passes,
        "tokens_a_pass": round(done.tokens.size / generated.passes, 2),
        "seconds": round(done.seconds, 3),
        "frames_per_second": round(len(done.frames) / done.seconds, 2),
        "tokens_per_second": round(done.tokens.size / done.seconds, 1),
        "tokenizer_seconds": round(done.tokenizer_seconds, 3),
        "prompt_psnr": generated.prompt.finite_psnr,
        "threads": generated.threads,
    }
    if isinstance(generated.plan, Rollout):
        figures |= {"windows": len(generated.plan.windows), "prefill_tokens": generated.plan.cost().prefill_tokens}
    figures |= speculation_figures(done.speculation, done.promise, as_json=as_json)
    figures |= checked_figures(done.checked, as_json=as_json)
    if as_json:
        about = {"model": world.name, "memory": None if generated.memory is None else generated.memory._asdict()}
        print_json(figures | about | {"shape": list(done.frames.shape), "out": str(out)})
        return
    print_table(["", ">"], [(name.replace("_", " "), value) for name, value in figures.items()])
    size = f"{generated.frames} frames of {world.width} x {world.height}"
    console().print(Text(f"wrote {out}, {size}"), soft_wrap=True)
