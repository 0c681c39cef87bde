"""Train an image tokenizer on recorded clips."""

from typing import Annotated

from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.output import FINE, JsonOption, command
from diagplan.cli.shared.requests import naming_options
from diagplan.cli.shared.training import (
    Clips,
    Device,
    Every,
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

__all__ = ["train_tokenizer_command"]


@command
def train_tokenizer_command(
    clips: Clips,
    out: Out,
    steps: Annotated[int | None, recipe_option("Optimizer steps on crops of frames.", 4000)] = None,
    batch: Annotated[int | None, recipe_option("Pictures in a step.", 16)] = None,
    whole_steps: Annotated[int | None, recipe_option("Optimizer steps after those, on whole frames.", 300)] = None,
    codes: Annotated[int | None, recipe_option("The size of the codebook.", 256)] = None,
    learning_rate: Annotated[float | None, recipe_option("The highest learning rate.", 0.002)] = None,
    seed: Annotated[int | None, recipe_option("The seed of the weights and of what is drawn.", 0)] = None,
    device: Device = "cpu",
    threads: TrainingThreads = None,
    checkpoint_every: Every = 100,
    as_json: JsonOption = False,
) -> int:
    """Train an image tokenizer, diffusers' VQModel with 16 x 16 pixels a token, on recorded clips.

    Run again with the same folder and options, it goes on from the last checkpoint, to the identical result.
    """
    require_packages("training", "torch", "safetensors", "av", "diffusers", "matplotlib")
    require_outputs(Output("-o", out))
    require_checkpoints(checkpoint_every)

    use_threads(threads)
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
