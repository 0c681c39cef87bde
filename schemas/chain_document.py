"""The chain document: plans of one sequence and what is kept between them (docs/plan-format.md explains it)."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from diagplan.planner.chain import MAX_PLANS
from diagplan.schemas.document import PlanDocument, Producer, Run, StrictDocument, Version

__all__ = ["ChainDocument"]


class ChainDocument(StrictDocument):
    """A chain of decoding plans as JSON; ``kept`` has for each plan the runs of positions that step 0 need not feed."""

    format: Literal["diagplan-chain"]
    version: Version
    producer: Producer
    kept: Annotated[list[Annotated[list[Run], Field(fail_fast=True)]], Field(fail_fast=True, max_length=MAX_PLANS)]
    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    plans: Annotated[list[PlanDocument], Field(min_length=2, max_length=MAX_PLANS, fail_fast=True)]

    @model_validator(mode="after")
    def _one_list_for_each_plan(self) -> Self:
        if len(self.kept) != len(self.plans):
            raise ValueError(f"expected runs kept for each of {len(self.plans)} plans, got {len(self.kept)}")
        return self
