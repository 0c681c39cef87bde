"""What exported models say of themselves, in the metadata of their ONNX files."""

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from diagplan.planner.coordinates import AXES
from diagplan.planner.errors import DocumentError
from diagplan.schemas.convert import VERSION

__all__ = [
    "KEY",
    "AllowedIdsDocument",
    "ExportedDocument",
    "GridDocument",
    "OnnxModelDocument",
    "OnnxTokenizerDocument",
    "WidthsDocument",
    "read_onnx_metadata",
]

#: The metadata property that holds the document.
KEY = "diagplan"

_Count = Annotated[int, Field(ge=1, le=1 << 26)]
_Axis = Annotated[str, Field(pattern=f"^({'|'.join(map(re.escape, AXES))})$")]
_From = Annotated[int, Field(ge=0, le=1 << 26)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ExportedDocument(_Part):
    """What every exported file says.

    Attributes:
        version: of this format.
        producer: what wrote it.
        opset: of the graph.
        weights_bytes, weights_sha256: of the file of external data.
    """

    version: Literal[1]
    producer: Annotated[str, Field(max_length=200)]
    opset: _Count
    weights_bytes: Annotated[int, Field(ge=0)]
    weights_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class AllowedIdsDocument(_Part):
    """``diagplan.adapters.contract.AllowedIds``."""

    low: _From
    high: _Count
    rows: tuple[_From, _Count | None] = (0, None)
    cols: tuple[_From, _Count | None] = (0, None)


class GridDocument(_Part):
    """``diagplan.adapters.contract.Grid``."""

    rows: _Count
    cols: _Count
    between_frames: _From


class WidthsDocument(_Part):
    """``diagplan.adapters.contract.Widths``."""

    hidden: _Count
    heads: _Count
    kv_heads: _Count
    head: _Count
    mlp: _Count


class OnnxModelDocument(ExportedDocument):
    """A step graph's.

    Attributes:
        plan_version: of the plan documents that it replays.
        family: the adapter. config: its sizes.
        dtype: of weights, cache and logits. quantize: how the products are taken.
        vocab_size, positions, cache_shapes, vocabulary, grid: as in ``diagplan.adapters.contract.Model``.
        input_vocab_size: ids that may be fed; ``None``: those of ``vocab_size``.
        ragged: whether samples may differ in position, slot and mask: inputs with a leading axis of samples.
        axes: what a position's coordinates count, names of ``diagplan.planner.coordinates.AXES``; ``None``: slots.
        lead_width: of embeddings that may be fed in the place of ids, an input ``lead``; ``None``: there is none.
        widths: of a layer, for estimates of memory; ``None``: the model does not say.
        source: fingerprint of the model that was exported.
        companions: SHA-256 of the files that were written with it: those of the image tokenizer, world.json.
    """

    kind: Literal["step"] = "step"
    plan_version: int = VERSION
    family: Annotated[str, Field(min_length=1, max_length=100)]
    config: dict[str, Any]
    dtype: Literal["float64", "float32", "float16", "bfloat16"]
    quantize: Literal["int8"] | None = None
    vocab_size: _Count
    input_vocab_size: _Count | None = None
    positions: _Count
    cache_shapes: Annotated[tuple[tuple[_Count, _Count], ...], Field(min_length=1, max_length=4096)]
    vocabulary: Annotated[tuple[AllowedIdsDocument, ...], Field(min_length=1, max_length=1000)]
    grid: GridDocument | None = None
    ragged: bool = False
    axes: Annotated[tuple[_Axis, ...], Field(min_length=1, max_length=8)] | None = None
    lead_width: _Count | None = None
    widths: WidthsDocument | None = None
    source: Annotated[str, Field(max_length=200)]
    companions: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]] = {}

    @model_validator(mode="after")
    def _fits(self) -> "OnnxModelDocument":
        if self.plan_version != VERSION:
            raise ValueError(f"plan documents are of version {VERSION}")
        if any(not rule.low < rule.high <= self.vocab_size for rule in self.vocabulary):
            raise ValueError("allowed ids must be ranges within the vocabulary")
        return self


class OnnxTokenizerDocument(ExportedDocument):
    """One half of an image tokenizer's.

    Attributes:
        kind: ``"encoder"``: frames uint8 [T, height, width, 3] to tokens int64 [T, rows, cols]; ``"decoder"``: back.
        codes: entries of the codebook.
        factor: pixels of a token's side.
        rows, cols: of a frame's tokens.
    """

    kind: Literal["encoder", "decoder"]
    codes: _Count
    factor: _Count
    rows: _Count
    cols: _Count


_Document = TypeVar("_Document", bound=ExportedDocument)


def read_onnx_metadata(kind: type[_Document], text: str, where: object) -> _Document:
    """Check the document of an exported file.

    Raises:
        DocumentError: another document.
    """
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "the top"
        raise DocumentError(
            f"expected the metadata of an exported model in {where}, got {at}: {first['msg']}. "
            "Export it again: diagplan export-onnx."
        ) from None
