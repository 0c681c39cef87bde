"""The command line. Exit codes: 0 fine, 1 problem found, 2 wrong usage, 130 interrupted, 141 pipe closed."""

import io
import os
import signal
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["COMMANDS", "app", "main"]

#: Command -> the module whose function ``<module>_command`` it is, and its panel in --help; in the order of --help.
#: A command of two words is one of a group. The modules import nothing heavy: a command's function does.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "image": ("diagplan.cli.image", "Pictures"),
    "generate": ("diagplan.cli.generate", "Videos"),
    "batch": ("diagplan.cli.batch", "Videos"),
    "serve": ("diagplan.cli.serve", "Videos"),
    "demo": ("diagplan.cli.demo", "Videos"),
    "play": ("diagplan.cli.play", "Videos"),
    "compile": ("diagplan.cli.compile", "Plans"),
    "verify": ("diagplan.cli.verify", "Plans"),
    "verify-trace": ("diagplan.cli.verify_trace", "Plans"),
    "show": ("diagplan.cli.show", "Plans"),
    "diff": ("diagplan.cli.diff", "Plans"),
    "graph": ("diagplan.cli.graph", "Plans"),
    "presets": ("diagplan.cli.presets", "Plans"),
    "schema": ("diagplan.cli.schema", "Plans"),
    "run": ("diagplan.cli.run", "Models"),
    "export-onnx": ("diagplan.cli.export_onnx", "Models"),
    "compare": ("diagplan.cli.compare", "Models"),
    "measure": ("diagplan.cli.measure", "Models"),
    "tune": ("diagplan.cli.tune", "Models"),
    "inspect-weights": ("diagplan.cli.inspect_weights", "Models"),
    "convert-weights": ("diagplan.cli.convert_weights", "Models"),
    "steps": ("diagplan.cli.steps", "Step counts"),
    "audit": ("diagplan.cli.audit", "Step counts"),
    "prove": ("diagplan.cli.prove", "Step counts"),
    "record": ("diagplan.cli.record", "World models"),
    "finetune": ("diagplan.cli.finetune", "World models"),
    "train tokenizer": ("diagplan.cli.train_tokenizer", "World models"),
    "train model": ("diagplan.cli.train_model", "World models"),
    "evaluate world": ("diagplan.cli.evaluate_world", "World models"),
    "evaluate study": ("diagplan.cli.evaluate_study", "World models"),
    "evaluate images": ("diagplan.cli.evaluate_images", "Models"),
}
_GROUPS: Mapping[str, str] = {
    "train": "Train an image tokenizer or a world model on recorded clips.",
    "evaluate": "Judge a world model, or decoding plans, on clips or prompts.",
}
_HELP = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="diagplan",
    help="Compile, verify and picture decoding plans for autoregressive image and video transformers.",
    epilog="Exit codes: 0 fine, 1 problem found, 2 wrong usage, 130 interrupted. --json prints one JSON object on "
    "every command.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings=_HELP,
)


def _version(asked: bool) -> None:
    if asked:
        import diagplan

        typer.echo(f"diagplan {diagplan.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Compile, verify and picture decoding plans for autoregressive image and video transformers."""


def _register() -> None:
    groups = {
        name: typer.Typer(no_args_is_help=True, help=text, rich_markup_mode="rich", context_settings=_HELP)
        for name, text in _GROUPS.items()
    }
    for name, (module, panel) in COMMANDS.items():
        function = getattr(import_module(module), f"{module.rpartition('.')[2]}_command")
        group, _, word = name.rpartition(" ")
        if group:
            groups[group].command(word)(function)
        else:
            app.command(word, rich_help_panel=panel)(function)
    for name, group_app in groups.items():
        panels = {panel for command, (_, panel) in COMMANDS.items() if command.startswith(f"{name} ")}
        app.add_typer(group_app, name=name, rich_help_panel=panels.pop())


_register()


def main() -> None:
    """Run the command line. What the terminal's encoding lacks is printed escaped."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by who started the process
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115 - open as long as the process lives
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if hasattr(signal, "SIGPIPE"):  # of --help and what typer prints; a command itself hears of a closed pipe
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    app()
