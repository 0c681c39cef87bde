"""A decoding-plan compiler for autoregressive image and video transformers (Diagonal Decoding).

>>> from diagplan import Diagonal, compile_plan, preset_layout, verify
>>> plan = compile_plan(preset_layout("cosmos"), Diagonal(k=2, d=10))
>>> plan.steps, verify(plan).ok
(162, True)
"""

from diagplan.backends.rolling import roll
from diagplan.backends.sampling import Greedy, Sample
from diagplan.drawing.draw import Drawing, draw
from diagplan.models.loading import load_model, replay
from diagplan.planner.compiler import compile_plan
from diagplan.planner.errors import DiagplanError
from diagplan.planner.layout import Layout
from diagplan.planner.plan import Plan
from diagplan.planner.policy import BUNDLES, Policies, bundle_schedule
from diagplan.planner.presets import PRESETS, preset_layout
from diagplan.planner.rollout import compile_rollout
from diagplan.planner.schedule import Diagonal, Imported, NextToken, ZipAR
from diagplan.schemas.files import read_plan, write_plan
from diagplan.schemas.orders import read_order
from diagplan.schemas.verify import verify
from diagplan.worlds import load_world
from diagplan.worlds.generation import generate

__all__ = [
    "BUNDLES",
    "PRESETS",
    "Diagonal",
    "DiagplanError",
    "Drawing",
    "Greedy",
    "Imported",
    "Layout",
    "NextToken",
    "Plan",
    "Policies",
    "Sample",
    "ZipAR",
    "__version__",
    "bundle_schedule",
    "compile_plan",
    "compile_rollout",
    "draw",
    "generate",
    "load_model",
    "load_world",
    "preset_layout",
    "read_order",
    "read_plan",
    "replay",
    "roll",
    "verify",
    "write_plan",
]

#: The one place that states the version; pyproject.toml reads it without importing.
__version__ = "0.1.0"
