"""The record of ONNX Runtime."""

from pathlib import Path

from diagplan.adapters.contract import Model, Widths
from diagplan.adapters.options import LoadOptions
from diagplan.backends.errors import MismatchError
from diagplan.backends.memory import Sizes
from diagplan.backends.runtime import NumpyRuntime
from diagplan.backends.table import Backend
from diagplan.planner.errors import DocumentError
from diagplan.schemas.onnx_model import OnnxModelDocument

__all__ = ["BACKEND", "read_exported_model"]


def read_exported_model(family: str | None, folder: str | Path, options: LoadOptions) -> OnnxModelDocument:
    """What an exported model says of itself.

    Args:
        family: that it must be of; ``None``: any.
        folder: that ``diagplan export-onnx`` has written.
        options: how it is to be loaded.

    Raises:
        SpecError: what was chosen when it was exported is chosen again.
        DocumentError: files that are missing or broken.
        MismatchError: one of another family.
    """
    from diagplan.backends.onnx_files import GRAPH, read_about

    options.require_as_exported()
    if not Path(folder).is_dir():
        raise DocumentError(f"expected the folder of an exported model, got {folder}, which is none.")
    document = read_about(Path(folder) / GRAPH, OnnxModelDocument).document
    if family is not None and document.family != family:
        raise MismatchError(
            f"expected an exported model of the adapter {family}, got one of {document.family} in {folder}. "
            "Name its adapter, or give another folder."
        )
    return document


def _load(family: str, weights: str | Path, options: LoadOptions) -> Model:
    from diagplan.backends.onnx_runtime import load_onnx_model

    read_exported_model(family, weights, options)
    return load_onnx_model(weights, device=options.device, threads=options.threads)


def _sizes(family: str, weights: str | Path, options: LoadOptions) -> Sizes:
    document = read_exported_model(family, weights, options)
    return Sizes(
        weights=document.weights_bytes,
        loading=document.weights_bytes,  # what the file holds, and what the session makes of it
        item={"float64": 8, "float32": 4}.get(document.dtype, 2),
        cache_shapes=document.cache_shapes,
        vocab_size=document.vocab_size,
        widths=None if document.widths is None else Widths(**document.widths.model_dump()),
        length_step=NumpyRuntime.length_step,
        scores=True,
    )


def _claims(folder: Path) -> bool:
    from diagplan.backends.onnx_files import GRAPH

    try:
        return (folder / GRAPH).is_file() and not any(folder.glob("*.safetensors"))
    except (OSError, ValueError):  # a name that no folder can have
        return False


BACKEND = Backend(
    name="onnx",
    title="ONNX Runtime, models of `diagplan export-onnx`",
    load=_load,
    sizes=_sizes,
    exported=True,
    packages=("onnx", "onnxruntime"),
    claims=_claims,
)
