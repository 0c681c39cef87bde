"""Exported files: written whole; checked before a runtime sees them: of this format, of standard operators only."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from diagplan.backends.onnx_operators import foreign_operators, require_operators
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.planner.extras import missing_packages
from diagplan.schemas.atomic import move_into_place, no_empty_folder
from diagplan.schemas.files import producer_version
from diagplan.schemas.onnx_model import KEY, ExportedDocument, read_onnx_metadata
from diagplan.schemas.temporaries import temporary_folder

__all__ = ["GRAPH", "OPSETS", "Exported", "read_about", "read_exported", "save_exported", "written_whole"]

#: The step graph's file.
GRAPH = "model.onnx"
#: The opsets that have what a step graph needs: Attention.
OPSETS = (23, 24)

_LARGEST = 1 << 28  # bytes of a graph without its weights
_AGAIN = "Export it again: diagplan export-onnx."

_Document = TypeVar("_Document", bound=ExportedDocument)


class Exported(NamedTuple, Generic[_Document]):
    """A checked file: where it is, what it says, and a hash that covers graph and weights."""

    path: Path
    document: _Document
    fingerprint: str


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """A new folder inside ``folder``, whose files are moved up at the end; on an error nothing is left of them.

    Raises:
        DocumentError: the folder cannot be made or written.
    """
    try:
        with no_empty_folder(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with temporary_folder(folder) as temporary:
                yield temporary
                for path in sorted(temporary.rglob("*"), reverse=True):  # weights first: the graph says what they are
                    if path.is_file():
                        target = folder / path.relative_to(temporary)
                        target.parent.mkdir(parents=True, exist_ok=True)
                        move_into_place(path, target)
    except OSError as error:
        raise DocumentError(
            f"expected to write an exported model to {folder}, got: {error.strerror or error}. "
            "Give another folder, or make room on the disk."
        ) from None


def save_exported(program: Any, path: Path, kind: type[_Document], about: Mapping[str, Any]) -> _Document:
    """Write a traced graph and its weights beside it, with metadata.

    Args:
        program: an ``onnx_ir.Model``.
        path: of the graph; the weights are named like it, with ``.data`` at the end.
        kind: of document.
        about: what the document says besides opset, producer and weights.

    Raises:
        OSError: the files cannot be written.
        DocumentError: weights that are not finite.
        SpecError: an operator that would not be loaded again.
    """
    import onnx
    import onnx_ir as ir

    _forget_the_tracer(program)
    _require_finite(program)
    data = path.with_name(f"{path.name}.data")
    ir.save(program, path, external_data=data.name)
    if not data.exists():
        data.touch()
    with data.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    document = kind.model_validate(
        {
            **about,
            "version": 1,
            "producer": f"diagplan {producer_version()}",
            "opset": program.opset_imports[""],
            "weights_bytes": data.stat().st_size,
            "weights_sha256": digest,
        }
    )
    written = onnx.load(path, load_external_data=False)
    foreign = foreign_operators(written)
    if foreign:
        raise SpecError(
            f"expected a forward that torch exports to the operators of docs/onnx.md, got {', '.join(foreign)[:200]}. "
            "Nothing else is loaded. Write it with other operations."
        )
    onnx.helper.set_model_props(written, {KEY: document.model_dump_json()})
    onnx.save(written, path)
    onnx.checker.check_model(path)
    return document


def _require_finite(program: Any) -> None:
    for value in program.graph.initializers.values():
        tensor = value.const_value
        # A single value may well be infinite: what a mask adds.
        if tensor is None or tensor.size == 1 or not tensor.dtype.is_floating_point():
            continue
        if not np.isfinite(tensor.numpy()).all():
            raise DocumentError("expected finite weights, got NaN or infinite ones. Get another copy of the model.")


def _forget_the_tracer(program: Any) -> None:
    """Drop the tracer's notes on every node, which hold paths of this machine."""
    for holder in (program, program.graph, *program.graph, *program.graph.inputs, *program.graph.outputs):
        holder.metadata_props.clear()
        holder.doc_string = None
    for node in program.graph:
        for value in node.outputs:
            value.metadata_props.clear()


def read_exported(path: Path, kind: type[_Document]) -> Exported[_Document]:
    """Check a file of ``diagplan export-onnx`` and its weights.

    Raises:
        DocumentError: files that are missing, cut off, changed, of another format or opset, or with operators that are
            none of ``onnx_operators.OPERATORS``.
        MissingExtraError: onnx is not installed.
    """
    exported = read_about(path, kind)
    data = path.with_name(f"{path.name}.data")
    try:
        with data.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != exported.document.weights_sha256:
                raise DocumentError(f"expected the weights of {path} in {data}, got others. {_AGAIN}")
    except OSError as error:
        raise DocumentError(f"cannot read the weights {data}: {error.strerror}. {_AGAIN}") from None
    return exported


def read_about(path: Path, kind: type[_Document]) -> Exported[_Document]:
    """The same without reading the weights: of those only their size is checked."""
    if not path.is_file():
        raise DocumentError(f"expected {path.name} of an exported model in {path.parent}, got none. {_AGAIN}")
    graph, digest = _read_graph(path)
    text = next((prop.value for prop in graph.metadata_props if prop.key == KEY), None)
    if text is None:
        raise DocumentError(f"expected a model of diagplan export-onnx in {path}, got one without its metadata.")
    document = read_onnx_metadata(kind, text, path)
    if document.opset != _opset(graph):
        raise DocumentError(
            f"expected opset {document.opset} in {path}, as its metadata say, got {_opset(graph)}. {_AGAIN}"
        )
    data = path.with_name(f"{path.name}.data")
    try:
        size = data.stat().st_size
        if size != document.weights_bytes:
            raise DocumentError(
                f"expected {document.weights_bytes} bytes of weights in {data}, got {size}. Copy it again."
            )
    except OSError as error:
        raise DocumentError(f"cannot read the weights {data}: {error.strerror}. {_AGAIN}") from None
    return Exported(path, document, digest[:16])


def _read_graph(path: Path) -> tuple[Any, str]:
    """A graph without its weights, and the SHA-256 of its file."""
    try:
        import onnx

        decode_error = import_module("google.protobuf.message").DecodeError
    except ImportError:
        raise missing_packages("exported models", ["onnx"]) from None
    try:
        if path.stat().st_size > _LARGEST:
            raise DocumentError(f"expected a graph of at most {_LARGEST >> 20} MiB in {path}. {_AGAIN}")
        content = path.read_bytes()
        model = onnx.load_model_from_string(content)
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror}. Check the folder.") from None
    except (decode_error, RuntimeError, ValueError):
        raise DocumentError(
            f"expected an ONNX graph in {path}, got a file that is none, or is cut off. {_AGAIN}"
        ) from None
    if _opset(model) not in OPSETS:
        raise DocumentError(
            f"expected opset {' or '.join(map(str, OPSETS))} in {path}, got {_opset(model) or 'none'}. {_AGAIN}"
        )
    require_operators(model, path)
    return model, hashlib.sha256(content).hexdigest()


def _opset(model: Any) -> int:
    """The version of ONNX's own operators; 0 if there is none."""
    return {entry.domain: int(entry.version) for entry in model.opset_import}.get("", 0)
