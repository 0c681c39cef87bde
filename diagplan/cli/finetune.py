"""The command that fine-tunes a world model on plans."""

from dataclasses import replace
from typing import Annotated, Literal

import typer

from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.models import option, world_option
from diagplan.cli.shared.output import FINE, JsonOption, command, require_distinct
from diagplan.cli.shared.requests import (
    PoliciesOption,
    ProxyKvOption,
    ProxyOption,
    RowEndOption,
    VisibilityOption,
    naming_options,
    numbers_from_option,
    policies_from_options,
    schedule_from_options,
)
from diagplan.cli.shared.training import (
    RECIPE,
    RUN,
    Clips,
    Device,
    Every,
    Name,
    Out,
    TrainingThreads,
    given_options,
    interrupted,
    progress,
    recipe_option,
    require_checkpoints,
    say_trained,
    use_threads,
)
from diagplan.planner.extras import require_packages
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Schedule

__all__ = ["finetune_command"]

PLANS = "Plans"


@command
def finetune_command(
    clips: Clips,
    out: Out,
    k: Annotated[
        str, option(PLANS, "Row delays of the plans with commas, e.g. 2 or 1,2,4; a batch draws one of them.")
    ],
    model: Annotated[
        str,
        world_option("The world model to begin with: crafter-mini, or a folder.", panel=RUN),
    ] = "crafter-mini",
    d: Annotated[
        int | None, option(PLANS, "The frame delay of the plans, in steps. Left out: frames come in sequence.")
    ] = None,
    policies: PoliciesOption = "default",
    proxy: ProxyOption = None,
    row_end: RowEndOption = None,
    proxy_kv: ProxyKvOption = None,
    visibility: VisibilityOption = None,
    recipe: Annotated[
        Literal["default", "paper"],
        typer.Option(
            help="The recipe that the options of this panel change; paper has the paper's optimizer table.",
            rich_help_panel=RECIPE,
        ),
    ] = "default",
    steps: Annotated[int | None, recipe_option("Optimizer steps.", 1000)] = None,
    batch: Annotated[int | None, recipe_option("Sequences in a step.", 4)] = None,
    ntp_share: Annotated[
        float | None, recipe_option("The share of batches with next-token masks, 0 to 1.", 0.25)
    ] = None,
    learning_rate: Annotated[float | None, recipe_option("The highest learning rate.", 0.0003)] = None,
    warm_up: Annotated[
        int | None, recipe_option("Steps until the learning rate is highest.", "50; paper: 10000")
    ] = None,
    seed: Annotated[int | None, recipe_option("The seed of the weights and of what is drawn.", 0)] = None,
    bfloat16: Annotated[
        bool | None,
        recipe_option("Compute matrix products in bfloat16, or in float32.", "bfloat16", "--bfloat16/--no-bfloat16"),
    ] = None,
    context: Annotated[
        int | None,
        option(RECIPE, "Frames of a sequence. Left out: the model's context; with --size and paper, the paper's."),
    ] = None,
    size: Annotated[
        Literal["300M", "700M", "1.2B"] | None,
        option(RECIPE, "Begin with random weights of this published size. Left out: with the model's weights."),
    ] = None,
    name: Name = None,
    device: Device = "cpu",
    threads: TrainingThreads = None,
    checkpoint_every: Every = 200,
    as_json: JsonOption = False,
) -> int:
    """Fine-tune a world model on plans: it learns with the masks that it will decode with.

    Writes all that `diagplan generate` needs to OUT/world. Run again with the same folder and options, it goes on from
    the last checkpoint, to the identical result. Under torchrun the processes share every batch.
    """
    require_packages("fine-tuning", "torch", "safetensors", "av", "diffusers", "matplotlib")
    require_outputs(Output("-o", out))
    require_checkpoints(checkpoint_every)
    from diagplan.worlds.loading import folder_of

    use_threads(threads)
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
    require_distinct({"-o": out / "world"}, {"--model": folder_of(model)})

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
