"""Train a world model on recorded clips."""

from pathlib import Path
from typing import Annotated, Literal

from diagplan.cli.shared.models import option
from diagplan.cli.shared.output import FINE, JsonOption, command
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
    progress,
    require_checkpoints,
    rounded,
    say,
    stopped,
    tokens_of,
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
    from diagplan.adapters.image_tokenizer import load_image_tokenizer
    from diagplan.adapters.mc_ar_files import require_device
    from diagplan.games.clips import FPS
    from diagplan.games.game import open_game
    from diagplan.games.recorder import read_recording
    from diagplan.schemas.world import WorldDocument
    from diagplan.training.runs import last_row
    from diagplan.training.world_folder import action_words, write_world
    from diagplan.training.world_model import Vocabulary, WorldRecipe, train_world_model

    given = {
        "steps": steps, "batch": batch, "context": context, "hidden": hidden, "mlp": mlp, "layers": layers,
        "heads": heads, "rope": rope, "learning_rate": learning_rate, "seed": seed, "bfloat16": bfloat16,
    }  # fmt: skip
    recipe = WorldRecipe(**given_options(given))
    require_device(device)
    recording = read_recording(clips)
    codec = load_image_tokenizer(tokenizer, device=device)
    game = open_game(recording["game"], rows=recording["rows"], cols=recording["cols"])
    words = action_words(codec.codes, game.actions)
    rows, cols = game.height // codec.factor, game.width // codec.factor
    config = recipe.config(rows, cols, codec.codes, codec.codes + 2 + len(words.ids))
    opposites = {words.ids[a]: words.ids[b] for a, b in words.opposites.items()}
    vocabulary = Vocabulary(begin=words.begin, end=words.end, opposites=opposites)
    try:
        train = tokens_of(clips / "train", tokenizer, codec, words.ids, out, as_json)
        validation = tokens_of(clips / "validation", tokenizer, codec, words.ids, out, as_json)
        with progress("training", "steps", recipe.steps, as_json) as show:
            model = train_world_model(
                recipe, config, vocabulary, train, validation, out,
                device=device, checkpoint_every=checkpoint_every, on_step=show,
            )  # fmt: skip
    except KeyboardInterrupt:
        return stopped("the last checkpoint stays. Run it again to go on from there.", as_json)
    document = WorldDocument(
        version=1,
        name=name or out.resolve().name,
        game=recording["game"],
        rows=rows,
        cols=cols,
        context_frames=recipe.context,
        fps=FPS,
        map_rows=game.map_rows,
        actions=words,
    )
    write_world(
        out / "world",
        config=config,
        weights=model.weights(),
        tokenizer=tokenizer,
        document=document,
        records=[path for path in (out / "log.csv", out / "curves.png") if path.is_file()],
    )
    parameters = sum(weight.numel() for weight in model.weights().values())
    about = {"parameters": parameters, "clips": len(train.frames), "out": str(out / "world")}
    say(rounded(last_row(out)), about, as_json)
    return FINE
