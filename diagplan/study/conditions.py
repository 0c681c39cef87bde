"""The conditions of the study: schedules and speculations for every model, and policies crossed at k = 2."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product

from diagplan.backends.measured import SpeculationChoice
from diagplan.planner.errors import SpecError
from diagplan.planner.formulas import frame_steps
from diagplan.planner.policy import BUNDLES, Policies, ProxyKV, ProxyPolicy, RowEnd, Visibility
from diagplan.planner.schedule import Diagonal, NextToken, Schedule, ZipAR
from diagplan.planner.speculation import Speculation

__all__ = [
    "BASE",
    "CROSSED_K",
    "Condition",
    "all_conditions",
    "exact_condition",
    "is_exact",
    "name_of_policies",
    "named_speculation",
    "require_labels",
    "select",
    "speculations_of",
    "usual_speculations",
]

#: The model that is studied, among the labels of fine-tuned ones.
BASE = "base"
_POLICIES = "policies"
_EXACT = "exact"
_USUAL_DRAFT = "previous-frame"
#: The row delay at which policies are crossed.
CROSSED_K = 2

_PROXIES: tuple[ProxyPolicy, ...] = ("above", "latest", "prompt", "previous-frame", "above-predecessor")
_ROW_ENDS: tuple[RowEnd, ...] = ("keep", "refresh")
_PROXY_KVS: tuple[ProxyKV, ...] = ("visible", "hidden")
_VISIBILITIES: tuple[Visibility, ...] = ("written", "causal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One model under one plan.

    Attributes:
        group: a model's label, or ``"policies"``.
        name: of the plan, unique in the group.
        model: the label of the model.
        schedule, policies: of the plan.
        speculation: how it is replayed; ``None``: step by step.
    """

    group: str
    name: str
    model: str
    schedule: Schedule
    policies: Policies
    speculation: SpeculationChoice | None = None

    @property
    def id(self) -> str:
        """What ``--only`` and files call it."""
        return f"{self.group}/{self.name}"


def require_labels(labels: Sequence[str]) -> None:
    """Raise ``SpecError`` unless labels of fine-tuned models can be parts of file names and differ."""
    for label in labels:
        plain = label.isascii() and label.replace("-", "").replace("_", "").replace(".", "").isalnum()
        if not plain or label.startswith((".", "-")) or label in (BASE, _POLICIES) or len(label) > 60:
            raise SpecError(
                f"expected a label of letters, digits, '-', '_' and '.', other than {BASE} and {_POLICIES}, "
                f"got {label[:80]!r}."
            )
    if len(set(labels)) < len(labels):
        raise SpecError(f"expected different labels, got {', '.join(sorted(labels))}.")


def all_conditions(
    rows: int, cols: int, labels: Sequence[str] = (), speculations: Sequence[SpeculationChoice] | None = None
) -> list[Condition]:
    """Every condition on a grid: next-token first, the schedules of each model, then the policies of the base model.

    Args:
        rows: of tokens in a frame.
        cols: tokens of a row.
        labels: of fine-tuned models.
        speculations: the ways of next-token prediction in fewer passes; ``None``: ``usual_speculations``.

    Raises:
        SpecError: as ``require_labels``.

    >>> [condition.id for condition in all_conditions(9, 12)][:4]
    ['base/ntp', 'base/exact=36', 'base/exact=108', 'base/k=1']
    """
    require_labels(labels)
    ways = usual_speculations(rows, cols) if speculations is None else speculations
    conditions = []
    for label in (BASE, *labels):
        ntp, *others = _schedules(label, rows, cols)
        conditions += [ntp, *(exact_condition(label, way) for way in ways), *others]
    for values in product(_PROXIES, _ROW_ENDS, _PROXY_KVS, _VISIBILITIES):
        policies = Policies(proxy=values[0], row_end=values[1], proxy_kv=values[2], visibility=values[3])
        conditions.append(
            Condition(
                group=_POLICIES,
                name=name_of_policies(policies),
                model=BASE,
                schedule=Diagonal(k=CROSSED_K),
                policies=policies,
            )
        )
    return conditions


def name_of_policies(policies: Policies) -> str:
    """The four policies in one word.

    >>> name_of_policies(Policies())
    'previous-frame,refresh,hidden,written'
    """
    return f"{policies.proxy},{policies.row_end},{policies.proxy_kv},{policies.visibility}"


def usual_speculations(rows: int, cols: int) -> list[Speculation]:
    """Windows of a third of a frame and of a frame, with the usual draft."""
    return speculations_of(dict.fromkeys((max(1, rows * cols // 3), rows * cols)))


def speculations_of(windows: Iterable[int], drafts: Iterable[str] = ()) -> list[Speculation]:
    """Every window with every draft; without drafts with the usual one.

    Raises:
        SpecError: a window or a draft that there is not, or one of them twice.

    >>> [exact_condition("base", one).id for one in speculations_of([36, 108], ["previous-frame", "above"])]
    ['base/exact=36', 'base/exact=36,above', 'base/exact=108', 'base/exact=108,above']
    """
    ways = [
        Speculation(window=window, draft=draft) for window, draft in product(windows, list(drafts) or [_USUAL_DRAFT])
    ]
    for way in ways:
        if ways.count(way) > 1:
            raise SpecError(f"expected different windows and drafts, got {_exact_name(way)} twice. Name it once.")
    return ways


def exact_condition(label: str, speculation: SpeculationChoice) -> Condition:
    """Next-token prediction of a model, replayed speculatively.

    Its name is ``exact=WINDOW``, with the draft where it is another than the usual one (``plan-k=1`` for ``plan:k=1``,
    as files are called by it), or ``exact`` where the window is measured.

    Args:
        label: of the model.
        speculation: how it is replayed, of fixed width and across frames.
    """
    return Condition(
        group=label, name=_exact_name(speculation), model=label, schedule=NextToken(), policies=Policies(),
        speculation=speculation,
    )  # fmt: skip


def _exact_name(speculation: SpeculationChoice) -> str:
    if not isinstance(speculation, Speculation):
        return _EXACT
    draft = "" if speculation.draft == _USUAL_DRAFT else f",{speculation.draft}".replace("plan:", "plan-")
    return f"{_EXACT}={speculation.window}{draft}"


def is_exact(id: str) -> bool:  # noqa: A002
    """Whether a condition has next-token prediction's own tokens by another way.

    >>> is_exact("base/exact=36"), is_exact("base/ntp")
    (True, False)
    """
    return id.partition("/")[2].partition("=")[0] == _EXACT


def named_speculation(name: str) -> SpeculationChoice | None:
    """What a name such as ``exact=36,above`` says; ``None`` where it is none."""
    window, _, draft = name.removeprefix(f"{_EXACT}=").partition(",")
    draft = re.sub("^plan-", "plan:", draft)
    try:
        way: SpeculationChoice = (
            "auto" if name == _EXACT else speculations_of([int(window)], [draft] if draft else [])[0]
        )
    except (SpecError, ValueError):
        return None
    return way if _exact_name(way) == name else None


def _schedules(label: str, rows: int, cols: int) -> list[Condition]:
    default = Policies()
    release = BUNDLES["zipar-llamagen"]
    ideal = replace(release, visibility="written")
    delays = [k for k in (1, 2, 4) if k < cols]
    plans: dict[str, tuple[Schedule, Policies]] = {"ntp": (NextToken(), default)}
    plans |= {f"k={k}": (Diagonal(k=k), default) for k in delays}
    for k in (k for k in delays if k < 4):
        alone = frame_steps(rows, cols, k)
        # A quarter, half, three quarters of a frame's steps, and stacked rows, d = h k.
        for d in sorted({max(1, alone * part // 4) for part in (1, 2, 3)} | {rows * k}):
            if d < alone:
                plans[f"k={k},d={d}"] = (Diagonal(k=k, d=d), default)
    plans |= {f"zipar-w={k}": (ZipAR(window=k), ideal) for k in delays}
    plans |= {f"zipar-release-w={k}": (ZipAR(window=k, variant="llamagen"), release) for k in delays}
    return [
        Condition(group=label, name=name, model=label, schedule=schedule, policies=policies)
        for name, (schedule, policies) in plans.items()
    ]


def select(conditions: Sequence[Condition], only: Sequence[str] = ()) -> list[Condition]:
    """The conditions that a pattern names (``base/*``, ``policies/above,*``), and the next-token ones they need.

    Raises:
        SpecError: a pattern that names none.
    """
    for pattern in only:
        if not any(fnmatchcase(condition.id, pattern) for condition in conditions):
            raise SpecError(
                f"expected --only to name conditions such as base/k=2, base/* or policies/*, got {pattern[:100]!r}."
            )
    kept = [c for c in conditions if not only or any(fnmatchcase(c.id, pattern) for pattern in only)]
    needed = {f"{BASE}/ntp", *(f"{c.model}/ntp" for c in kept)}
    chosen = [c for c in conditions if c in kept or c.id in needed]
    return sorted(chosen, key=lambda c: c.name != "ntp")  # all others are compared with next-token prediction
