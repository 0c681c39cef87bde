"""Which plans could do: every schedule, delay, width cap and padding worth a look on a layout, each with its time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product

import numpy as np

from diagplan.planner.arguments import require_kind
from diagplan.planner.compiler import compile_plan
from diagplan.planner.cost import CostCurve, PlanCost, plan_cost, speculative_cost
from diagplan.planner.errors import SpecError
from diagplan.planner.formulas import frame_steps
from diagplan.planner.layout import Layout
from diagplan.planner.lowering import cap_width, pad_steps
from diagplan.planner.passes import pass_shapes
from diagplan.planner.plan import Plan
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Diagonal, Imported, NextToken, Schedule, ZipAR
from diagplan.planner.trace import Trace

__all__ = [
    "CAPS",
    "PADS",
    "Accepted",
    "Candidate",
    "Priced",
    "accepted_of",
    "candidate_plan",
    "name_of_schedule",
    "price",
    "schedules_for",
]

#: Width caps that are tried where a plan has wider steps.
CAPS = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
#: Widths to which steps are padded, where few shapes help: powers of two, then as many as a runtime with graphs takes.
PADS: tuple[tuple[int, ...], ...] = ((1, 2, 4, 8, 16, 32, 64, 128, 256), (1, 4, 16, 64, 256))
#: Row delays that are tried where a row is longer.
_DELAYS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_FRAME_PARTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What speculative replay of next-token prediction did on a model, which only runs can tell.

    Args:
        window: the most feeds of a pass.
        mean: feeds that a pass accepted, on average.
        fed: feeds of a pass, on average, where windows are narrower while guesses fail; ``None``: ``window``.
        draft: of first guesses, where a trace tells.
    """

    window: int
    mean: float
    fed: float | None = None
    draft: str | None = None


def accepted_of(trace: Trace) -> Accepted:
    """What a trace's passes fed and accepted on average, without each sample's first, which takes the prompt too.

    Raises:
        SpecError: no trace, or one of less than two passes.
    """
    require_kind("trace", trace, Trace, "Give read_trace(path).")
    later = [(np.diff(one.accepted), (one.end - one.first)[1:]) for one in trace.samples]
    accepted, fed = (np.concatenate(some) for some in zip(*later, strict=True)) if later else (np.zeros(0),) * 2
    if not len(accepted) or accepted.sum() < len(accepted):
        raise SpecError(
            f"expected a trace with passes behind its first that accept something, got {len(accepted)} of them. Give "
            "that of a whole replay."
        )
    return Accepted(
        window=trace.width,
        mean=float(accepted.mean()),
        fed=min(float(fed.mean()), float(trace.width)),
        draft=trace.draft,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A plan that could be compiled, and how it is replayed.

    Args:
        schedule, policies, max_width, pad: as for ``compile_plan``.
        speculation: replay it speculatively; ``None``: step by step.
    """

    schedule: Schedule
    policies: Policies = field(default_factory=Policies)
    max_width: int | None = None
    pad: tuple[int, ...] | None = None
    speculation: Accepted | None = None

    @property
    def name(self) -> str:
        """In one line, the default policies left out.

        >>> Candidate(schedule=Diagonal(k=2, d=10), max_width=16).name
        'k=2 d=10 cap 16'
        """
        words = [name_of_schedule(self.schedule)]
        own, default = asdict(self.policies), asdict(Policies())
        words += [value for name, value in own.items() if value != default[name]]
        if self.max_width is not None:
            words.append(f"cap {self.max_width}")
        if self.pad is not None:
            words.append("padded to " + ",".join(map(str, self.pad)))
        if self.speculation is not None:
            words.append(f"exact, window {self.speculation.window}")
        return " ".join(words)


def name_of_schedule(schedule: Schedule) -> str:
    """A schedule in the words of its options.

    >>> name_of_schedule(ZipAR(window=3))
    'zipar window=3'
    """
    match schedule:
        case NextToken():
            return "next-token"
        case Diagonal():
            return f"k={schedule.k}" if schedule.d is None else f"k={schedule.k} d={schedule.d}"
        case ZipAR():
            return f"{'zipar' if schedule.variant == 'ideal' else 'zipar-llamagen'} window={schedule.window}"
        case Imported():
            return schedule.label


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """A candidate and what it takes."""

    candidate: Candidate
    cost: PlanCost


def schedules_for(layout: Layout) -> list[Schedule]:
    """The schedules that are tried: next-token prediction, row delays, and for several frames frame delays."""
    delays = [k for k in _DELAYS if k < layout.cols]
    schedules: list[Schedule] = [NextToken()]
    for k in delays:
        schedules.append(Diagonal(k=k))
        if layout.frames > 1:
            alone = frame_steps(layout.rows, layout.cols, k)
            parts = {-(-alone * part // _FRAME_PARTS) for part in range(1, _FRAME_PARTS)}
            some = {k, 5 * k, layout.rows * k, 10, *parts}
            schedules += [Diagonal(k=k, d=d) for d in sorted(some) if d < alone]
    return schedules


def candidate_plan(layout: Layout, candidate: Candidate) -> Plan:
    """The plan of a candidate.

    Raises:
        SpecError: as ``compile_plan``.
    """
    return compile_plan(
        layout, candidate.schedule, candidate.policies, max_width=candidate.max_width, pad=candidate.pad
    )


def price(
    layout: Layout,
    curve: CostCurve,
    *,
    policies: Sequence[Policies] = (Policies(),),
    also: Sequence[tuple[Schedule, Policies]] = (),
    accepted: Sequence[Accepted] = (),
    caps: Sequence[int] = CAPS,
    pads: Sequence[tuple[int, ...]] = PADS,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Priced]:
    """Every candidate on a layout with its predicted time.

    Args:
        layout: of the plans.
        curve: of the model.
        policies: that are tried with every schedule.
        also: schedules with policies that are tried besides, such as those that a study has judged.
        accepted: figures of speculative replay; each is a candidate of next-token prediction's tokens.
        caps: width caps; those that are no narrower than a plan are left out.
        pads: sets of widths; tried only where first passes of a shape cost, for padding alone only adds feeds.
        on_progress: called with schedules done and in all.

    Raises:
        SpecError: an argument of another kind, or no schedule that the layout has room for.
    """
    require_kind("layout", layout, Layout, "The layout comes first: price(layout, curve).")
    require_kind("curve", curve, CostCurve, "The curve comes second: price(layout, curve).")
    asked = list(dict.fromkeys([*product(schedules_for(layout), policies), *also]))
    fillings = pads if curve.shape_seconds > 0 or curve.static_widths else ()
    priced: list[Priced] = []
    for number, (schedule, chosen) in enumerate(asked):
        priced += _variants(layout, Candidate(schedule=schedule, policies=chosen), curve, caps, fillings)
        if on_progress is not None:
            on_progress(number + 1, len(asked))
    if not priced:
        raise SpecError("expected a layout on which one of the schedules compiles, got none. Give other policies.")
    base = compile_plan(layout, NextToken(), policies[0]) if accepted else None
    for one in accepted:
        assert base is not None
        cost = speculative_cost(base, curve, window=one.window, accepted=one.mean, fed=one.fed)
        priced.append(
            Priced(candidate=Candidate(schedule=NextToken(), policies=policies[0], speculation=one), cost=cost)
        )
    return priced


def _variants(
    layout: Layout, base: Candidate, curve: CostCurve, caps: Sequence[int], pads: Sequence[tuple[int, ...]]
) -> Iterator[Priced]:
    """A schedule as it is, under width caps, and each of these padded."""
    try:
        whole = compile_plan(layout, base.schedule, base.policies)
    except SpecError:
        return  # no known token can stand in for some cell: there is no such plan
    widest = 0 if isinstance(base.schedule, NextToken) else pass_shapes(whole).widest  # a cap would wait for nothing
    for cap in (None, *(cap for cap in sorted(caps) if cap < widest)):
        plan = whole if cap is None else cap_width(whole, cap)
        named = replace(base, max_width=cap)
        yield Priced(candidate=named, cost=plan_cost(plan, curve))
        for pad in pads:
            yield Priced(candidate=replace(named, pad=pad), cost=plan_cost(pad_steps(plan, pad), curve))
