"""Exported files, checked before a runtime sees them: whole, of this format, and of standard operators only."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from diagplan.planner.errors import DocumentError, MissingExtraError
from diagplan.schemas.onnx_model import KEY, OnnxModelDocument, read_onnx_metadata

__all__ = ["DATA", "GRAPH", "OPSETS", "Exported", "read_exported", "read_graph"]

#: The files of an exported model.
GRAPH, DATA = "model.onnx", "model.onnx.data"
#: The opsets that have what a step graph needs.
OPSETS = (23, 24)

_LARGEST = 1 << 28  # bytes of a graph without its weights
_AGAIN = "Export it again: diagplan export-onnx."


class Exported(NamedTuple):
    """An exported model's files: the graph, what it says, and a hash of it that covers the weights too."""

    path: Path
    said: OnnxModelDocument
    fingerprint: str


def read_exported(folder: Path) -> Exported:
    """Check a folder of ``diagplan export-onnx``.

    Raises:
        DocumentError: files that are missing, cut off, changed, of another format or opset, or with operators that are
            not ONNX's own.
        MissingExtraError: onnx is not installed.
    """
    path = folder / GRAPH
    if not path.is_file():
        raise DocumentError(f"expected {GRAPH} of an exported model in {folder}, got none. {_AGAIN}")
    graph, digest = read_graph(path, opsets=OPSETS)
    text = next((prop.value for prop in graph.metadata_props if prop.key == KEY), None)
    if text is None:
        raise DocumentError(f"expected a model of diagplan export-onnx in {path}, got one without its metadata.")
    said = read_onnx_metadata(text, path)
    data = folder / DATA
    try:
        size = data.stat().st_size
        if size != said.weights_bytes:
            raise DocumentError(f"expected {said.weights_bytes} bytes of weights in {data}, got {size}. Copy it again.")
        with data.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != said.weights_sha256:
                raise DocumentError(f"expected the weights of {path} in {data}, got others. {_AGAIN}")
    except OSError as error:
        raise DocumentError(f"cannot read the weights {data}: {error.strerror}. {_AGAIN}") from None
    return Exported(path, said, digest[:16])


def read_graph(path: Path, *, opsets: tuple[int, ...]) -> tuple[Any, str]:
    """An ONNX graph without its external data, and the SHA-256 of its file.

    Raises:
        DocumentError: a file that cannot be read, of another opset, with operators that are not ONNX's own, or with
            weights outside the file beside it.
        MissingExtraError: onnx is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise MissingExtraError(
            "expected the package onnx for exported models, got none. Install it: pip install 'diagplan[onnx]'."
        ) from None
    try:
        if path.stat().st_size > _LARGEST:
            raise DocumentError(f"expected a graph of at most {_LARGEST >> 20} MiB in {path}. {_AGAIN}")
        content = path.read_bytes()
        model = onnx.load_model_from_string(content)
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror}. Check the folder.") from None
    except (DecodeError, RuntimeError, ValueError):
        raise DocumentError(f"expected an ONNX graph in {path}, got a file that is none, or is cut off. {_AGAIN}") from None
    found = {entry.domain: entry.version for entry in model.opset_import}
    version = found.get("", found.get("ai.onnx", 0))
    if version not in opsets:
        raise DocumentError(
            f"expected opset {' or '.join(map(str, opsets))} in {path}, got {version or 'none'}. {_AGAIN}"
        )
    foreign = sorted({node.domain for node in _nodes(model.graph)} - {"", "ai.onnx"})
    if foreign or len(model.functions):
        raise DocumentError(
            f"expected operators of the ONNX standard only in {path}, got some of {', '.join(foreign) or 'its own'}. "
            "Graphs with custom operators are not loaded."
        )
    for tensor in model.graph.initializer:
        places = [entry.value for entry in tensor.external_data if entry.key == "location"]
        if any(place != f"{path.name}.data" for place in places):
            raise DocumentError(f"expected weights in {path.name}.data only, got {places[0]!r} in {path}. {_AGAIN}")
    return model, hashlib.sha256(content).hexdigest()


def _nodes(graph: Any) -> Any:
    """The nodes of a graph and of the graphs inside it."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _nodes(inner)
