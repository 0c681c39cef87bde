"""What stands in for a token that is not known yet, and what becomes of the cache slot it filled.

The four policies of the public sources, by name, and the bundles in which those sources use them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Literal, get_args

from diagplan.planner.arguments import require_kind
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Diagonal, Schedule, ZipAR
from diagplan.planner.shown import shown

__all__ = [
    "BUNDLES",
    "DEFAULT_BUNDLE",
    "Policies",
    "ProxyKV",
    "ProxyPolicy",
    "RowEnd",
    "Visibility",
    "bundle_schedule",
    "require_policies",
]

ProxyPolicy = Literal["above", "latest", "prompt", "previous-frame", "above-predecessor", "custom"]
RowEnd = Literal["keep", "refresh", "custom"]
ProxyKV = Literal["visible", "hidden"]
Visibility = Literal["written", "causal", "listed"]

_CHOICES = {
    "proxy": get_args(ProxyPolicy),
    "row_end": get_args(RowEnd),
    "proxy_kv": get_args(ProxyKV),
    "visibility": get_args(Visibility),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """The four policies of a plan; the defaults are diagplan's own bundle.

    ``custom`` and ``listed`` name no rule: they are for plans made by other producers, whose feeds and mask rows
    are taken as they stand; the compiler refuses them.

    Args:
        proxy: which token is fed where the target's predecessor is not known yet. The text says row start; any
            cell whose left neighbour is unknown (imported orders) is treated alike.
            ``above``: the token above the target, (f, r-1, c), or (f-1, 0, c) in the first row.
            ``latest``: the newest token of the predecessor's row, else of its frame, else its cell in the newest
                earlier frame that has it.
            ``prompt``: the predecessor's cell in the first prompt frame.
            ``previous-frame``: the predecessor's cell in the newest earlier frame that has it, else ``latest``.
            ``above-predecessor``: the newest token of the row above the predecessor's, at or before its column,
            else ``latest``; at a frame start as ``previous-frame``.
        row_end: ``keep``: a token that comes after its successor was predicted is never fed, so its slot keeps
            the proxy's keys and values (or stays unwritten, where given tokens follow). ``refresh``: every token
            is fed in the step after it was generated.
        proxy_kv: ``visible``: other queries see a proxy's keys and values; ``hidden``: only its own query does.
        visibility: ``written``: a query at p sees the slots q <= p written so far; ``causal``: every q <= p, over a
            cache that starts as zeros.

    Raises:
        SpecError: a value is not one of these names.

    >>> Policies(proxy="above").row_end
    'refresh'
    """

    proxy: ProxyPolicy = "previous-frame"
    row_end: RowEnd = "refresh"
    proxy_kv: ProxyKV = "hidden"
    visibility: Visibility = "written"

    def __post_init__(self) -> None:
        for field in fields(self):
            value, choices = getattr(self, field.name), _CHOICES[field.name]
            if value not in choices:
                raise SpecError(
                    f"expected {field.name} to be one of {', '.join(choices)}, got {field.name}={shown(value)}."
                )


def require_policies(policies: object) -> None:
    """Raise ``SpecError`` unless the value is a ``Policies``."""
    require_kind("policies", policies, Policies, "Give Policies(...) or a bundle: BUNDLES['default'].")


_MINEWORLD = Policies(proxy="prompt", row_end="keep", proxy_kv="visible", visibility="causal")

#: The policies of each named bundle. ``default`` is ours (docs/concepts.md says why); the others reproduce a release.
BUNDLES: Mapping[str, Policies] = MappingProxyType(
    {
        "default": Policies(),
        "mineworld-image": _MINEWORLD,
        "mineworld-video": _MINEWORLD,
        "zipar-llamagen": Policies(
            proxy="above-predecessor", row_end="refresh", proxy_kv="visible", visibility="causal"
        ),
    }
)
DEFAULT_BUNDLE = "default"


def bundle_schedule(name: str, layout: Layout, k: int) -> Schedule:
    """The schedule that a bundle's source runs with row delay ``k`` on this layout.

    MineWorld's video mode stacks rows, d = h k'; its image mode has frames in sequence; the LlamaGen release of
    ZipAR starts row 1 only after row 0 is complete.

    Raises:
        SpecError: no bundle has that name, or ``k`` is not an integer of at least 1.

    >>> bundle_schedule("mineworld-video", Layout(frames=2, rows=14, cols=24, prompt_frames=1), 2)
    Diagonal(k=2, d=28)
    """
    require_kind("layout", layout, Layout, "The name comes first: bundle_schedule(name, layout, k).")
    match name:
        case "default" | "mineworld-image":
            return Diagonal(k=k)
        case "mineworld-video":
            return Diagonal(k=k, d=layout.rows * min(Diagonal(k=k).k, layout.cols))
        case "zipar-llamagen":
            return ZipAR(window=k, variant="llamagen")
        case _:
            raise SpecError(f"expected a bundle out of {', '.join(BUNDLES)}, got {shown(name)}.")
