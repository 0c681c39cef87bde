"""The options that name a model and a runtime, shared by the commands that load one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from diagplan.planner.errors import SpecError

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model

__all__ = [
    "MODEL",
    "AdapterOption",
    "BackendOption",
    "ConfigOption",
    "ContextOption",
    "DeviceOption",
    "DtypeOption",
    "Int8Option",
    "ThreadsOption",
    "load_from_options",
    "option",
    "require_exported_options",
    "set_threads",
]

#: The panel of these options in --help.
MODEL = "Model"


def option(panel: str, text: str, *names: str, **settings: Any) -> Any:
    """A typer option in a panel of --help."""
    return typer.Option(*names, help=text, rich_help_panel=panel, show_default=False, **settings)


AdapterOption = Annotated[
    Literal["mc-ar", "cosmos", "wham"], typer.Option(help="The model family.", rich_help_panel=MODEL)
]
ConfigOption = Annotated[
    str | None,
    option(
        MODEL,
        "The sizes: a released name such as 300M_16f, cosmos-4b or wham-200m, a YAML file or a config.json. "
        "Left out: as the checkpoint or its folder tells them.",
    ),
]
ContextOption = Annotated[
    Path | None, option(MODEL, "The text features that a Cosmos Video2World model reads, .npy or .safetensors.")
]
BackendOption = Annotated[
    Literal["torch", "onnx"], typer.Option(help="What runs the model: PyTorch, or ONNX Runtime.", rich_help_panel=MODEL)
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
    int | None, option(MODEL, "CPU threads of one pass. Left out: as many as the machine has cores.", min=1, max=1024)
]


def set_threads(backend: str, threads: int | None) -> None:
    """Give torch so many threads; ONNX Runtime is told when a model is loaded."""
    if threads is not None and backend == "torch":
        from diagplan.models.loading import require_torch

        require_torch()
        import torch

        torch.set_num_threads(threads)


def load_from_options(
    adapter: str,
    weights: Path,
    *,
    config: str | None,
    context: Path | None = None,
    backend: Literal["torch", "onnx"],
    dtype: Literal["float32", "bfloat16", "float16"],
    device: str,
    int8: bool,
    threads: int | None,
) -> "Model":
    """The model that the options name.

    Raises:
        SpecError: options of one backend given with the other.
        DiagplanError: as ``diagplan.load_model``.
    """
    from diagplan.models.loading import load_model

    require_exported_options(backend, config=config, dtype=dtype, int8=int8)
    set_threads(backend, threads)
    return load_model(
        adapter, weights, backend=backend, config=config, dtype=dtype, device=device, threads=threads,
        quantize="int8" if int8 else None, context=context,
    )  # fmt: skip


def require_exported_options(backend: str, *, config: str | None, dtype: str, int8: bool) -> None:
    """Raise ``SpecError`` where an exported model is given what was chosen when it was exported."""
    given = {"--config": config is not None, "--dtype": dtype != "float32", "--int8": int8}
    wrong = [name for name, is_given in given.items() if is_given]
    if backend == "onnx" and wrong:
        raise SpecError(
            f"expected {wrong[0]} with --backend torch only, got it with --backend onnx. An exported model has its "
            "sizes and dtype already; choose them with export-onnx."
        )
