"""The trace document: what the trace of a speculative replay looks like as JSON, strictly validated (docs/exact.md)."""

from typing import Annotated, Literal

from pydantic import Field

from diagplan.planner.layout import MAX_POSITIONS
from diagplan.schemas.document import Label, OrNone, Positive, Producer, Run, StrictDocument, Version, Whole

__all__ = [
    "GreedyDocument",
    "SampleDocument",
    "SampleTraceDocument",
    "TraceDocument",
    "TracedPassDocument",
]

#: Numbers that key the noise: 63 bits.
_Key = Annotated[int, Field(ge=0, lt=1 << 63)]
_Number = Annotated[float, Field(allow_inf_nan=False)]
_Share = Annotated[float, Field(gt=0, le=1)]
_Pairs = Annotated[list[Run], Field(fail_fast=True)]
#: The most samples of a batch, and weights of guidance.
_SAMPLES, _BRANCHES = 1 << 16, 16


class GreedyDocument(StrictDocument):
    """The id with the largest logit."""

    name: Literal["greedy"]


class SampleDocument(StrictDocument):
    """The fields of ``diagplan.Sample``."""

    name: Literal["sample"]
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    top_k: Positive | None = None
    top_p: _Share | None = None
    crossing: Literal["keep", "drop"] = "keep"
    min_p: _Share | None = None


class TracedPassDocument(StrictDocument):
    """One pass of one sample: entries ``first`` to ``end - 1`` are fed, 0 to ``accepted - 1`` are accepted after it.

    ``guesses`` are the fed ids of sources that were not known, as [slot, id]; ``chosen`` the ids of all fed targets.
    """

    first: Whole
    end: Whole
    guesses: _Pairs
    chosen: _Pairs
    accepted: Whole


class SampleTraceDocument(StrictDocument):
    """One sample: its number, which keys the noise, its passes, and the ids of all slots at the end (-1: none)."""

    number: _Key
    passes: Annotated[list[TracedPassDocument], Field(fail_fast=True)]
    tokens: Annotated[list[OrNone], Field(fail_fast=True, max_length=MAX_POSITIONS)]


class TraceDocument(StrictDocument):
    """The trace of a speculative replay as JSON; ``plan`` is the plan's digest, ``model`` the model's fingerprint."""

    format: Literal["diagplan-trace"]
    version: Version
    producer: Producer
    plan: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    model: Label
    dtype: Label
    sampler: Annotated[GreedyDocument | SampleDocument, Field(discriminator="name")]
    seed: _Key
    guidance: _Number | Annotated[list[_Number], Field(min_length=2, max_length=_BRANCHES)] | None
    guided_steps: Annotated[list[Whole | None], Field(min_length=2, max_length=2)] | None = None
    width: Positive
    narrowest: Positive | None = None
    draft: Label
    draft_passes: Whole = 0
    advance: Literal["own", "slowest"]
    samples: Annotated[list[SampleTraceDocument], Field(min_length=1, max_length=_SAMPLES, fail_fast=True)]
