"""Pictures of a plan as files: ``.png``, ``.svg`` and, for the wave over all steps, ``.gif``."""

import io
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from diagplan.drawing.readout import Readout, check_frames, read_out
from diagplan.drawing.render import Painter, svg_bytes
from diagplan.drawing.scene import Scene
from diagplan.drawing.step_figure import step_figure
from diagplan.drawing.wave_figure import wave_figure
from diagplan.planner.errors import SpecError
from diagplan.planner.plan import Plan
from diagplan.schemas.atomic import write_atomically

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["GIF_FRAMES", "PNG_SCALE", "gif_bytes", "plan_scene", "png_bytes", "save_picture"]

#: Pixels per unit of a PNG: twice the size at which it is shown, for dense screens.
PNG_SCALE = 2
#: The most frames of a GIF; longer plans skip steps evenly.
GIF_FRAMES = 120

_FRAME_MS, _LAST_MS = 70, 3000


def plan_scene(
    plan: Plan, *, step: int | None = None, feed: int | None = None, frames: Sequence[int] | None = None
) -> Scene:
    """What ``save_picture`` draws, before it is written in a format."""
    readout = read_out(plan)
    if step is None:
        if feed is not None:
            raise SpecError(f"expected a step for the feed, got feed={feed} and no step. Give step as well.")
        return wave_figure(readout, check_frames(plan.layout, frames))
    return step_figure(readout, step, feed=feed, frames=None if frames is None else check_frames(plan.layout, frames))


def save_picture(
    plan: Plan,
    path: str | os.PathLike[str],
    *,
    step: int | None = None,
    feed: int | None = None,
    frames: Sequence[int] | None = None,
) -> None:
    """Draw a plan to a file; the path's ending chooses the format. The plan need not be valid.

    Args:
        plan: the plan.
        path: a path that ends in ``.png``, ``.svg`` or ``.gif``; an existing file is replaced.
        step: draw what this step does; ``None``: the whole plan. Not for ``.gif``, which shows all steps.
        feed: with ``step``, the query whose mask row is drawn; ``None``: the last with a target.
        frames: the generated frames to show; ``None``: all that fit.

    Raises:
        SpecError: the ending is unknown, the plan has no such step, feed or frame, or it does not fit a picture.
        MissingExtraError: Pillow is needed and not installed.
        DocumentError: the file cannot be written.
    """
    ending = os.path.splitext(os.fspath(path))[1].lower()  # noqa: PTH122 - a suffix only
    match ending:
        case ".svg":
            data = svg_bytes(plan_scene(plan, step=step, feed=feed, frames=frames))
        case ".png":
            data = png_bytes(plan_scene(plan, step=step, feed=feed, frames=frames))
        case ".gif":
            if step is not None or feed is not None:
                raise SpecError("expected no step for a .gif, which shows all steps. Give a path in .png or .svg.")
            data = gif_bytes(_wave(read_out(plan), check_frames(plan.layout, frames)))
        case _:
            raise SpecError(f"expected a path in .png, .svg or .gif, got path={os.fspath(path)!r}. Change its ending.")
    write_atomically(path, data)


def png_bytes(scene: Scene) -> bytes:
    """A scene as a PNG file's bytes."""
    file = io.BytesIO()
    Painter(PNG_SCALE).paint(scene).save(file, format="PNG", optimize=False)
    return file.getvalue()


def _wave(readout: Readout, frames: list[int]) -> list[Scene]:
    """The wave over the steps."""
    steps = max(1, readout.plan.steps)
    shown = np.unique(np.linspace(0, steps - 1, min(steps, GIF_FRAMES - 1)).round().astype(int)).tolist()
    scenes = [wave_figure(readout, frames, until=step) for step in shown]
    return [*scenes, wave_figure(readout, frames, until=steps)]  # the state after the last step, at rest


def gif_bytes(scenes: Sequence[Scene], *, frame_ms: int = _FRAME_MS) -> bytes:
    """Scenes as a GIF file's bytes, every picture in the same colours; the last one rests."""
    painter = Painter(1)
    from PIL import Image  # the painter says what to do where it is missing

    palette = _palette(painter.paint(scenes[-1]), painter.paint(scenes[len(scenes) // 2]))
    images = [painter.paint(scene).quantize(palette=palette, dither=Image.Dither.NONE) for scene in scenes]
    file = io.BytesIO()
    images[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=images[1:],
        duration=[frame_ms] * (len(images) - 1) + [_LAST_MS],
        loop=0,
        optimize=True,  # pixels as before become transparent, which packs well
    )
    return file.getvalue()


def _palette(last: "Image.Image", middle: "Image.Image") -> "Image.Image":
    """255 colours of two pictures of the wave, pure white among them; one place is left for transparency."""
    from PIL import Image

    sample = last.copy()
    sample.paste(middle.crop((0, 0, last.width // 2, last.height)))
    colours = sample.quantize(255, dither=Image.Dither.NONE).getpalette()
    assert colours is not None
    entries = np.array(colours[: 3 * 255]).reshape(-1, 3)
    entries[entries.min(axis=1) > 245] = 255
    palette = Image.new("P", (1, 1))
    palette.putpalette(entries.ravel().tolist())
    return palette
