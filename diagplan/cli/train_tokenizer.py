"""Train an image tokenizer on recorded clips."""

from typing import Annotated

from diagplan.cli.shared.models import option
from diagplan.cli.shared.output import FINE, JsonOption, command
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
    progress,
    require_checkpoints,
    rounded,
    say,
    stopped,
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
    from diagplan.adapters.mc_ar_files import require_device
    from diagplan.games.clips import list_clips
    from diagplan.training.runs import last_row
    from diagplan.training.tokenizer import TokenizerRecipe, train_tokenizer

    given = {
        "steps": steps, "batch": batch, "whole_steps": whole_steps, "codes": codes, "learning_rate": learning_rate,
        "seed": seed,
    }  # fmt: skip
    recipe = TokenizerRecipe(**given_options(given))
    require_device(device)
    train, validation = list_clips(clips / "train"), list_clips(clips / "validation")
    try:
        with progress("training", "steps", recipe.all_steps, as_json) as show:
            train_tokenizer(
                recipe, train, validation, out, device=device, checkpoint_every=checkpoint_every, on_step=show
            )
    except KeyboardInterrupt:
        return stopped("the last checkpoint stays. Run it again to go on from there.", as_json)
    say(rounded(last_row(out)), {"codes": recipe.codes, "clips": len(train), "out": str(out)}, as_json)
    return FINE
