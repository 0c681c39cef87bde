"""Plans to show in a terminal, and what it shows, read back as text."""

import io
import re

from rich.console import Console, RenderableType

from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.schedule import Diagonal

SMALL = compile_plan(Layout(frames=3, rows=4, cols=5, prompt_frames=2, lead=1, between_frames=2), Diagonal(k=2, d=3))
COSMOS = compile_plan(Layout(frames=3, rows=40, cols=64, prompt_frames=2), Diagonal(k=2, d=10))
LONG = compile_plan(Layout(frames=200, rows=4, cols=6, lead=1), Diagonal(k=1, d=1))


def shown(view: RenderableType, width: int = 100, *, colour: bool = False, encoding: str = "utf-8") -> str:
    """What a console of this width prints."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    console = Console(
        file=file, width=width, force_terminal=colour, color_system="truecolor" if colour else None, _environ={}
    )
    console.print(view)
    file.flush()
    assert isinstance(file.buffer, io.BytesIO)
    return file.buffer.getvalue().decode(encoding)


def grid(text: str, title: str, rows: int, cells: int, pitch: int) -> list[list[str]]:
    """The cells of one panel, found by its title among panels that stand side by side."""
    lines = text.splitlines()
    at = next(number for number, line in enumerate(lines) if re.search(rf"(^|  ){title}", line))
    match = re.search(rf"(^|(?<=  )){title}", lines[at])
    assert match
    left = match.start()
    below = [line.ljust(left + cells * pitch)[left : left + cells * pitch] for line in lines[at + 1 : at + 1 + rows]]
    return [[line[i : i + pitch].strip() for i in range(0, len(line), pitch)] for line in below]
