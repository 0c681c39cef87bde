"""The conditions of the study: schedules for every model, and policies one by one and crossed at k = 2."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from itertools import product

from diagplan.planner.errors import SpecError
from diagplan.planner.formulas import frame_steps
from diagplan.planner.policy import BUNDLES, Policies, ProxyKV, ProxyPolicy, RowEnd, Visibility
from diagplan.planner.schedule import Diagonal, NextToken, Schedule, ZipAR

__all__ = ["BASE", "CROSSED_K", "Condition", "all_conditions", "name_of_policies", "require_labels", "select"]

#: The model that is studied, among the labels of fine-tuned ones.
BASE = "base"
_POLICIES = "policies"
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
    """

    group: str
    name: str
    model: str
    schedule: Schedule
    policies: Policies

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


def all_conditions(rows: int, cols: int, labels: Sequence[str] = ()) -> list[Condition]:
    """Every condition on a grid: next-token first, the schedules of each model, then the policies of the base model.

    Args:
        rows: of tokens in a frame.
        cols: tokens of a row.
        labels: of fine-tuned models.

    Raises:
        SpecError: as ``require_labels``.

    >>> [condition.id for condition in all_conditions(9, 12)][:4]
    ['base/ntp', 'base/k=1', 'base/k=2', 'base/k=4']
    """
    require_labels(labels)
    conditions = [condition for label in (BASE, *labels) for condition in _schedules(label, rows, cols)]
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
