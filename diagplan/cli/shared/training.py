"""What the commands that train share: their options, progress, the summary."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import TaskID, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from diagplan.cli.shared.models import option
from diagplan.cli.shared.output import INTERRUPTED, console, print_json, print_table, progress_bar
from diagplan.planner.errors import SpecError

if TYPE_CHECKING:
    from diagplan.training.folders import OnProgress, Trained

__all__ = [
    "RECIPE",
    "RUN",
    "Clips",
    "Device",
    "Every",
    "Name",
    "Out",
    "TrainingThreads",
    "given_options",
    "interrupted",
    "progress",
    "recipe_option",
    "require_checkpoints",
    "say",
    "say_trained",
    "stopped",
    "use_threads",
]

RECIPE, RUN = "Recipe", "Run"

Clips = Annotated[Path, option(RUN, "The folder that `diagplan record` has written.", "--clips")]
Out = Annotated[Path, option(RUN, "The run's folder. Give it again to go on where a run has stopped.", "-o", "--out")]
Name = Annotated[str | None, option(RUN, "The name of the world model. Left out: the name of the run's folder.")]
Device = Annotated[str, typer.Option(help="Where to train: cpu, cuda, cuda:1, ...", rich_help_panel=RUN)]
Every = Annotated[
    int, typer.Option(help="Write a checkpoint and a row of the log every so many steps.", rich_help_panel=RUN)
]


TrainingThreads = Annotated[
    int | None,
    option(
        RUN, "CPU threads. Left out: as many as torch takes, or OMP_NUM_THREADS says.", "--threads", min=1, max=1024
    ),
]


def use_threads(threads: int | None) -> None:
    """Set torch's threads, where a number is given."""
    from diagplan.backends.threads import set_threads

    set_threads(threads)


def recipe_option(text: str, default: object, *names: str) -> Any:
    """An option that replaces one number of the recipe, whose own is shown as the default."""
    return typer.Option(*names, help=text, rich_help_panel=RECIPE, show_default=str(default))


def require_checkpoints(every: int) -> None:
    """Raise ``SpecError`` unless there are steps between two checkpoints."""
    if every < 1:
        raise SpecError(f"expected --checkpoint-every to be at least 1, got {every}.")


def given_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were not left out."""
    return {name: value for name, value in options.items() if value is not None}


@contextmanager
def progress(as_json: bool) -> Iterator["OnProgress"]:
    """Bars on a terminal's stderr, one for each kind of work; what is yielded is told how far it is."""
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with progress_bar("{task.description}", "{task.fields[text]}", *times, quiet=as_json) as bars:
        tasks: dict[str, TaskID] = {}

        def show(what: str, done: int, of: int, losses: Mapping[str, float]) -> None:
            text = "".join(f", {name.replace('_', ' ')} {value:.4f}" for name, value in losses.items())
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of, text="")
            bars.update(tasks[what], completed=done, text=text.removeprefix(", "))

        yield show


def interrupted(out: Path, as_json: bool) -> int:
    """Say that a training was stopped, and what is left of it; the exit code."""
    if (out / "checkpoint.pt").is_file():
        return stopped("the last checkpoint stays. Run it again to go on from there.", as_json)
    return stopped("no checkpoint was written yet. Run it again to begin anew.", as_json)


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


def say_trained(trained: "Trained", about: Mapping[str, Any], as_json: bool) -> None:
    """The last row of a training's log, ``about``, and where the result was written."""
    row = {name: int(value) if name == "step" else value for name, value in trained.log.items()}
    say(row, {**about, "clips": trained.clips, "out": str(trained.folder)}, as_json)


def stopped(what: str, as_json: bool) -> int:
    """Say that the user has stopped, and what that leaves; the exit code."""
    message = f"interrupted; {what}"
    if as_json:
        print_json({"ok": False, "error": message})
    else:
        console(stderr=True).print(Text(f"diagplan: {message}"), soft_wrap=True)
    return INTERRUPTED
