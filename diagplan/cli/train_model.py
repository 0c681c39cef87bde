"""Train a world model on recorded clips."""

from pathlib import Path
from typing import Annotated, Literal

from diagplan.cli.shared.models import option
from diagplan.cli.shared.output import FINE, JsonOption, command
from diagplan.cli.shared.requests import naming_options
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

__all__ = ["train_model_command"]


@command
def train_model_command(
    clips: Clips,
    tokenizer: Annotated[Path, option(RUN, "The folder of an image tokenizer.")],
    out: Out,
    steps: Steps = None,
    batch: Batch = None,
    context: Annotated[int | None, option(RECIPE, "Frames of a sequence.")] = None,
    hidden: Annotated[int | None, option(RECIPE, "Width.")] = None,
    mlp: Annotated[int | None, option(RECIPE, "Width within a block.")] = None,
    layers: Annotated[int | None, option(RECIPE, "Blocks.")] = None,
    heads: Annotated[int | None, option(RECIPE, "Attention heads.")] = None,
    rope: Annotated[Literal["1d", "3d"] | None, option(RECIPE, "Rotary positions: by slot, or by t, h, w.")] = None,
    learning_rate: Rate = None,
    seed: Seed = None,
    bfloat16: Annotated[
        bool | None, option(RECIPE, "Matrix products in bfloat16, or in float32.", "--bfloat16/--no-bfloat16")
    ] = None,
    name: Annotated[str | None, option(RUN, "Of the world model; by default the folder's.")] = None,
    device: Device = "cpu",
    checkpoint_every: Every = 200,
    as_json: JsonOption = False,
) -> int:
    """Train a world model on recorded clips, and write all that `diagplan generate` needs of it to OUT/world.

    Run again with the same folder and options, it goes on from the last checkpoint, to the identical result.
    """
    require_checkpoints(checkpoint_every)
    from diagplan.models.loading import require_torch

    require_torch()
    from diagplan.training.folders import world_from_clips
    from diagplan.training.world_model import WorldRecipe

    given = {
        "steps": steps, "batch": batch, "context": context, "hidden": hidden, "mlp": mlp, "layers": layers,
        "heads": heads, "rope": rope, "learning_rate": learning_rate, "seed": seed, "bfloat16": bfloat16,
    }  # fmt: skip
    with naming_options(given):
        recipe = WorldRecipe(**given_options(given))
    try:
        with progress(as_json) as show:
            trained = world_from_clips(
                clips, tokenizer, out, recipe, name=name, device=device, checkpoint_every=checkpoint_every,
                on_progress=show,
            )  # fmt: skip
    except KeyboardInterrupt:
        return interrupted(out, as_json)
    say_trained(trained, {"parameters": trained.parameters}, as_json)
    return FINE
