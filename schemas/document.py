"""The plan document: what a plan looks like as JSON, strictly validated (docs/plan-format.md explains it).

Unknown keys are errors, integers are not floats, strings or booleans, and no number exceeds int32, so that nothing
is allocated on a file's word alone.
"""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from diagplan.planner.layout import MAX_POSITIONS
from diagplan.planner.plan import CacheInitial
from diagplan.planner.policy import ProxyKV, ProxyPolicy, RowEnd, Visibility
from diagplan.planner.schedule import ScheduleName
from diagplan.schemas.limits import MAX_CACHE_SLOTS, MAX_NUMBER, SPARE_CELLS, SPARE_POSITIONS

__all__ = [
    "CacheDocument",
    "LayoutDocument",
    "ListedRow",
    "MaskDocument",
    "NamesDocument",
    "PlanDocument",
    "PolicyNames",
    "Producer",
    "Run",
    "ScheduleNames",
    "StepDocument",
    "StrictDocument",
    "Version",
]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected printable text, got control characters")
    return text


Whole = Annotated[int, Field(ge=0, le=MAX_NUMBER)]
Positive = Annotated[int, Field(ge=1, le=MAX_NUMBER)]
OrNone = Annotated[int, Field(ge=-1, le=MAX_NUMBER)]
Name = Annotated[str, Field(max_length=200)]
Label = Annotated[Name, AfterValidator(_printable)]
Row = Annotated[list[Whole], Field(fail_fast=True)]
Run = Annotated[list[Whole], Field(min_length=2, max_length=2)]


def _whole(value: object) -> object:
    if type(value) is not int:  # True and 1.0 equal 1
        raise ValueError("Input should be the integer 1")
    return value


Version = Annotated[Literal[1], BeforeValidator(_whole)]


class StrictDocument(BaseModel):
    """What every part of a document is: strict, frozen, and without room for unknown keys."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Producer(StrictDocument):
    """The program that wrote the document; not part of the digest."""

    name: Name
    version: Name


class ScheduleNames(StrictDocument):
    """The schedule by name, with the delays asked for and in force, and its passes before a width cap.

    ``order`` is the step of every generated cell in raster order, for the schedule ``imported`` only.
    """

    name: ScheduleName
    steps: Positive
    k: Positive | None = None
    d: Positive | None = None
    k_in_force: Positive | None = None
    d_in_force: Positive | None = None
    label: Label | None = None
    order: Annotated[list[Whole], Field(fail_fast=True)] | None = None


class PolicyNames(StrictDocument):
    """The policies by name that the feeds follow."""

    proxy: ProxyPolicy
    row_end: RowEnd


class NamesDocument(StrictDocument):
    """What people call the plan's parts; not part of the digest. ``version`` fixes what the names mean."""

    version: Version
    schedule: ScheduleNames
    policies: PolicyNames


class LayoutDocument(StrictDocument):
    """The geometry of the sequence (the fields of ``diagplan.Layout``)."""

    frames: Positive
    rows: Positive
    cols: Positive
    prompt_frames: Whole
    lead: Whole
    between_frames: Whole
    between_rows: Whole


class CacheDocument(StrictDocument):
    """The key-value cache: number of slots, what they hold before step 0, and the slot that padding writes to."""

    slots: Annotated[int, Field(ge=1, le=MAX_CACHE_SLOTS)]
    initial: CacheInitial
    trash: Whole | None


class ListedRow(StrictDocument):
    """The mask row of one feed (counted over all steps) that differs from the rule: runs as start, end, start, ..."""

    feed: Whole
    runs: Row


class MaskDocument(StrictDocument):
    """The rule of the mask rows, and the rows that differ from it where the steps carry none."""

    visibility: Visibility
    proxy_kv: ProxyKV
    listed: Annotated[list[ListedRow], Field(fail_fast=True)] | None = None


class StepDocument(StrictDocument):
    """One forward pass: the feeds' columns, all of one length, and their mask rows unless the document says rule."""

    source: Annotated[list[OrNone], Field(fail_fast=True)]
    position: Annotated[list[Whole], Field(fail_fast=True)]
    slot: Annotated[list[Whole], Field(fail_fast=True)]
    target: Annotated[list[OrNone], Field(fail_fast=True)]
    rows: Annotated[list[Row], Field(fail_fast=True)] | None = None

    @model_validator(mode="after")
    def _equal_lengths(self) -> Self:
        lengths = {"position": len(self.position), "slot": len(self.slot), "target": len(self.target)}
        if self.rows is not None:
            lengths["rows"] = len(self.rows)
        for name, length in lengths.items():
            if length != len(self.source):
                raise ValueError(f"expected {len(self.source)} entries as in source, got {length} in {name}")
        return self


class PlanDocument(StrictDocument):
    """A decoding plan as JSON."""

    format: Literal["diagplan-plan"]
    version: Version
    producer: Producer
    names: NamesDocument
    layout: LayoutDocument
    positions: Annotated[int, Field(ge=1, le=MAX_POSITIONS)]
    given: Annotated[list[Run], Field(fail_fast=True)]
    cache: CacheDocument
    masks: MaskDocument
    max_width: Positive | None
    steps: Annotated[list[StepDocument], Field(min_length=1, fail_fast=True)]
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]

    @model_validator(mode="after")
    def _sizes_follow_from_content(self) -> Self:
        feeds = sum(len(step.source) for step in self.steps)
        given = sum(max(0, end - start) for start, end in self.given)
        # Every slot is given or some feed's target; a given slot that no feed carries is of no use to anybody.
        most = 2 * feeds + SPARE_POSITIONS
        if self.positions > most:
            raise ValueError(
                f"expected positions of at most 2 x feeds + {SPARE_POSITIONS} = {most}, got {self.positions}"
            )
        cells = self.layout.frames * self.layout.rows * self.layout.cols
        if cells > 2 * self.positions + SPARE_CELLS:  # the checker judges; this bounds what is allocated for a picture
            raise ValueError(f"expected a layout of about {self.positions} cells, got {cells}")
        if given > self.positions:
            raise ValueError(f"expected at most {self.positions} given slots, got {given}")
        if self.cache.slots > self.positions + feeds + 1:
            raise ValueError(
                f"expected at most positions + feeds + 1 = {self.positions + feeds + 1} cache slots, "
                f"got {self.cache.slots}"
            )
        explicit = [step.rows is not None for step in self.steps]
        if any(explicit) and not all(explicit):
            raise ValueError("expected mask rows in every step or in none, got some")
        if any(explicit) == (self.masks.listed is not None):
            raise ValueError("expected either rows in the steps or masks.listed, got both or neither")
        return self
