"""Draw a plan from Python: say what to show, then look at it in a notebook or save it.

>>> from diagplan import Diagonal, Layout, compile_plan, draw
>>> drawing = draw(compile_plan(Layout(frames=1, rows=2, cols=3, lead=1), Diagonal(k=1)))
>>> drawing.svg()[:4]
'<svg'
"""

import operator
import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from diagplan.drawing.pictures import plan_scene, save_picture
from diagplan.drawing.render import svg_bytes, svg_text
from diagplan.drawing.scene import Scene
from diagplan.planner.arguments import require_path
from diagplan.planner.errors import SpecError
from diagplan.planner.plan import Plan

__all__ = ["Drawing", "draw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A plan and what to show of it; ``draw`` makes one. A notebook shows it where it is the last line of a cell.

    Attributes:
        plan: the plan.
        step: the step that is drawn; ``None``: the whole plan.
        feed: the query of that step whose mask row is drawn; ``None``: the last with a target.
        frames: the generated frames that are shown; ``None``: all that fit.
    """

    plan: Plan
    step: int | None = None
    feed: int | None = None
    frames: tuple[int, ...] | None = None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the drawing to ``path``, whose ending chooses ``.png``, ``.svg`` or ``.gif`` (the whole plan only).

        Raises:
            SpecError: another ending, or a ``.gif`` of one step.
            MissingExtraError: ``.png`` and ``.gif`` need Pillow.
            DocumentError: the file cannot be written.
        """
        require_path("path", path)
        save_picture(self.plan, path, step=self.step, feed=self.feed, frames=self.frames)

    def svg(self) -> str:
        """The drawing as the text of one ``<svg>`` element."""
        return svg_text(self._scene())

    def _repr_html_(self) -> str:
        """For notebooks. An image, not inline SVG: notebooks that are not trusted show images alone."""
        scene = self._scene()
        data = b64encode(svg_bytes(scene)).decode("ascii")
        about = f'alt="{escape(scene.title)}" width="{scene.width}"'
        return f'<img {about} style="max-width: 100%; height: auto" src="data:image/svg+xml;base64,{data}">'

    def _scene(self) -> Scene:
        return plan_scene(self.plan, step=self.step, feed=self.feed, frames=self.frames)


def draw(
    plan: Plan, *, step: int | None = None, feed: int | None = None, frames: Sequence[int] | None = None
) -> Drawing:
    """A drawing of a plan, or of one of its steps. The plan need not be valid: what is wrong with it is drawn too.

    Args:
        plan: the plan.
        step: draw what this step does; ``None``: in which step each cell is generated, and how wide the steps are.
        feed: with ``step``, the query whose mask row is drawn; ``None``: the last with a target.
        frames: the generated frames to show, counted from 0; ``None``: all that fit.

    Raises:
        SpecError: no plan; a step, feed or frame that the plan does not have; a plan that does not fit a picture.
    """
    if not isinstance(plan, Plan):
        raise SpecError(
            f"expected a Plan, got plan={_short(plan)}. compile_plan and read_plan give one; a rollout has several, "
            "in its attribute plans."
        )
    if frames is not None and not hasattr(frames, "__iter__"):
        raise SpecError(f"expected a list of frames, got frames={_short(frames)}. Name one as [{_short(frames)}].")
    chosen = None if frames is None else tuple(_number("frames", frame) for frame in frames)
    drawing = Drawing(plan=plan, step=_number("step", step), feed=_number("feed", feed), frames=chosen)
    drawing._scene()  # what cannot be drawn is said here, not when a notebook shows it
    return drawing


def _number(name: str, value: Any) -> Any:
    if value is None and name != "frames":
        return None
    try:
        return operator.index(value)
    except TypeError:
        raise SpecError(f"expected whole numbers, got {name}={_short(value)}. They count from 0.") from None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
