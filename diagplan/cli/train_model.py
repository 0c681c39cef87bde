"""Train a world model on recorded clips."""

from pathlib import Path
from typing import Annotated, Literal

from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.models import option
from diagplan.cli.shared.output import FINE, JsonOption, command
from diagplan.cli.shared.requests import naming_options
from diagplan.cli.shared.training import (
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

__all__ = ["train_model_command"]


@command
def train_model_command(
    clips: Clips,
    tokenizer: Annotated[Path, option(RUN, "The folder of an image tokenizer.")],
    out: Out,
    steps: Annotated[int | None, recipe_option("Optimizer steps.", 4500)] = None,
    batch: Annotated[int | None, recipe_option("Sequences in a step.", 4)] = None,
    context: Annotated[int | None, recipe_option("Frames of a sequence.", 8)] = None,
    hidden: Annotated[int | None, recipe_option("The width of the model.", 256)] = None,
    mlp: Annotated[int | None, recipe_option("The width within a block.", 512)] = None,
    layers: Annotated[int | None, recipe_option("The number of blocks.", 6)] = None,
    heads: Annotated[int | None, recipe_option("Attention heads; twice their number divides the width.", 4)] = None,
    rope: Annotated[
        Literal["1d", "3d"] | None, recipe_option("Rotary positions: by slot, or by frame, row and column.", "3d")
    ] = None,
    learning_rate: Annotated[float | None, recipe_option("The highest learning rate.", 0.001)] = None,
    seed: Annotated[int | None, recipe_option("The seed of the weights and of what is drawn.", 0)] = None,
    bfloat16: Annotated[
        bool | None,
        recipe_option("Compute matrix products in bfloat16, or in float32.", "bfloat16", "--bfloat16/--no-bfloat16"),
    ] = None,
    name: Name = None,
    device: Device = "cpu",
    threads: TrainingThreads = None,
    checkpoint_every: Every = 200,
    as_json: JsonOption = False,
) -> int:
    """Train a world model on recorded clips, and write all that `diagplan generate` needs of it to OUT/world.

    Run again with the same folder and options, it goes on from the last checkpoint, to the identical result.
    """
    require_packages("training", "torch", "safetensors", "av", "diffusers", "matplotlib")
    require_outputs(Output("-o", out))
    require_checkpoints(checkpoint_every)

    use_threads(threads)
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
