"""The explorer: a plan as one page that a browser walks through, without a network.

The page is ``explorer.html``, written by hand; the plan lies in it as JSON, its columns as varints in base64. Nothing
of a plan becomes markup: the JSON holds no ``<``, and the page puts texts down as texts.

>>> from diagplan import Diagonal, Layout, compile_plan, show
>>> page = show(compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1))).html()
>>> page.startswith("<!doctype html>")
True
"""

import json
import os
from base64 import b64encode
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.drawing.readout import read_out
from diagplan.drawing.wording import given_words, schedule_words
from diagplan.planner.arguments import require_kind, require_path
from diagplan.planner.errors import SpecError
from diagplan.planner.plan import Plan
from diagplan.schemas.atomic import require_ending, write_atomically

__all__ = ["MOST_BYTES", "MOST_SLOTS", "Explorer", "show", "varints"]

#: Slots of a plan that a page draws, and bytes of a page.
MOST_SLOTS, MOST_BYTES = 40_000, 1_500_000
_HEIGHT = 460  # pixels in a notebook


@dataclass(frozen=True, slots=True, kw_only=True)
class Explorer:
    """A plan, or two side by side, as a page; ``show`` makes one. A notebook shows a small version of it.

    Attributes:
        plan: the plan.
        against: the plan beside it, or ``None``.
        names: what the plans are called, beside their schedules; empty: nothing.
    """

    plan: Plan
    against: Plan | None = None
    names: tuple[str, ...] = ()

    def html(self, *, small: bool = False) -> str:
        """The page.

        Args:
            small: leave explanations out, as for a notebook.

        Raises:
            SpecError: it would be too large.
        """
        plans = [self.plan] if self.against is None else [self.plan, self.against]
        titles = [schedule_words(plan) for plan in plans]
        named = [": ".join(filter(None, pair)) for pair in zip([*map(str, self.names), "", ""], titles, strict=False)]
        data = {
            "title": " against ".join(named),
            "words": _words(self.plan),
            "small": small,
            "plans": [_encoded(plan, title) for plan, title in zip(plans, named, strict=True)],
        }
        # JSON inside a script: without < no tag and no comment begins or ends there.
        text = json.dumps(data, separators=(",", ":"), ensure_ascii=True)
        text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
        page = files("diagplan.drawing").joinpath("explorer.html").read_text(encoding="utf-8")
        before, rest = page.split("{{title}}")
        middle, after = rest.split("{{data}}")
        title = escape(str(data["title"])).encode("utf-8", "replace").decode()  # a file's name may be no text
        done = f"{before}{title}{middle}{text}{after}"
        if len(done.encode()) > MOST_BYTES:
            raise _too_large(f"a page of at most {MOST_BYTES:,} bytes", f"{len(done.encode()):,}")
        return done

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to ``path``, which ends in ``.html``.

        Raises:
            SpecError: another ending, or a page that would be too large.
            DocumentError: the file cannot be written.
        """
        require_path("path", path)
        require_ending("path", path, (".html",))
        write_atomically(path, self.html().encode())

    def _repr_html_(self) -> str:
        """For notebooks: the small page in a frame that can reach nothing around it."""
        page = escape(self.html(small=True))
        about = f'style="width: 100%; height: {_HEIGHT}px; border: 0" title="plan"'
        return f'<p>{escape(repr(self.plan))}</p><iframe sandbox="allow-scripts" {about} srcdoc="{page}"></iframe>'


def show(plan: Plan, against: Plan | None = None, *, names: tuple[str, ...] = ()) -> Explorer:
    """A page to walk through a plan, or through two side by side. A plan need not be valid to be shown.

    Args:
        plan: the plan.
        against: another one of the same layout; cells that it generates in another step, or from another token, are
            marked.
        names: what to call them, beside their schedules.

    Raises:
        SpecError: no plan, plans of other layouts, or one that is too large for a page.
    """
    remedy = "compile_plan and read_plan give one; a rollout has several, in its attribute plans."
    require_kind("plan", plan, Plan, remedy)
    require_kind("against", against, Plan | None, remedy, what="a Plan or None")
    if against is not None and against.layout != plan.layout:
        raise SpecError(
            f"expected plans of one layout side by side, got {plan.layout} and {against.layout}. Show each by itself."
        )
    require_kind("names", names, tuple, "Leave them out, or give a text for each plan.", what="a tuple of texts")
    for one in (plan, *([] if against is None else [against])):
        if max(one.layout.positions, one.cache_slots, one.positions) > MOST_SLOTS:
            raise _too_large(
                f"a plan of at most {MOST_SLOTS:,} slots", f"{max(one.layout.positions, one.cache_slots):,}"
            )
    explorer = Explorer(plan=plan, against=against, names=names)
    explorer.html()  # what cannot be shown is said here, not when a notebook shows it
    return explorer


def _too_large(expected: str, got: str) -> SpecError:
    return SpecError(
        f"expected {expected} for an explorer, got {got}. Compile fewer frames with the same schedule, whose waves "
        "look alike; or draw some of its frames: diagplan show PLAN --frame 0 --frame 1 --svg wave.svg."
    )


def varints(values: NDArray[np.integer[Any]]) -> str:
    """Whole numbers as zigzag varints of their differences, in base64: most differences take one byte.

    >>> varints(np.array([5, 6, 4]))
    'CgID'
    """
    step = np.diff(np.asarray(values, dtype=np.int64), prepend=0)
    coded = np.where(step < 0, -2 * step - 1, 2 * step)
    size = np.ones(len(coded), dtype=np.int64)
    for n in range(1, 10):
        size += coded >= 1 << 7 * n
    place = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
    data = np.repeat(coded, size) >> 7 * place & 127
    data[place < np.repeat(size, size) - 1] |= 128
    return b64encode(data.astype(np.uint8).tobytes()).decode("ascii")


def _encoded(plan: Plan, title: str) -> dict[str, Any]:
    """A plan as the page reads it."""
    readout, layout = read_out(plan), plan.layout
    columns: dict[str, NDArray[Any]] = {
        "offsets": readout.offsets,
        "source": plan.source,
        "position": plan.position,
        "slot": plan.slot,
        "target": plan.target,
        "listed": plan.listed.feed,
        "listedOffsets": plan.listed.offsets,
        "runs": np.asarray(plan.listed.runs).reshape(-1),
    }
    sizes = ("frames", "rows", "cols", "lead", "prompt_frames", "between_frames", "between_rows")
    return {
        "title": title,
        "words": f"{plan.steps:,} steps, {readout.speed_up:.2f} x fewer passes than next-token prediction"
        + "".join(f"; {problem}" for problem in readout.problems),
        "layout": {name: getattr(layout, name) for name in sizes},
        "positions": plan.positions,
        "cacheSlots": plan.cache_slots,
        "visibility": plan.policies.visibility,
        "hidden": plan.policies.proxy_kv == "hidden",
        "prefill": readout.prefill,
    } | {name: varints(column) for name, column in columns.items()}


def _words(plan: Plan) -> str:
    layout = plan.layout
    frames = "1 frame" if layout.frames == 1 else f"{layout.frames:,} frames"
    given = given_words(layout)
    return f"{frames} of {layout.rows:,} x {layout.cols:,} tokens" + (f"; given: {given}" if given else "")
