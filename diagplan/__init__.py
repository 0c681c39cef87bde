"""A decoding-plan compiler for autoregressive image and video transformers (Diagonal Decoding).

>>> from diagplan import Diagonal, compile_plan, preset_layout, verify
>>> plan = compile_plan(preset_layout("cosmos"), Diagonal(k=2, d=10))
>>> plan.steps, verify(plan).ok
(162, True)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what ``_PLACES`` says, for type checkers and editors
    from diagplan.adapters.notices import ModelWarning
    from diagplan.adapters.options import LoadOptions
    from diagplan.adapters.raster import Raster
    from diagplan.adapters.samplers import Greedy, Sample
    from diagplan.backends.chained import Chained
    from diagplan.backends.errors import CapacityError, MismatchError, NumericError
    from diagplan.backends.rolling import Rolled, roll
    from diagplan.backends.teacher_check import TeacherCheck
    from diagplan.drawing.draw import Drawing, draw
    from diagplan.drawing.explorer import Explorer, show
    from diagplan.images.comparing import ComparedImages, compare_images
    from diagplan.images.custom import custom_generate
    from diagplan.images.paint import DrawnImages, draw_image
    from diagplan.models.chaining import run_chain
    from diagplan.models.loading import load_model, replay
    from diagplan.models.sampling import sampler_for
    from diagplan.models.token_check import check_tokens
    from diagplan.models.trace_check import CheckedTrace, check_trace_tokens
    from diagplan.models.wrapping import prompt_with_pictures, wrap
    from diagplan.planner.chain import Chain
    from diagplan.planner.chain_compiler import chain_layouts, compile_chain
    from diagplan.planner.checker import Verification
    from diagplan.planner.compiler import compile_plan
    from diagplan.planner.errors import (
        DiagplanError,
        DocumentError,
        InvalidPlanError,
        MissingExtraError,
        RanksError,
        SpecError,
    )
    from diagplan.planner.layout import Layout
    from diagplan.planner.plan import Plan
    from diagplan.planner.policy import BUNDLES, Policies, bundle_schedule
    from diagplan.planner.presets import PRESETS, preset_layout
    from diagplan.planner.rollout import Rollout, compile_rollout
    from diagplan.planner.schedule import Diagonal, Imported, NextToken, ZipAR
    from diagplan.planner.speculation import Speculation
    from diagplan.planner.trace import Trace
    from diagplan.planner.trace_checker import TraceVerification
    from diagplan.schemas.chain_files import read_chain, write_chain
    from diagplan.schemas.convert import plan_digest
    from diagplan.schemas.files import read_plan, write_plan
    from diagplan.schemas.orders import read_order
    from diagplan.schemas.speculation import read_speculation, write_speculation
    from diagplan.schemas.trace import read_trace, write_trace
    from diagplan.schemas.verify import verify
    from diagplan.schemas.verify_trace import verify_trace
    from diagplan.worlds import World, load_world
    from diagplan.worlds.generation import Generated, compile_for, generate, roll_for
    from diagplan.worlds.plans import plan_for
    from diagplan.worlds.session import Session, start
    from diagplan.worlds.videos import GeneratedVideo, generate_video

__all__ = [
    "BUNDLES",
    "PRESETS",
    "CapacityError",
    "Chain",
    "Chained",
    "CheckedTrace",
    "ComparedImages",
    "Diagonal",
    "DiagplanError",
    "DocumentError",
    "Drawing",
    "DrawnImages",
    "Explorer",
    "Generated",
    "GeneratedVideo",
    "Greedy",
    "Imported",
    "InvalidPlanError",
    "Layout",
    "LoadOptions",
    "MismatchError",
    "MissingExtraError",
    "ModelWarning",
    "NextToken",
    "NumericError",
    "Plan",
    "Policies",
    "RanksError",
    "Raster",
    "Rolled",
    "Rollout",
    "Sample",
    "Session",
    "SpecError",
    "Speculation",
    "TeacherCheck",
    "Trace",
    "TraceVerification",
    "Verification",
    "World",
    "ZipAR",
    "__version__",
    "bundle_schedule",
    "chain_layouts",
    "check_tokens",
    "check_trace_tokens",
    "compare_images",
    "compile_chain",
    "compile_for",
    "compile_plan",
    "compile_rollout",
    "custom_generate",
    "draw",
    "draw_image",
    "generate",
    "generate_video",
    "load_model",
    "load_world",
    "plan_digest",
    "plan_for",
    "preset_layout",
    "prompt_with_pictures",
    "read_chain",
    "read_order",
    "read_plan",
    "read_speculation",
    "read_trace",
    "replay",
    "roll",
    "roll_for",
    "run_chain",
    "sampler_for",
    "show",
    "start",
    "verify",
    "verify_trace",
    "wrap",
    "write_chain",
    "write_plan",
    "write_speculation",
    "write_trace",
]

#: The one place that states the version; pyproject.toml reads it without importing.
__version__ = "0.1.0"

#: Module -> its public names. They are loaded when they are asked for: until the command line has told the system what
#: Ctrl-C means, nothing that takes time may be imported.
_PLACES = {
    "diagplan.adapters.notices": ("ModelWarning",),
    "diagplan.adapters.options": ("LoadOptions",),
    "diagplan.adapters.raster": ("Raster",),
    "diagplan.adapters.samplers": ("Greedy", "Sample"),
    "diagplan.backends.chained": ("Chained",),
    "diagplan.backends.errors": ("CapacityError", "MismatchError", "NumericError"),
    "diagplan.backends.rolling": ("Rolled", "roll"),
    "diagplan.backends.teacher_check": ("TeacherCheck",),
    "diagplan.drawing.draw": ("Drawing", "draw"),
    "diagplan.drawing.explorer": ("Explorer", "show"),
    "diagplan.images.comparing": ("ComparedImages", "compare_images"),
    "diagplan.images.custom": ("custom_generate",),
    "diagplan.images.paint": ("DrawnImages", "draw_image"),
    "diagplan.models.chaining": ("run_chain",),
    "diagplan.models.loading": ("load_model", "replay"),
    "diagplan.models.sampling": ("sampler_for",),
    "diagplan.models.wrapping": ("prompt_with_pictures", "wrap"),
    "diagplan.planner.chain": ("Chain",),
    "diagplan.planner.chain_compiler": ("chain_layouts", "compile_chain"),
    "diagplan.models.token_check": ("check_tokens",),
    "diagplan.models.trace_check": ("CheckedTrace", "check_trace_tokens"),
    "diagplan.planner.checker": ("Verification",),
    "diagplan.planner.compiler": ("compile_plan",),
    "diagplan.planner.errors": (
        "DiagplanError",
        "DocumentError",
        "InvalidPlanError",
        "MissingExtraError",
        "RanksError",
        "SpecError",
    ),
    "diagplan.planner.layout": ("Layout",),
    "diagplan.planner.plan": ("Plan",),
    "diagplan.planner.policy": ("BUNDLES", "Policies", "bundle_schedule"),
    "diagplan.planner.presets": ("PRESETS", "preset_layout"),
    "diagplan.planner.rollout": ("Rollout", "compile_rollout"),
    "diagplan.planner.schedule": ("Diagonal", "Imported", "NextToken", "ZipAR"),
    "diagplan.planner.speculation": ("Speculation",),
    "diagplan.schemas.chain_files": ("read_chain", "write_chain"),
    "diagplan.planner.trace": ("Trace",),
    "diagplan.planner.trace_checker": ("TraceVerification",),
    "diagplan.schemas.convert": ("plan_digest",),
    "diagplan.schemas.files": ("read_plan", "write_plan"),
    "diagplan.schemas.orders": ("read_order",),
    "diagplan.schemas.speculation": ("read_speculation", "write_speculation"),
    "diagplan.schemas.trace": ("read_trace", "write_trace"),
    "diagplan.schemas.verify": ("verify",),
    "diagplan.schemas.verify_trace": ("verify_trace",),
    "diagplan.worlds": ("World", "load_world"),
    "diagplan.worlds.generation": ("Generated", "compile_for", "generate", "roll_for"),
    "diagplan.worlds.plans": ("plan_for",),
    "diagplan.worlds.session": ("Session", "start"),
    "diagplan.worlds.videos": ("GeneratedVideo", "generate_video"),
}

if not TYPE_CHECKING:  # which would take every name for one that is there

    def __getattr__(name: str) -> Any:
        for place, names in _PLACES.items():
            if name in names:
                value = globals()[name] = getattr(import_module(place), name)
                return value
        modules = [place for place in _PLACES if place.split(".")[1] == name]
        for place in modules:  # `import diagplan` loaded them once, and somebody may count on it
            import_module(place)
        if modules:
            return import_module(f"diagplan.{name}")
        raise AttributeError(f"module 'diagplan' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
