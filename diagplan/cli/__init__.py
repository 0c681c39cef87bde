"""The command line. Exit codes: 0 fine, 1 problem found, 2 wrong usage, 130 interrupted."""

import io
import sys
from typing import Annotated

import typer

from diagplan.cli.convert import register as register_convert
from diagplan.cli.demo import register as register_demo
from diagplan.cli.finetune import register as register_finetune
from diagplan.cli.generate import register as register_generate
from diagplan.cli.laws import register as register_laws
from diagplan.cli.onnx import register as register_onnx
from diagplan.cli.plans import register as register_plans
from diagplan.cli.run import register as register_run
from diagplan.cli.weights import register as register_weights
from diagplan.cli.worlds import register as register_worlds

__all__ = ["app", "main"]

app = typer.Typer(
    name="diagplan",
    help="Compile, verify and picture decoding plans for autoregressive image and video transformers.",
    epilog="Exit codes: 0 fine, 1 problem found, 2 wrong usage. --json prints one JSON object on every command.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
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


register_generate(app)
register_demo(app)
register_plans(app)
register_run(app)
register_onnx(app)
register_weights(app)
register_convert(app)
register_worlds(app)
register_finetune(app)
register_laws(app)


def main() -> None:
    """Run the command line. What the terminal's encoding lacks is printed escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    app()
