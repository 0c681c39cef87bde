"""What is done with every clip, from the options that `batch` and `serve` share, most of them with `generate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from diagplan.cli.shared.models import MODEL, for_families, load_options, option, world_option
from diagplan.cli.shared.requests import (
    SAMPLING,
    policies_from_options,
    sampler_from_options,
    schedule_from_options,
)
from diagplan.cli.shared.speculation import speculation_from_options
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.worlds.loading import SHIPPED, release_names, require_known

if TYPE_CHECKING:
    from diagplan.batch import Recipe

__all__ = [
    "OUTPUT",
    "PLAN",
    "WORKERS",
    "BatchOption",
    "FpsOption",
    "FramesOption",
    "GpusPerWorkerOption",
    "JobSeedOption",
    "KeepOption",
    "PlanFileOption",
    "PromptFramesOption",
    "RayOption",
    "TextEncoderOption",
    "TokensOnlyOption",
    "WorldModelOption",
    "recipe_from_options",
]

#: Panels of --help.
PLAN, OUTPUT, WORKERS = "Plan", "Output", "Workers"

WorldModelOption = Annotated[
    str,
    world_option(
        f"{', '.join(SHIPPED)}; a world model's folder, or what export-onnx wrote of one; or a release: "
        f"{', '.join(release_names())}.",
        releases=True,
    ),
]
TextEncoderOption = Annotated[Path | None, option(MODEL, "For jobs with a text: a local folder of T5-11B.")]
FramesOption = Annotated[
    int | None, option(PLAN, "Frames to generate. Left out: as many as the context and the actions allow.", min=1)
]
PromptFramesOption = Annotated[
    int | None, option(PLAN, for_families("prompt_frames", "Frames that are given. Left out: 1."), min=1)
]
KeepOption = Annotated[
    int | None,
    option(PLAN, for_families("keep", "Beyond the context: slide a window that keeps so many frames."), min=1),
]
PlanFileOption = Annotated[Path | None, option(PLAN, "Replay this plan instead.")]
JobSeedOption = Annotated[
    int,
    typer.Option(help="With a job's id it makes the seed of a job that says none.", rich_help_panel=SAMPLING),
]
TokensOnlyOption = Annotated[bool, option(OUTPUT, "Write tokens alone, without videos.", "--tokens-only")]
FpsOption = Annotated[
    int | None, option(OUTPUT, "Frames a second of the videos. Left out: the model's own.", min=1, max=240)
]
BatchOption = Annotated[
    int, typer.Option(help="Clips that pass the model together.", min=1, max=4096, rich_help_panel=WORKERS)
]
RayOption = Annotated[
    str | None,
    option(
        WORKERS,
        "Workers on Ray: auto, the address of a cluster, or local. Left out: processes of this machine.",
        metavar="ADDRESS",
    ),
]
GpusPerWorkerOption = Annotated[
    float,
    typer.Option(help="With --device cuda; less than 1: workers share one.", rich_help_panel=WORKERS),
]


def recipe_from_options(
    *,
    model: str,
    weights: Path | None,
    tokenizer: Path | None,
    config: str | None,
    context: Path | None,
    text_encoder: Path | None,
    backend: str,
    dtype: Any,
    device: str,
    int8: bool,
    threads: Any,
    frames: int | None,
    prompt_frames: int | None,
    keep: int | None,
    plan: Path | None,
    schedule: Literal["next-token", "diagonal", "zipar", "zipar-llamagen"] | None,
    k: int | None,
    d: int | None,
    window: int | None,
    policies: Any,
    proxy: Any,
    row_end: Any,
    proxy_kv: Any,
    visibility: Any,
    seed: int,
    greedy: bool,
    temperature: float | None,
    top_k: int | None,
    top_p: float | None,
    min_p: float | None,
    tokens_only: bool,
    fps: int | None,
    exact: bool,
    speculate: int | None,
    draft: str | None,
    batch: int,
) -> "Recipe":
    """A recipe of the options by their names.

    Raises:
        SpecError: options that contradict each other, or no such model, before any is loaded.
    """
    from diagplan.batch import Recipe

    sampling: dict[str, Any] = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p}
    sampler_from_options(**sampling, greedy=greedy)  # what contradicts itself is refused before workers start
    require_known(model, backend)
    changes = {"proxy": proxy, "row_end": row_end, "proxy_kv": proxy_kv, "visibility": visibility}
    asked = {
        "frames": frames, "prompt_frames": prompt_frames, "keep": keep, "schedule": schedule, "k": k, "d": d,
        "window": window, "policies": None if policies == "default" else policies, **changes,
    }  # fmt: skip
    given = [f"--{name.replace('_', '-')}" for name, value in asked.items() if value is not None]
    if plan is not None and given:
        raise SpecError(f"expected --plan or {given[0]}, got both. A plan file says frames, schedule and policies.")
    implied = k is not None or window is not None
    named = schedule if schedule is not None or implied else "next-token"
    # Its frame delay is known with the layout.
    bundle = policies if policies.startswith("mineworld") and k is not None and d is None else None
    return Recipe(
        model=model,
        options=load_options(
            backend=backend, config=config, dtype=dtype, device=device, int8=int8, threads=threads, context=context
        ),
        weights=weights,
        tokenizer=tokenizer,
        text_encoder=text_encoder,
        schedule=None
        if plan is not None
        else schedule_from_options(
            Layout(frames=1, rows=1, cols=1, prompt_frames=1),
            policies if bundle is None else "default",
            name=named,
            k=k,
            d=d,
            window=window,
            order=None,
        ),
        policies=None if plan is not None else policies_from_options(policies, **changes),
        bundle=bundle,
        plan=plan,
        frames=frames,
        prompt_frames=prompt_frames,
        keep=keep,
        sampling=sampling if any(value is not None for value in sampling.values()) else None,
        seed=seed,
        speculation=speculation_from_options(exact=exact, speculate=speculate, draft=draft),
        batch=batch,
        fps=fps,
        pictures=not tokens_only,
    )
