"""The command that fine-tunes a world model on plans."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from diagplan.cli.shared.models import option
from diagplan.cli.shared.output import FINE, JsonOption, command, require_distinct
from diagplan.cli.shared.requests import (
    naming_options,
    numbers_from_option,
    policies_from_options,
    schedule_from_options,
)
from diagplan.cli.shared.training import (
    RECIPE,
    RUN,
    Batch,
    Clips,
    Device,
    Every,
    Out,
    Rate,
    Seed,
    Steps,
    given_options,
    interrupted,
    progress,
    require_checkpoints,
    say_trained,
)
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Schedule

__all__ = ["finetune_command"]

PLANS = "Plans"


@command
def finetune_command(
    clips: Clips,
    out: Out,
    k: Annotated[str, option(PLANS, "Row delays with commas, e.g. 2 or 1,2,4; a batch draws one of them.")],
    model: Annotated[
        str, typer.Option(help="crafter-mini, or the folder of a world model.", rich_help_panel=RUN)
    ] = "crafter-mini",
    d: Annotated[int | None, option(PLANS, "Frame delay: the next frame begins after d steps.")] = None,
    policies: Annotated[str, typer.Option(help="Bundle of policies.", rich_help_panel=PLANS)] = "default",
    proxy: Annotated[str | None, option(PLANS, "What stands in for an unknown token, instead of the bundle's.")] = None,
    row_end: Annotated[str | None, option(PLANS, "keep or refresh, instead of the bundle's.")] = None,
    proxy_kv: Annotated[str | None, option(PLANS, "visible or hidden, instead of the bundle's.")] = None,
    visibility: Annotated[str | None, option(PLANS, "written or causal, instead of the bundle's.")] = None,
    recipe: Annotated[
        Literal["default", "paper"], typer.Option(help="Recipe; paper: its optimizer table.", rich_help_panel=RECIPE)
    ] = "default",
    steps: Steps = None,
    batch: Batch = None,
    ntp_share: Annotated[float | None, option(RECIPE, "Share of batches with next-token masks, 0 to 1.")] = None,
    learning_rate: Rate = None,
    warm_up: Annotated[int | None, option(RECIPE, "Steps until the learning rate is highest.")] = None,
    seed: Seed = None,
    bfloat16: Annotated[
        bool | None, option(RECIPE, "Matrix products in bfloat16, or in float32.", "--bfloat16/--no-bfloat16")
    ] = None,
    context: Annotated[int | None, option(RECIPE, "Frames of a sequence; the model's context.")] = None,
    size: Annotated[
        Literal["300M", "700M", "1.2B"] | None, option(RECIPE, "Begin with random weights of this published size.")
    ] = None,
    name: Annotated[str | None, option(RUN, "Of the world model; by default the folder's.")] = None,
    device: Device = "cpu",
    checkpoint_every: Every = 200,
    as_json: JsonOption = False,
) -> int:
    """Fine-tune a world model on plans: it learns with the masks that it will decode with.

    Writes all that `diagplan generate` needs to OUT/world. Run again with the same folder and options, it goes on from
    the last checkpoint, to the identical result. Under torchrun the processes share every batch.
    """
    require_checkpoints(checkpoint_every)
    from diagplan.models.loading import require_torch
    from diagplan.worlds import SHIPPED

    require_torch()
    from diagplan.training.folders import finetune_world
    from diagplan.training.published import RECIPES

    given = {
        "steps": steps, "batch": batch, "ntp_share": ntp_share, "learning_rate": learning_rate, "warm_up": warm_up,
        "seed": seed, "bfloat16": bfloat16,
    }  # fmt: skip
    with naming_options(given):
        how = replace(RECIPES[recipe], **given_options(given))
    delays = numbers_from_option("--k", k)
    chosen = policies_from_options(policies, proxy=proxy, row_end=row_end, proxy_kv=proxy_kv, visibility=visibility)
    if model == "mc-ar":
        raise SpecError(
            "expected crafter-mini or the folder of a world model to fine-tune, got --model mc-ar. "
            "A folder with world.json, as `diagplan train model` writes it, says which tokens are actions."
        )
    require_distinct({"-o": out / "world"}, {"--model": SHIPPED.get(model, Path(model))})

    def schedules(layout: Layout) -> list[Schedule]:
        return [
            schedule_from_options(layout, policies, name=None, k=delay, d=d, window=None, order=None)
            for delay in delays
        ]

    try:
        with progress(as_json) as show:
            trained = finetune_world(
                model, clips, out, schedules, policies=chosen, recipe=how, size=size, name=name, device=device,
                context="paper" if context is None and size is not None and recipe == "paper" else context,
                checkpoint_every=checkpoint_every, on_progress=show,
            )  # fmt: skip
    except KeyboardInterrupt:
        return interrupted(out, as_json)
    if trained is not None:
        say_trained(trained, {"parameters": trained.parameters}, as_json)
    return FINE
