"""The options that name a model and a runtime, shared by the commands that load one."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from diagplan.adapters.families import FAMILIES
from diagplan.adapters.options import LoadOptions
from diagplan.backends.table import BACKENDS
from diagplan.worlds.loading import SHIPPED, release_names

__all__ = [
    "MODEL",
    "AdapterOption",
    "BackendOption",
    "ConfigOption",
    "ContextOption",
    "DeviceOption",
    "DtypeOption",
    "Int8Option",
    "ReleaseConfigOption",
    "ReleaseTokenizerOption",
    "ReleaseWeightsOption",
    "ThreadsOption",
    "for_families",
    "load_options",
    "option",
    "world_option",
]

#: The panel of these options in --help.
MODEL = "Model"


def option(panel: str, text: str, *names: str, **settings: Any) -> Any:
    """A typer option in a panel of --help."""
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=False, **settings)


def for_families(name: str, text: str) -> str:
    """The help of an option of `diagplan generate`, with what single families take instead, by their records."""
    notes = [f"{family.name} {family.notes[name]}" for family in FAMILIES.records() if name in family.notes]
    return f"{text} For {'; for '.join(notes)}." if notes else text


def world_option(text: str, *, releases: bool = False, panel: str | None = MODEL) -> Any:
    """The option that names a world model; completion knows those that ship, and releases where they are taken.

    Args:
        text: its help.
        releases: whether a release with files of one's own will do.
        panel: of --help.
    """
    names = [*SHIPPED, *(release_names() if releases else ())]
    return typer.Option(help=text, rich_help_panel=panel, autocompletion=lambda: names)


AdapterOption = Annotated[
    str,
    typer.Option(
        help=f"The model family: {', '.join(FAMILIES.names())}.",
        rich_help_panel=MODEL,
        autocompletion=lambda: list(FAMILIES.names()),
    ),
]
ConfigOption = Annotated[
    str | None,
    option(
        MODEL,
        "The sizes: a released name such as 300M_16f, cosmos-4b or wham-200m, or a file: YAML or JSON. "
        "Left out: as the checkpoint or its folder tells them.",
    ),
]
ReleaseWeightsOption = Annotated[Path | None, option(MODEL, "Of a release: the checkpoint.")]
ReleaseTokenizerOption = Annotated[
    Path | None, option(MODEL, "Of a release: the image tokenizer's folder; WHAM's is in its checkpoint.")
]
ReleaseConfigOption = Annotated[
    str | None, option(MODEL, for_families("config", "Of a release: its sizes. Left out: as its files tell them."))
]
ContextOption = Annotated[
    Path | None, option(MODEL, "The text features that a Cosmos Video2World model reads, .npy or .safetensors.")
]
BackendOption = Annotated[
    str,
    typer.Option(
        help=f"What runs the model: {', '.join(BACKENDS.names())}; torch is PyTorch, onnx is ONNX Runtime.",
        rich_help_panel=MODEL,
        autocompletion=lambda: list(BACKENDS.names()),
    ),
]
DtypeOption = Annotated[
    Literal["float32", "bfloat16", "float16"],
    typer.Option(help="How weights and cache are held.", rich_help_panel=MODEL),
]
DeviceOption = Annotated[str, typer.Option(help="Where the model runs: cpu, cuda, cuda:1, ...", rich_help_panel=MODEL)]
Int8Option = Annotated[
    bool, option(MODEL, "Compute int8 products, in float32 on an x86 CPU: faster, less exact.", "--int8")
]
ThreadsOption = Annotated[
    int | None,
    option(
        MODEL,
        "CPU threads of one pass. Left out: one for a small model, else what a few timed passes say; OMP_NUM_THREADS, "
        "where it is set, holds.",
        min=1,
        max=1024,
    ),
]


def load_options(*, int8: bool = False, threads: int | None = None, **options: Any) -> LoadOptions:
    """The load options of a command's own: ``--int8`` is ``quantize``, no ``--threads`` is ``"auto"``.

    Raises:
        SpecError: as ``LoadOptions``.
    """
    return LoadOptions(quantize="int8" if int8 else None, threads="auto" if threads is None else threads, **options)
