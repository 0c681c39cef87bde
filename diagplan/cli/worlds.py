"""The commands that make a world model: record a game, train an image tokenizer, train the model."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from diagplan.cli.models import option
from diagplan.cli.output import FINE, JsonOption, command
from diagplan.cli.training import (
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

__all__ = ["register"]

RECORDING = "Recording"


@command
def record_command(
    out: Annotated[Path, option(RECORDING, "Folder to write; clips that it has are kept.", "-o", "--out")],
    game: Annotated[Literal["crafter", "vizdoom"], typer.Option(help="The game.", rich_help_panel=RECORDING)] = (
        "crafter"
    ),
    rows: Annotated[int, typer.Option(help="Rows of 16 pixels.", rich_help_panel=RECORDING)] = 9,
    cols: Annotated[int, typer.Option(help="Columns of 16 pixels.", rich_help_panel=RECORDING)] = 12,
    frames: Annotated[int, typer.Option(help="Frames of a clip.", rich_help_panel=RECORDING)] = 64,
    seed: Annotated[int, typer.Option(help="Added to every world's seed.", rich_help_panel=RECORDING)] = 0,
    train: Annotated[int, typer.Option(help="Clips to train on.", rich_help_panel=RECORDING)] = 450,
    validation: Annotated[int, typer.Option(help="Clips to watch training by.", rich_help_panel=RECORDING)] = 16,
    test: Annotated[int, typer.Option(help="Clips to judge by.", rich_help_panel=RECORDING)] = 50,
    workers: Annotated[int, typer.Option(help="Processes.", rich_help_panel=RUN)] = 2,
    as_json: JsonOption = False,
) -> int:
    """Record clips of a game: videos and the actions played, from disjoint worlds for training and for tests.

    The same options give the same clips. Stopped by Ctrl-C, it leaves whole clips; run again, it adds the missing ones.
    """
    from diagplan.games.recorder import Recording, record

    what = Recording(
        game=game, rows=rows, cols=cols, frames=frames, seed=seed, train=train, validation=validation, test=test
    )
    every = train + validation + test
    had: list[int] = []
    try:
        with progress("recording", "clips", every, as_json) as show:

            def on_clip(done: int) -> None:
                had.append(done)
                show(done)

            record(what, out, workers=workers, on_clip=on_clip)
    except KeyboardInterrupt:
        return stopped("the clips that are there are whole. Run it again for the missing ones.", as_json)
    size = sum(path.stat().st_size for path in out.glob("*/*"))
    figures = {
        "game": game,
        "clips": every,
        "recorded_now": every - had[0],
        "frames": every * frames,
        "height": 16 * rows,
        "width": 16 * cols,
        "bytes": size,
    }
    say(figures, {"out": str(out)}, as_json)
    return FINE


@command
def tokenizer_command(
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
    from diagplan.adapters.devices import require_torch

    require_torch()
    from diagplan.adapters.devices import require_device
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


@command
def model_command(
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
    from diagplan.adapters.devices import require_torch

    require_torch()
    from diagplan.adapters.devices import require_device
    from diagplan.adapters.image_tokenizer import load_image_tokenizer
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


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("record")(record_command)
    training = typer.Typer(
        name="train",
        help="Train an image tokenizer or a world model on recorded clips.",
        no_args_is_help=True,
        rich_markup_mode="rich",
    )
    training.command("tokenizer")(tokenizer_command)
    training.command("model")(model_command)
    app.add_typer(training)
