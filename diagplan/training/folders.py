"""Train from folders to folders: what ``diagplan train`` and ``diagplan finetune`` do, in one call each.

Every call is resumed by calling it again with the same arguments: it goes on from the last checkpoint in its folder, to
the identical result.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from diagplan.adapters.devices import require_device
from diagplan.adapters.image_tokenizer import load_image_tokenizer
from diagplan.adapters.mc_ar import McArConfig
from diagplan.games.clips import FPS, list_clips
from diagplan.games.game import open_game
from diagplan.games.recorder import read_recording
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Schedule
from diagplan.schemas.world import ActionWords, WorldDocument, read_world_document
from diagplan.training import published
from diagplan.training.finetune import FinetuneRecipe, finetune, training_layout, tuning
from diagplan.training.parallel import Workers, joined
from diagplan.training.runs import last_row
from diagplan.training.sequences import TokenClips, kept_tokens
from diagplan.training.tokenizer import TokenizerRecipe, train_tokenizer
from diagplan.training.world_folder import action_words, read_weights, write_world
from diagplan.training.world_model import Vocabulary, WorldRecipe, train_world_model
from diagplan.worlds import SHIPPED, load_world
from diagplan.worlds.loading import folder_of

__all__ = ["OnProgress", "Trained", "finetune_world", "tokenizer_from_clips", "world_from_clips"]

#: Called with what is being done, how much of it is, of how much, and losses to show.
OnProgress = Callable[[str, int, int, Mapping[str, float]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """What a training has made.

    Attributes:
        folder: where it lies: a tokenizer's folder, or a world model's, which ``load_world`` reads.
        log: the last row of the run's log.csv, such as ``step``, ``seconds``, ``validation_loss``.
        clips: how many it was trained on.
        parameters: of the model; ``None`` for a tokenizer.
    """

    folder: Path
    log: Mapping[str, float]
    clips: int
    parameters: int | None = None


def tokenizer_from_clips(
    clips: str | Path,
    out: str | Path,
    recipe: TokenizerRecipe | None = None,
    *,
    device: str = "cpu",
    checkpoint_every: int = 100,
    on_progress: OnProgress | None = None,
) -> Trained:
    """Train an image tokenizer, 16 x 16 pixels a token, on a recording.

    Args:
        clips: a folder that ``record`` has written.
        out: the run's folder, and the tokenizer's.
        recipe: how; ``None``: the committed one.
        device: ``"cpu"``, ``"cuda"``, ...
        checkpoint_every: steps between two checkpoints, and two rows of the log.
        on_progress: called after every step.

    Raises:
        SpecError: a device that is not there, or frames too small for the recipe.
        DocumentError: clips or a folder that cannot be used.
        MissingExtraError: a package is not installed.
    """
    how = recipe or TokenizerRecipe()
    require_device(device)
    train, validation = list_clips(Path(clips) / "train"), list_clips(Path(clips) / "validation")
    train_tokenizer(
        how, train, validation, out, device=device, checkpoint_every=checkpoint_every,
        on_step=_steps("training", how.all_steps, on_progress),
    )  # fmt: skip
    return Trained(folder=Path(out), log=last_row(out), clips=len(train))


def world_from_clips(
    clips: str | Path,
    tokenizer: str | Path,
    out: str | Path,
    recipe: WorldRecipe | None = None,
    *,
    name: str | None = None,
    device: str = "cpu",
    checkpoint_every: int = 200,
    on_progress: OnProgress | None = None,
) -> Trained:
    """Train a world model on a recording, and write its folder to ``out/world``.

    Args:
        clips: a folder that ``record`` has written.
        tokenizer: the folder of an image tokenizer.
        out: the run's folder.
        recipe: how; ``None``: the committed one.
        name: of the world model; ``None``: the name of ``out``.
        device: ``"cpu"``, ``"cuda"``, ...
        checkpoint_every: steps between two checkpoints.
        on_progress: called after every clip that becomes tokens, and after every step.

    Raises:
        SpecError: a device that is not there, clips shorter than the recipe's context, weights that diverged.
        DocumentError: clips, a tokenizer or a folder that cannot be used.
        MissingExtraError: a package is not installed.
    """
    how = recipe or WorldRecipe()
    require_device(device)
    recording = read_recording(clips)
    codec = load_image_tokenizer(tokenizer, device=device)
    game = open_game(recording["game"], rows=recording["rows"], cols=recording["cols"])
    words = action_words(codec.codes, game.actions)
    rows, cols = game.height // codec.factor, game.width // codec.factor
    config = how.config(rows, cols, codec.codes, codec.codes + 2 + len(words.ids))
    train, validation = (
        kept_tokens(Path(clips) / split, tokenizer, codec, words.ids, out, on_clip=_clips(split, on_progress))
        for split in ("train", "validation")
    )
    model = train_world_model(
        how, config, _vocabulary(words), train, validation, out,
        device=device, checkpoint_every=checkpoint_every, on_step=_steps("training", how.steps, on_progress),
    )  # fmt: skip
    document = WorldDocument(
        version=1,
        name=name or Path(out).resolve().name,
        game=recording["game"],
        rows=rows,
        cols=cols,
        context_frames=how.context,
        fps=FPS,
        map_rows=game.map_rows,
        actions=words,
    )
    return _written(Path(out), config, model.weights(), tokenizer, document, train)


def _trainable(world: str | Path) -> Path:
    """The folder of a world model that can be trained on."""
    folder = folder_of(world)
    if len(str(world)) > 4000 or not all((folder / name).is_file() for name in ("world.json", "config.json")):
        raise SpecError(
            f"expected {', '.join(SHIPPED)} or the folder of a world model to fine-tune, got {str(world)[:200]!r}. "
            "A folder with world.json, config.json and weights will do, as `diagplan train model` writes it; no "
            "release and no exported model."
        )
    return folder


def finetune_world(
    world: str | Path,
    clips: str | Path,
    out: str | Path,
    schedules: Sequence[Schedule] | Callable[[Layout], Sequence[Schedule]],
    *,
    policies: Policies | None = None,
    recipe: FinetuneRecipe | None = None,
    context: int | Literal["paper"] | None = None,
    size: str | None = None,
    name: str | None = None,
    device: str = "cpu",
    checkpoint_every: int = 200,
    on_progress: OnProgress | None = None,
) -> Trained | None:
    """Fine-tune a world model on plans, and write the tuned world's folder to ``out/world``.

    Under torchrun every process calls this; they share every batch, and the first writes.

    Args:
        world: ``"crafter-mini"``, or the folder of a world model.
        clips: a folder that ``record`` has written, of frames as large as the world's.
        out: the run's folder.
        schedules: of the plans; a batch draws one of them. Or what makes them of the training layout.
        policies: of the plans.
        recipe: how; ``None``: the default one.
        context: frames of a training sequence; ``None``: the world's; ``"paper"``: of the paper's 5,376 image tokens.
        size: begin with random weights of this published size instead of the world's weights.
        name: of the tuned world; ``None``: the name of ``out``.
        device: ``"cpu"``, ``"cuda"``, ...
        checkpoint_every: steps between two checkpoints.
        on_progress: called after every clip that becomes tokens, and after every step, by the first process.

    Returns:
        What was made; ``None`` in every process of torchrun but the first.

    Raises:
        SpecError: a device or a size that is not there, plans that do not differ, clips of another size.
        DocumentError: a world, clips or a folder that cannot be used.
        MissingExtraError: a package is not installed.
    """
    how = recipe or FinetuneRecipe()
    require_device(device)
    folder = _trainable(world)
    codec = load_world(str(world), lazy=True).tokenizer
    document = read_world_document(folder / "world.json")
    config, weights = read_weights(folder)
    frames = document.context_frames if context is None else context
    if frames == "paper":
        frames = published.published_context(document.rows, document.cols)
    if size is not None:
        config = published.published_config(size, config, frames)
    layout = training_layout(config, frames)
    timings = schedules(layout) if callable(schedules) else schedules
    plans = [compile_plan(layout, timing, policies or Policies()) for timing in timings]
    with joined(device) as (workers, place):
        shown = on_progress if workers.first else None
        train, validation = (
            _shared_tokens(
                workers, Path(clips) / split, folder / "tokenizer", codec, document, out, _clips(split, shown)
            )
            for split in ("train", "validation")
        )
        tuned = finetune(
            how, config, None if size else weights, plans, _vocabulary(document.actions), train, validation, out,
            device=place, checkpoint_every=checkpoint_every, on_step=_steps("fine-tuning", how.steps, shown),
            workers=workers,
        )  # fmt: skip
    if not workers.first:
        return None
    about: dict[str, Any] = {
        "name": name or Path(out).resolve().name,
        "context_frames": frames if size else document.context_frames,
        "tuned": tuning(f"{size} at random" if size else document.name, how, plans),
    }
    document = WorldDocument(**(dict(document) | about))
    return _written(Path(out), config, tuned.weights(), folder / "tokenizer", document, train)


def _shared_tokens(
    workers: Workers,
    clips: Path,
    tokenizer: Path,
    codec: Any,
    document: WorldDocument,
    out: str | Path,
    on_clip: Callable[[int, int], None],
) -> TokenClips:
    """Tokens of one split, which the first process writes and the others read."""
    if not workers.first:
        workers.wait()
    kept = kept_tokens(clips, tokenizer, codec, document.actions.ids, out, on_clip=on_clip)
    if workers.first:
        workers.wait()
    if kept.frames.shape[2:] != (document.rows, document.cols):
        raise SpecError(
            f"expected clips of {document.rows} x {document.cols} tokens, as {document.name} has, got "
            f"{' x '.join(map(str, kept.frames.shape[2:]))} in {clips}. Record that size."
        )
    return kept


def _vocabulary(words: ActionWords) -> Vocabulary:
    opposites = {words.ids[a]: words.ids[b] for a, b in words.opposites.items()}
    return Vocabulary(begin=words.begin, end=words.end, opposites=opposites)


def _written(
    out: Path,
    config: McArConfig,
    weights: Mapping[str, Tensor],
    tokenizer: str | Path,
    document: WorldDocument,
    train: TokenClips,
) -> Trained:
    records = [path for path in (out / "log.csv", out / "curves.png") if path.is_file()]
    write_world(
        out / "world", config=config, weights=weights, tokenizer=tokenizer, document=document, records=records
    )  # fmt: skip
    parameters = sum(weight.numel() for weight in weights.values())
    return Trained(folder=out / "world", log=last_row(out), clips=len(train.frames), parameters=parameters)


def _steps(what: str, of: int, on_progress: OnProgress | None) -> Callable[[int, Mapping[str, float]], None]:
    def on_step(done: int, losses: Mapping[str, float]) -> None:
        if on_progress is not None:
            on_progress(what, done, of, losses)

    return on_step


def _clips(split: str, on_progress: OnProgress | None) -> Callable[[int, int], None]:
    def on_clip(done: int, of: int) -> None:
        if on_progress is not None:
            on_progress(f"tokenizing {split}", done, of, {})

    return on_clip
