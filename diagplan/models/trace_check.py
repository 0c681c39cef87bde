"""Are a trace's tokens those of a model? The rules of its books, and a teacher-forced pass of the model itself."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.options import LoadOptions
from diagplan.adapters.samplers import Greedy, Sample, Sampler
from diagplan.backends.prepared import prepare
from diagplan.backends.teacher_check import TeacherCheck, teacher_check
from diagplan.models.loading import guided_ids, load_model_as
from diagplan.planner.errors import SpecError
from diagplan.planner.plan import Plan
from diagplan.planner.shown import shown
from diagplan.planner.trace import Trace
from diagplan.planner.trace_checker import TraceDiagnostic, TraceVerification
from diagplan.schemas.verify_trace import verify_trace

if TYPE_CHECKING:
    from diagplan.adapters.contract import Model

__all__ = ["MODEL_CODE", "SHORTFALL_CODE", "CheckedTrace", "check_trace_tokens", "check_with_model", "traced_sampler"]

#: The codes beside those of the table of rules: another model, and a token that is not the model's.
MODEL_CODE, SHORTFALL_CODE = "DT602", "DT701"

Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedTrace:
    """A trace checked with its model.

    Args:
        report: breaches of the rules, another model (``DT602``), and tokens that are not the model's (``DT701``).
        tokens: what the teacher-forced pass says; ``None``: the trace holds no tokens that could be fed.
    """

    report: TraceVerification
    tokens: TeacherCheck | None

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.report.ok


def traced_sampler(trace: Trace) -> Sampler:
    """The sampler that a trace names.

    Raises:
        SpecError: another name, or values out of range.
    """
    values = dict(trace.sampler)
    name = values.pop("name", None)
    if name == "greedy":
        return Greedy()
    if name != "sample":
        raise SpecError(f"expected a sampler named greedy or sample, got name={shown(name)}. Trace the replay again.")
    return Sample(**values)


def check_with_model(
    plan: Plan,
    trace: Trace,
    adapter: str,
    weights: str | Path,
    options: LoadOptions,
    *,
    unconditional: Integers | Sequence[Integers] | None = None,
    eps: float | None = None,
    cap: int = 20,
) -> CheckedTrace:
    """``check_trace_tokens`` of a model that is loaded first; arguments as there and of ``load_model_as``."""
    model = load_model_as(adapter, weights, options)
    return check_trace_tokens(plan, trace, model, unconditional=unconditional, eps=eps, cap=cap)


def check_trace_tokens(
    plan: Plan,
    trace: Trace,
    model: "Model",
    *,
    unconditional: Integers | Sequence[Integers] | None = None,
    eps: float | None = None,
    cap: int = 20,
) -> CheckedTrace:
    """Check a trace by every rule, and its tokens by one teacher-forced pass of the model.

    Args:
        plan: the plan.
        trace: of a speculative replay of it.
        model: that was replayed; of another one tokens are checked all the same, and the report says so.
        unconditional: of guidance: as for ``replay``.
        eps: the largest shortfall that counts as a near-tie; by default 1e-3 for float32, 0.5 for bfloat16.
        cap: the largest number of diagnostics kept of one rule; all are counted.

    Raises:
        DiagplanError: a plan that is not valid, or that does not fit the model.
    """
    report = verify_trace(plan, trace, cap=cap)
    checked = _tokens(plan, trace, model, unconditional, eps) if _can_be_fed(plan, trace, report) else None
    more: list[TraceDiagnostic] = []
    counts = dict(report.counts)
    if model.fingerprint() != trace.model:
        counts[MODEL_CODE] = 1
        more.append(
            TraceDiagnostic(
                code=MODEL_CODE,
                sample=None,
                number=None,
                slot=None,
                message=f"expected model={shown(trace.model)}, got fingerprint={shown(model.fingerprint())}.",
                remedy="Load the model as it was replayed: the same weights, dtype and options.",
            )
        )
    if checked is not None and checked.above:
        counts[SHORTFALL_CODE] = len(checked.above)
        more += [
            TraceDiagnostic(
                code=SHORTFALL_CODE,
                sample=one.sample,
                number=None,
                slot=one.slot,
                message=f"expected token={one.best} within {checked.eps:g}, got token={one.token}, which is "
                f"{one.shortfall:.3g} short of it.",
                remedy="What wrote this token read or kept something wrong: replay step by step.",
            )
            for one in checked.above[:cap]
        ]
    return CheckedTrace(report=replace(report, diagnostics=(*report.diagnostics, *more), counts=counts), tokens=checked)


def _can_be_fed(plan: Plan, trace: Trace, report: TraceVerification) -> bool:
    if "DT100" in report.counts:
        return False
    return all((sample.tokens[plan.target[plan.target >= 0]] >= 0).all() for sample in trace.samples)


def _tokens(
    plan: Plan,
    trace: Trace,
    model: "Model",
    unconditional: Integers | Sequence[Integers] | None,
    eps: float | None,
) -> TeacherCheck:
    prepared = prepare(
        plan,
        model,
        sampler=traced_sampler(trace),
        seed=trace.seed,
        batch=len(trace.samples),
        samples=[sample.number for sample in trace.samples],
        guidance=trace.guidance,
        guided_steps=trace.guided_steps,
    )
    tokens = np.stack([sample.tokens for sample in trace.samples])
    given = guided_ids(tokens[:, prepared.given_slots], trace.guidance, unconditional)
    return teacher_check(prepared, given, tokens[:, prepared.cell_slots], eps=eps)
