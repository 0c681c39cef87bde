"""Play a world model in the browser."""

import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from diagplan.cli.shared.extras import require_for
from diagplan.cli.shared.models import (
    MODEL,
    BackendOption,
    DeviceOption,
    DtypeOption,
    Int8Option,
    ThreadsOption,
    load_options,
    option,
    world_option,
)
from diagplan.cli.shared.output import FINE, JsonOption, command, console, print_json, working
from diagplan.cli.shared.requests import sampler_from_options
from diagplan.planner.errors import SpecError
from diagplan.worlds.loading import SHIPPED, folder_of, release_names

__all__ = ["play_command"]

PLAN, SERVER = "Plan", "Server"


@command
def play_command(
    model: Annotated[
        str,
        world_option(
            f"The world: {', '.join(SHIPPED)}; a world model's folder, or what export-onnx wrote of one; or a release: "
            f"{', '.join(release_names())}.",
            releases=True,
        ),
    ] = "crafter-mini",
    weights: Annotated[Path | None, option(MODEL, "Of a release: the checkpoint. Left out: there is none.")] = None,
    tokenizer: Annotated[
        Path | None, option(MODEL, "Of a release: the image tokenizer's folder. Left out: as its checkpoint has it.")
    ] = None,
    config: Annotated[str | None, option(MODEL, "Of a release: its sizes. Left out: as its files tell them.")] = None,
    backend: BackendOption = "torch",
    dtype: DtypeOption = "float32",
    device: DeviceOption = "cpu",
    int8: Int8Option = False,
    threads: ThreadsOption = None,
    start: Annotated[
        Path | None,
        option(PLAN, "A video whose frame is the start, or a folder of videos. Left out: the clip that ships."),
    ] = None,
    at: Annotated[int | None, option(PLAN, "The number of the start's frame. Left out: the first.", min=0)] = None,
    exact: Annotated[
        bool,
        option(
            PLAN,
            "Begin with the tokens of next-token prediction in fewer passes (the default without --k and --plan).",
            "--exact",
        ),
    ] = False,
    k: Annotated[
        str | None, option(PLAN, "Row delays to choose from; the game begins with the first. Left out: 1,2,4.")
    ] = None,
    plans: Annotated[
        list[Path] | None,
        option(
            PLAN,
            "A plan file to choose, several times at will; the game begins with the first. Left out: none.",
            "--plan",
        ),
    ] = None,
    keep: Annotated[
        int | None,
        option(PLAN, "Frames that the window keeps. Left out: as its release, or a quarter of the context.", min=1),
    ] = None,
    temperature: Annotated[float | None, option(PLAN, "Divides the logits; 0 is greedy. Left out: greedy.")] = None,
    top_p: Annotated[
        float | None, option(PLAN, "Keep the most probable tokens up to this probability. Left out: all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed of the sampling.", rich_help_panel=PLAN)] = 0,
    host: Annotated[
        str, typer.Option(help="The address; another than this machine's own needs --token.", rich_help_panel=SERVER)
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="The port; 0: a free one.", min=0, max=65535, rich_help_panel=SERVER)
    ] = 8000,
    token: Annotated[
        str | None, option(SERVER, "What the page must be asked with, 16 letters or more. Left out: nothing.")
    ] = None,
    players: Annotated[
        int, typer.Option(help="Players at a time; more wait.", min=1, max=64, rich_help_panel=SERVER)
    ] = 4,
    fps: Annotated[
        int, typer.Option(help="Frames a second at most, of each player.", min=1, max=60, rich_help_panel=SERVER)
    ] = 15,
    browser: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the page in a browser.", rich_help_panel=SERVER)
    ] = True,
    as_json: JsonOption = False,
) -> int:
    """Play a world model in the browser, with the keys."""
    from diagplan.worlds.loading import open_world

    require_for(
        "playing",
        weights or folder_of(model),
        backend,
        "av",
        "PIL",
        "starlette",
        "uvicorn",
        "websockets",
    )
    from diagplan.play.choices import choices_of
    from diagplan.play.server import Settings
    from diagplan.play.serving import listen, require_token, serve
    from diagplan.play.stage import Stage, start_frames

    require_token(host, token)
    files = plans or []
    choices = choices_of(_delays(k or "1,2,4"), files, exact=exact or (k is None and not files))
    options = load_options(backend=backend, config=config, dtype=dtype, device=device, int8=int8, threads=threads)
    world = open_world(model, options, weights=weights, tokenizer=tokenizer)
    sampler = sampler_from_options(
        temperature=temperature, top_k=None, top_p=top_p, min_p=None, greedy=False, adapter=world.source.adapter
    )
    stage = Stage(
        world=world, choices=choices, first=start_frames(world, model, start, at, seed), keep=keep, sampler=sampler,
        seed=seed,
    )  # fmt: skip
    first = next(iter(choices))
    _ = stage.controls
    with working("laying the plan out", quiet=as_json):
        for name, choice in choices.items():
            if name == first or choice.plan is not None:  # a file that does not fit is refused now
                stage.root(name)
    opened = listen(host, port)
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{opened.getsockname()[1]}/"
    if as_json:
        print_json({"address": address, "model": world.name, "plans": list(choices)})
    else:
        console().print(
            Text(f"playing {world.name} at {address}{'' if token is None else '?token=...'}  (Ctrl-C ends it)")
        )
    if browser and console().is_terminal:
        webbrowser.open(address if token is None else f"{address}?token={token}")
    with suppress(KeyboardInterrupt):  # which is how a server ends
        serve(stage, Settings(plan=first, players=players, fps=fps, token=token), opened)
    return FINE


def _delays(k: str) -> list[int]:
    """The row delays, each once."""
    parts = [part.strip() for part in k.split(",")]
    if not all(part.isascii() and part.isdigit() and 0 < int(part) < 1 << 20 for part in parts):
        raise SpecError(f"expected row delays with commas, such as 1,2,4, got --k {k}. Give whole numbers from 1 on.")
    return list(dict.fromkeys(int(part) for part in parts))
