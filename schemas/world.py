"""world.json: what a world model's folder says besides its weights."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from diagplan.planner.errors import DocumentError
from diagplan.planner.layout import Layout
from diagplan.planner.policy import ProxyKV, ProxyPolicy, RowEnd, Visibility
from diagplan.planner.schedule import ScheduleName

__all__ = ["ActionWords", "Tuning", "TuningPlan", "WorldDocument", "read_world_document"]

_Count = Annotated[int, Field(ge=1, le=4096)]
_Id = Annotated[int, Field(ge=0, le=1 << 20)]


class ActionWords(BaseModel):
    """The ids of an action block: begin, one action, end.

    Attributes:
        begin, end: ids around every action.
        ids: action -> id.
        opposites: action -> the action that moves the other way.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    begin: _Id
    end: _Id
    ids: dict[str, _Id] = Field(min_length=1)
    opposites: dict[str, str] = {}

    @model_validator(mode="after")
    def _distinct(self) -> "ActionWords":
        every = [self.begin, self.end, *self.ids.values()]
        if len(set(every)) != len(every):
            raise ValueError("ids must differ from each other")
        if not {*self.opposites, *self.opposites.values()} <= set(self.ids):
            raise ValueError("opposites must be actions")
        return self


class TuningPlan(BaseModel):
    """A plan that a model was fine-tuned on: its schedule by name and delays, and its policies."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    schedule: ScheduleName
    k: Annotated[int, Field(ge=1)] | None = None
    d: Annotated[int, Field(ge=1)] | None = None
    proxy: ProxyPolicy
    row_end: RowEnd
    proxy_kv: ProxyKV
    visibility: Visibility


class Tuning(BaseModel):
    """How a model was fine-tuned on plans.

    Attributes:
        base: the name of the model it began with.
        steps: optimizer steps.
        ntp_share: share of them with next-token masks.
        plans: the masks of the others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    base: str
    steps: Annotated[int, Field(ge=1)]
    ntp_share: Annotated[float, Field(ge=0, le=1)]
    plans: Annotated[tuple[TuningPlan, ...], Field(min_length=1, strict=False)]


class WorldDocument(BaseModel):
    """The file world.json beside a world model's config.json and model.safetensors.

    Attributes:
        name: of the model. game: that it was recorded from.
        rows, cols: tokens of a frame.
        context_frames: frames that the model was trained on at a time.
        fps: of the videos that are written.
        map_rows: rows of tokens, from the top, that show the map; those below (an inventory) do not move.
        actions: how an action becomes tokens.
        tuned: how the model was fine-tuned; ``None`` and left out of the file for one that was not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: Literal[1]
    name: str
    game: str
    rows: _Count
    cols: _Count
    context_frames: Annotated[int, Field(ge=2, le=4096)]
    fps: Annotated[int, Field(ge=1, le=240)]
    map_rows: Annotated[int, Field(ge=3, le=4096)] | None = None
    actions: ActionWords
    tuned: Tuning | None = None

    @model_validator(mode="after")
    def _within(self) -> "WorldDocument":
        if self.map_rows is not None and self.map_rows > self.rows:
            raise ValueError("map_rows must be at most rows")
        return self

    def layout(self) -> Layout:
        """As many frames as the context has room for after one that is given, three tokens of an action between."""
        return Layout(frames=self.context_frames - 1, rows=self.rows, cols=self.cols, prompt_frames=1, between_frames=3)


def read_world_document(path: Path) -> WorldDocument:
    """Read and check a world.json.

    Raises:
        DocumentError: no such file, or another document.
    """
    try:
        if path.stat().st_size > 1 << 20:
            raise DocumentError(f"expected a world.json of at most 1 MiB, got {path}.")
        return WorldDocument.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DocumentError(f"cannot read {path}: {error.strerror}. Is it the folder of a world model?") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the top"
        raise DocumentError(f"expected a world.json, got {path} with {where}: {first['msg']}.") from None
