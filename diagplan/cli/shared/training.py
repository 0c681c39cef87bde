"""What the commands that train share: their options, tokens kept beside a run, progress, the summary."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from diagplan.cli.shared.models import option
from diagplan.cli.shared.output import INTERRUPTED, console, print_json, print_table, progress_bar
from diagplan.planner.errors import DocumentError, SpecError

if TYPE_CHECKING:
    from diagplan.training.sequences import TokenClips

__all__ = [
    "RECIPE",
    "RUN",
    "Batch",
    "Clips",
    "Device",
    "Every",
    "Out",
    "Rate",
    "Seed",
    "Steps",
    "given_options",
    "progress",
    "require_checkpoints",
    "rounded",
    "say",
    "stopped",
    "tokens_of",
]

RECIPE, RUN = "Recipe (left out: the committed one)", "Run"

Clips = Annotated[Path, option(RUN, "A folder that `diagplan record` has written.", "--clips")]
Out = Annotated[Path, option(RUN, "The run's folder; give it again to go on where a run has stopped.", "-o", "--out")]
Steps = Annotated[int | None, option(RECIPE, "Optimizer steps.")]
Batch = Annotated[int | None, option(RECIPE, "Pictures or sequences a step.")]
Rate = Annotated[float | None, option(RECIPE, "Highest learning rate.")]
Seed = Annotated[int | None, option(RECIPE, "Of the weights and of what is drawn.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ...", rich_help_panel=RUN)]
Every = Annotated[int, typer.Option(help="Steps between two checkpoints.", rich_help_panel=RUN)]


def require_checkpoints(every: int) -> None:
    """Raise ``SpecError`` unless there are steps between two checkpoints."""
    if every < 1:
        raise SpecError(f"expected --checkpoint-every to be at least 1, got {every}.")


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were not left out."""
    return {name: value for name, value in options.items() if value is not None}


def tokens_of(
    clips: Path, tokenizer: Path, codec: Any, ids: Mapping[str, int], out: Path, as_json: bool
) -> "TokenClips":
    """The clips of one split as tokens, from the run's folder where they were written before.

    Raises:
        DocumentError: the run has begun with other tokens.
    """
    from diagplan.adapters.image_tokenizer import tokenizer_files
    from diagplan.games.clips import list_clips
    from diagplan.schemas.atomic import make_folder
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
    with progress(f"tokenizing {clips.name}", "clips", len(paths), as_json) as show:
        made = tokenize_clips(paths, codec, ids, on_clip=show)
    make_folder(out)
    write_tokens(store, made, key)
    return made


@contextmanager
def progress(what: str, unit: str, total: int, as_json: bool) -> Iterator[Callable[..., None]]:
    """A bar on a terminal's stderr; what is yielded takes the number done, and perhaps losses to show."""
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with progress_bar(what, unit + "{task.fields[said]}", *times, quiet=as_json) as progress:
        task = progress.add_task(what, total=total, said="")

        def show(done: int, said: Mapping[str, float] | None = None) -> None:
            shown = "".join(f", {name.replace('_', ' ')} {value:.4f}" for name, value in (said or {}).items())
            progress.update(task, completed=done, said=shown)

        yield show


def rounded(row: Mapping[str, float]) -> dict[str, float | int]:
    """A row of a log with its step as a whole number."""
    return {name: int(value) if name == "step" else value for name, value in row.items()}


def say(figures: Mapping[str, Any], about: Mapping[str, Any], as_json: bool) -> None:
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


def stopped(what: str, as_json: bool) -> int:
    """Say that the user has stopped, and what that leaves; the exit code."""
    message = f"interrupted; {what}"
    if as_json:
        print_json({"ok": False, "error": message})
    else:
        console(stderr=True).print(Text(f"diagplan: {message}"), soft_wrap=True)
    return INTERRUPTED
