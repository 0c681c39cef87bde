"""The commands that make a world model: record a game, train an image tokenizer, train the model."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.progress import TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from diagplan.cli.output import FINE, INTERRUPTED, JsonOption, command, console, print_json, print_table, progress_bar
from diagplan.planner.errors import DocumentError, SpecError

if TYPE_CHECKING:
    from diagplan.training.sequences import TokenClips

__all__ = ["register"]

RECORDING, RECIPE, RUN = "Recording", "Recipe (left out: the committed one)", "Run"


def _option(panel: str, text: str, *names: str, **settings: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=False, **settings)


Clips = Annotated[Path, _option(RUN, "A folder that `diagplan record` has written.", "--clips")]
Out = Annotated[Path, _option(RUN, "The run's folder; give it again to go on where a run has stopped.", "-o", "--out")]
Steps = Annotated[int | None, _option(RECIPE, "Optimizer steps.")]
Batch = Annotated[int | None, _option(RECIPE, "Pictures or sequences a step.")]
Rate = Annotated[float | None, _option(RECIPE, "Highest learning rate.")]
Seed = Annotated[int | None, _option(RECIPE, "Of the weights and of what is drawn.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...", rich_help_panel=RUN)]
Every = Annotated[int, typer.Option(help="Steps between two checkpoints.", rich_help_panel=RUN)]


@command
def record_command(
    out: Annotated[Path, _option(RECORDING, "Folder to write; clips that it has are kept.", "-o", "--out")],
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
        with _progress("recording", "clips", every, as_json) as show:

            def on_clip(done: int) -> None:
                had.append(done)
                show(done)

            record(what, out, workers=workers, on_clip=on_clip)
    except KeyboardInterrupt:
        return _stopped("the clips that are there are whole. Run it again for the missing ones.", as_json)
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
    _say(figures, {"out": str(out)}, as_json)
    return FINE


@command
def tokenizer_command(
    clips: Clips,
    out: Out,
    steps: Steps = None,
    batch: Batch = None,
    whole_steps: Annotated[int | None, _option(RECIPE, "Steps after those, on whole frames.")] = None,
    codes: Annotated[int | None, _option(RECIPE, "Size of the codebook.")] = None,
    learning_rate: Rate = None,
    seed: Seed = None,
    device: Device = "cpu",
    checkpoint_every: Every = 100,
    as_json: JsonOption = False,
) -> int:
    """Train an image tokenizer, diffusers' VQModel with 16 x 16 pixels a token, on recorded clips.

    Run again with the same folder and options, it goes on from the last checkpoint, to the identical result.
    """
    _require_checkpoints(checkpoint_every)
    from diagplan.runtime import require_torch

    require_torch()
    from diagplan.adapters.mc_ar_files import require_device
    from diagplan.games.clips import list_clips
    from diagplan.training.runs import last_row
    from diagplan.training.tokenizer import TokenizerRecipe, train_tokenizer

    given = {
        "steps": steps, "batch": batch, "whole_steps": whole_steps, "codes": codes, "learning_rate": learning_rate,
        "seed": seed,
    }  # fmt: skip
    recipe = TokenizerRecipe(**_given(given))
    require_device(device)
    train, validation = list_clips(clips / "train"), list_clips(clips / "validation")
    try:
        with _progress("training", "steps", recipe.all_steps, as_json) as show:
            train_tokenizer(
                recipe, train, validation, out, device=device, checkpoint_every=checkpoint_every, on_step=show
            )
    except KeyboardInterrupt:
        return _stopped("the last checkpoint stays. Run it again to go on from there.", as_json)
    _say(_rounded(last_row(out)), {"codes": recipe.codes, "clips": len(train), "out": str(out)}, as_json)
    return FINE


@command
def model_command(
    clips: Clips,
    tokenizer: Annotated[Path, _option(RUN, "The folder of an image tokenizer.")],
    out: Out,
    steps: Steps = None,
    batch: Batch = None,
    context: Annotated[int | None, _option(RECIPE, "Frames of a sequence.")] = None,
    hidden: Annotated[int | None, _option(RECIPE, "Width.")] = None,
    mlp: Annotated[int | None, _option(RECIPE, "Width within a block.")] = None,
    layers: Annotated[int | None, _option(RECIPE, "Blocks.")] = None,
    heads: Annotated[int | None, _option(RECIPE, "Attention heads.")] = None,
    rope: Annotated[Literal["1d", "3d"] | None, _option(RECIPE, "Rotary positions: by slot, or by t, h, w.")] = None,
    learning_rate: Rate = None,
    seed: Seed = None,
    bfloat16: Annotated[
        bool | None, _option(RECIPE, "Matrix products in bfloat16, or in float32.", "--bfloat16/--no-bfloat16")
    ] = None,
    name: Annotated[str | None, _option(RUN, "Of the world model; by default the folder's.")] = None,
    device: Device = "cpu",
    checkpoint_every: Every = 200,
    as_json: JsonOption = False,
) -> int:
    """Train a world model on recorded clips, and write all that `diagplan generate` needs of it to OUT/world.

    Run again with the same folder and options, it goes on from the last checkpoint, to the identical result.
    """
    _require_checkpoints(checkpoint_every)
    from diagplan.runtime import require_torch

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
    recipe = WorldRecipe(**_given(given))
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
        train = _tokens(clips / "train", tokenizer, codec, words.ids, out, as_json)
        validation = _tokens(clips / "validation", tokenizer, codec, words.ids, out, as_json)
        with _progress("training", "steps", recipe.steps, as_json) as show:
            model = train_world_model(
                recipe, config, vocabulary, train, validation, out,
                device=device, checkpoint_every=checkpoint_every, on_step=show,
            )  # fmt: skip
    except KeyboardInterrupt:
        return _stopped("the last checkpoint stays. Run it again to go on from there.", as_json)
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
    _say(_rounded(last_row(out)), about, as_json)
    return FINE


def _require_checkpoints(every: int) -> None:
    if every < 1:
        raise SpecError(f"expected --checkpoint-every to be at least 1, got {every}.")


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _tokens(clips: Path, tokenizer: Path, codec: Any, ids: Mapping[str, int], out: Path, as_json: bool) -> "TokenClips":
    """The clips of one split as tokens, from the run's folder where they were written before.

    Raises:
        DocumentError: the run has begun with other tokens.
    """
    from diagplan.adapters.image_tokenizer import tokenizer_files
    from diagplan.games.clips import list_clips
    from diagplan.planner.atomic import make_folder
    from diagplan.training.sequences import read_tokens, tokenize_clips, tokens_key, write_tokens

    paths = list_clips(clips)
    key = tokens_key(paths, tokenizer_files(tokenizer), ids)
    store = out / f"tokens-{clips.name}.npz"
    held = read_tokens(store, key)
    if held is not None:
        return held
    if (out / "checkpoint.pt").is_file():
        raise DocumentError(
            f"expected the clips and the tokenizer that the run in {out} began with, got others in {clips} "
            f"or {tokenizer}. Give another folder, or the same files to go on."
        )
    with _progress(f"tokenizing {clips.name}", "clips", len(paths), as_json) as show:
        made = tokenize_clips(paths, codec, ids, on_clip=show)
    make_folder(out)
    write_tokens(store, made, key)
    return made


@contextmanager
def _progress(what: str, unit: str, total: int, as_json: bool) -> Iterator[Callable[..., None]]:
    """A bar on a terminal's stderr; what is yielded takes the number done, and perhaps losses to show."""
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with progress_bar(what, unit + "{task.fields[said]}", *times, quiet=as_json) as progress:
        task = progress.add_task(what, total=total, said="")

        def show(done: int, said: Mapping[str, float] | None = None) -> None:
            shown = "".join(f", {name.replace('_', ' ')} {value:.4f}" for name, value in (said or {}).items())
            progress.update(task, completed=done, said=shown)

        yield show


def _rounded(row: Mapping[str, float]) -> dict[str, float | int]:
    return {name: int(value) if name == "step" else value for name, value in row.items()}


def _say(figures: Mapping[str, Any], about: Mapping[str, Any], as_json: bool) -> None:
    """A summary; the last of ``about`` is where it was written."""
    everything = {**figures, **about}
    if as_json:
        finite = {name: None if value != value else value for name, value in everything.items()}  # JSON has no NaN
        print_json(finite)
        return
    where = everything.pop("out")
    rows = [(name.replace("_", " "), f"{v:,}" if isinstance(v, int) else v) for name, v in everything.items()]
    print_table(["", ">"], rows)
    console().print(Text(f"wrote {where}"), soft_wrap=True)


def _stopped(what: str, as_json: bool) -> int:
    message = f"interrupted; {what}"
    if as_json:
        print_json({"ok": False, "error": message})
    else:
        console(stderr=True).print(Text(f"diagplan: {message}"), soft_wrap=True)
    return INTERRUPTED


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
