"""What an exported model says of itself, in the metadata of its ONNX file."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from diagplan.planner.errors import DocumentError
from diagplan.schemas.convert import VERSION

__all__ = ["KEY", "AllowedIdsDocument", "LayoutFamily", "OnnxModelDocument", "read_onnx_metadata"]

#: The metadata property that holds the document.
KEY = "diagplan"

_Count = Annotated[int, Field(ge=1, le=1 << 26)]
_From = Annotated[int, Field(ge=0, le=1 << 26)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class AllowedIdsDocument(_Part):
    """``diagplan.adapters.contract.AllowedIds``."""

    low: _From
    high: _Count
    rows: tuple[_From, _Count | None] = (0, None)
    cols: tuple[_From, _Count | None] = (0, None)


class LayoutFamily(_Part):
    """The grid that a model's positions are made for."""

    rows: _Count
    cols: _Count
    between_frames: _From


class OnnxModelDocument(_Part):
    """The document.

    Attributes:
        version: of this format. plan_version: of the plan documents that it replays.
        producer: what wrote it.
        family: the adapter. config: its sizes.
        dtype: of weights, cache and logits. quantize: how the products are taken.
        vocab_size, positions, cache_shapes, vocabulary: as in ``diagplan.adapters.contract.Model``.
        layout: the grid, where positions depend on it.
        weights: bytes and SHA-256 of the file of external data.
        source: fingerprint of the model that was exported.
    """

    version: Literal[1]
    plan_version: Literal[1] = VERSION
    producer: Annotated[str, Field(max_length=200)]
    family: Annotated[str, Field(min_length=1, max_length=100)]
    config: dict[str, Any]
    dtype: Literal["float64", "float32", "float16", "bfloat16"]
    quantize: Literal["int8"] | None = None
    vocab_size: _Count
    positions: _Count
    cache_shapes: Annotated[tuple[tuple[_Count, _Count], ...], Field(min_length=1, max_length=4096)]
    vocabulary: Annotated[tuple[AllowedIdsDocument, ...], Field(min_length=1, max_length=1000)]
    layout: LayoutFamily | None = None
    weights_bytes: Annotated[int, Field(ge=1)]
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    source: Annotated[str, Field(max_length=200)]


def read_onnx_metadata(text: str, where: object) -> OnnxModelDocument:
    """Check the document of an exported model.

    Raises:
        DocumentError: another document.
    """
    try:
        return OnnxModelDocument.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "the top"
        raise DocumentError(
            f"expected the metadata of an exported model in {where}, got {at}: {first['msg']}. "
            "Export it again: diagplan export-onnx."
        ) from None
