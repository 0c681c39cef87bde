"""Record clips of a game."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from diagplan.cli.shared.files import Output, require_outputs
from diagplan.cli.shared.models import option
from diagplan.cli.shared.output import FINE, JsonOption, command
from diagplan.cli.shared.training import (
    RUN,
    progress,
    say,
    stopped,
)
from diagplan.planner.extras import require_packages

__all__ = ["record_command"]

RECORDING = "Recording"


@command
def record_command(
    out: Annotated[Path, option(RECORDING, "The folder to write; clips that it has are kept.", "-o", "--out")],
    game: Annotated[
        Literal["crafter", "vizdoom"], typer.Option(help="The game to play.", rich_help_panel=RECORDING)
    ] = "crafter",
    rows: Annotated[int, typer.Option(help="Rows of 16 pixels in a frame.", rich_help_panel=RECORDING)] = 9,
    cols: Annotated[int, typer.Option(help="Columns of 16 pixels in a frame.", rich_help_panel=RECORDING)] = 12,
    frames: Annotated[int, typer.Option(help="Frames of each clip.", rich_help_panel=RECORDING)] = 64,
    seed: Annotated[int, typer.Option(help="A number added to every world's seed.", rich_help_panel=RECORDING)] = 0,
    train: Annotated[int, typer.Option(help="Clips to train on.", rich_help_panel=RECORDING)] = 450,
    validation: Annotated[int, typer.Option(help="Clips to watch training by.", rich_help_panel=RECORDING)] = 16,
    test: Annotated[int, typer.Option(help="Clips to judge by.", rich_help_panel=RECORDING)] = 50,
    workers: Annotated[int, typer.Option(help="Processes that record side by side.", rich_help_panel=RUN)] = 2,
    as_json: JsonOption = False,
) -> int:
    """Record clips of a game: videos and the actions played, from disjoint worlds for training and for tests.

    The same options give the same clips. Stopped by Ctrl-C, it leaves whole clips; run again, it adds the missing ones.
    """
    from diagplan.games.recorder import Recording, record

    require_packages("recording", game, "av", "PIL")
    require_outputs(Output("-o", out))
    what = Recording(
        game=game, rows=rows, cols=cols, frames=frames, seed=seed, train=train, validation=validation, test=test
    )
    every = train + validation + test
    had: list[int] = []
    try:
        with progress(as_json) as show:

            def on_clip(done: int) -> None:
                had.append(done)
                show("recording", done, every, {})

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
