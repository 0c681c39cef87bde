"""Train an image tokenizer on recorded clips."""

from typing import Annotated

from diagplan.cli.shared.models import option
from diagplan.cli.shared.output import FINE, JsonOption, command
from diagplan.cli.shared.requests import naming_options
from diagplan.cli.shared.training import (
    RECIPE,
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

__all__ = ["train_tokenizer_command"]


@command
def train_tokenizer_command(
    clips: Clips,
    out: Out,
    steps: Steps = None,
    batch: Batch = None,
    whole_steps: Annotated[int | None, option(RECIPE, "Steps after those, on whole frames.")] = None,
    codes: Annotated[int | None, option(RECIPE, "Size of the codebook.")] = None,
    learning_rate: Rate = None,
    seed: Seed = None,
    device: Device = "cpu",
    checkpoint_every: Every = 100,
    as_json: JsonOption = False,
) -> int:
    """Train an image tokenizer, diffusers' VQModel with 16 x 16 pixels a token, on recorded clips.

    Run again with the same folder and options, it goes on from the last checkpoint, to the identical result.
    """
    require_checkpoints(checkpoint_every)
    from diagplan.models.loading import require_torch

    require_torch()
    from diagplan.training.folders import tokenizer_from_clips
    from diagplan.training.tokenizer import TokenizerRecipe

    given = {
        "steps": steps, "batch": batch, "whole_steps": whole_steps, "codes": codes, "learning_rate": learning_rate,
        "seed": seed,
    }  # fmt: skip
    with naming_options(given):
        recipe = TokenizerRecipe(**given_options(given))
    try:
        with progress(as_json) as show:
            trained = tokenizer_from_clips(
                clips, out, recipe, device=device, checkpoint_every=checkpoint_every, on_progress=show
            )
    except KeyboardInterrupt:
        return interrupted(out, as_json)
    say_trained(trained, {"codes": recipe.codes}, as_json)
    return FINE
