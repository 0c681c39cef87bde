"""Plans to draw, of every shape that is hard to draw, and the grids of a drawn picture."""

from collections.abc import Iterator

from diagplan.drawing.scene import Cells, Scene
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.schedule import Diagonal, NextToken, Schedule, ZipAR

COSMOS = Layout(frames=3, rows=40, cols=64, prompt_frames=2)
CASES: dict[str, tuple[Layout, Schedule]] = {
    "cosmos": (COSMOS, Diagonal(k=2, d=10)),
    "mc-ar": (Layout(frames=15, rows=14, cols=24, prompt_frames=1, between_frames=11), Diagonal(k=2)),
    "tiny": (Layout(frames=1, rows=4, cols=4, lead=1), Diagonal(k=1)),
    "overlap": (Layout(frames=4, rows=6, cols=8, prompt_frames=1, lead=1, between_frames=2), Diagonal(k=2, d=3)),
    "end-of-line": (Layout(frames=1, rows=48, cols=48, lead=64, between_rows=1), Diagonal(k=3)),
    "one-row": (Layout(frames=2, rows=1, cols=20, lead=1), Diagonal(k=1, d=2)),
    "one-column": (Layout(frames=3, rows=16, cols=1, lead=1), Diagonal(k=1, d=2)),
    "one-cell": (Layout(frames=1, rows=1, cols=1, lead=1), NextToken()),
    "many": (Layout(frames=60, rows=5, cols=7, lead=3, prompt_frames=9, between_frames=1), Diagonal(k=2)),
    "next-token": (Layout(frames=1, rows=32, cols=32, lead=120), NextToken()),
    "zipar": (Layout(frames=1, rows=24, cols=24, lead=1), ZipAR(window=8, variant="llamagen")),
    "crowded": (Layout(frames=1, rows=20, cols=200, lead=1), Diagonal(k=50)),
    "wide": (Layout(frames=2, rows=3, cols=1000, lead=1), Diagonal(k=5, d=5)),
}
SMALL = compile_plan(*CASES["overlap"])


def compiled(name: str) -> Plan:
    """The plan of a case."""
    return compile_plan(*CASES[name])


def cells(scene: Scene, kind: str) -> Iterator[Cells]:
    """The grids of cells of a kind, in the order in which they are drawn."""
    for item in scene.items:
        if isinstance(item, Cells) and kind in item.kind.split():
            yield item
