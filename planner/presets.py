"""The grids and given tokens of published models, by name."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType

from diagplan.planner.arguments import require_kind
from diagplan.planner.errors import SpecError
from diagplan.planner.layout import Layout
from diagplan.planner.shown import shown

__all__ = ["PRESETS", "Preset", "preset_layout"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A published model's layout at its usual length, and where its numbers come from."""

    layout: Layout
    models: str
    source: str


def _emu3(rows: int, cols: int) -> Preset:
    """Of one ratio; a token stands for 8 x 8 pixels."""
    return Preset(
        layout=Layout(frames=1, rows=rows, cols=cols, lead=64, between_rows=1),
        models=f"Emu3-Gen ({8 * cols} x {8 * rows} pixels)",
        source="baaivision/Emu3: end-of-line token after each row; set lead to your prompt's length",
    )


#: Every preset by the name that ``--model`` takes.
PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "cosmos": Preset(
            layout=Layout(frames=3, rows=40, cols=64, prompt_frames=2),
            models="Cosmos-Predict1 4B, 12B (video to video, 9 input frames)",
            source="nvidia-cosmos/cosmos-predict1: 5 latent frames of 40 x 64, no special tokens",
        ),
        "cosmos-video2world": Preset(
            layout=Layout(frames=3, rows=40, cols=64, prompt_frames=2, lead=1),
            models="Cosmos-Predict1 5B, 13B Video2World (9 input frames)",
            source="nvidia-cosmos/cosmos-predict1: begin-of-video token, 5 latent frames of 40 x 64",
        ),
        "wham": Preset(
            layout=Layout(frames=9, rows=18, cols=30, prompt_frames=1, between_frames=16),
            models="WHAM 200M, 1.6B",
            source="microsoft/wham: 10 frames of 18 x 30, 16 action tokens after each",
        ),
        "mc-ar": Preset(
            layout=Layout(frames=15, rows=14, cols=24, prompt_frames=1, between_frames=11),
            models="MC-AR / MineWorld 300M, 700M, 1.2B (16 frames)",
            source="microsoft/mineworld: 16 frames of 14 x 24, 11 action tokens between",
        ),
        "mc-ar-32f": Preset(
            layout=Layout(frames=31, rows=14, cols=24, prompt_frames=1, between_frames=11),
            models="MC-AR / MineWorld 700M, 1.2B (32 frames)",
            source="microsoft/mineworld: 32 frames of 14 x 24, 11 action tokens between",
        ),
        "llamagen-c2i-256": Preset(
            layout=Layout(frames=1, rows=16, cols=16, lead=1),
            models="LlamaGen class-conditional, 256 pixels",
            source="FoundationVision/LlamaGen: one class token, 16 x 16",
        ),
        "llamagen-c2i-384": Preset(
            layout=Layout(frames=1, rows=24, cols=24, lead=1),
            models="LlamaGen class-conditional, 384 pixels",
            source="FoundationVision/LlamaGen: one class token, 24 x 24",
        ),
        "llamagen-t2i-256": Preset(
            layout=Layout(frames=1, rows=16, cols=16, lead=120),
            models="LlamaGen text-conditional, 256 pixels",
            source="FoundationVision/LlamaGen: 120 text features, 16 x 16",
        ),
        "llamagen-t2i-512": Preset(
            layout=Layout(frames=1, rows=32, cols=32, lead=120),
            models="LlamaGen text-conditional, 512 pixels",
            source="FoundationVision/LlamaGen: 120 text features, 32 x 32",
        ),
        "janus-pro": Preset(
            layout=Layout(frames=1, rows=24, cols=24, lead=64),
            models="Janus-Pro 1B, 7B (384 x 384 pixels)",
            source="deepseek-ai/Janus: 576 tokens; set lead to your prompt's length",
        ),
        "glm-image-preview": Preset(
            layout=Layout(frames=1, rows=16, cols=16, lead=64),
            models="GLM-Image, the preview of a 1024 x 1024 picture",
            source="zai-org/GLM-Image: preview, then picture; set lead to your prompt's length",
        ),
        "glm-image": Preset(
            layout=Layout(frames=1, rows=32, cols=32, lead=64 + 256),
            models="GLM-Image (1024 x 1024 pixels)",
            source="zai-org/GLM-Image: 32 x 32 after prompt and preview, which are its lead",
        ),
        "emu3": _emu3(90, 90),
        "emu3-4x3": _emu3(78, 104),
        "emu3-3x4": _emu3(104, 78),
        "emu3-16x9": _emu3(68, 120),
        "emu3-9x16": _emu3(120, 68),
        "emu3-3x2": _emu3(73, 110),
        "emu3.5": Preset(
            layout=Layout(frames=1, rows=64, cols=64, lead=64, between_rows=1),
            models="Emu3.5, Emu3.5-Image (1024 x 1024 pixels)",
            source="baaivision/Emu3.5: end-of-line token between rows; set lead to your prompt's length",
        ),
        "lumina-mgpt-768": Preset(
            layout=Layout(frames=1, rows=48, cols=48, lead=64, between_rows=1),
            models="Lumina-mGPT (768 x 768 pixels)",
            source="Alpha-VLLM/Lumina-mGPT: new-line token after each row; set lead to your prompt's length",
        ),
        "chameleon": Preset(
            layout=Layout(frames=1, rows=32, cols=32, lead=64),
            models="Chameleon, Anole (512 x 512 pixels)",
            source="facebookresearch/chameleon: 32 x 32 between image marks; set lead to your prompt's length",
        ),
    }
)


def preset_layout(name: str, **changes: int | None) -> Layout:
    """The layout of a published model, with any field of ``Layout`` replaced.

    Args:
        name: a key of ``PRESETS``.
        changes: fields of ``Layout`` to replace; ``None`` leaves the preset's value.

    Raises:
        SpecError: no preset has that name, or a change is none of a layout, or the changed layout is not valid.

    >>> preset_layout("mc-ar", frames=2).tokens
    672
    """
    require_kind("name", name, str, "Give a model's name, e.g. preset_layout('cosmos'); `diagplan presets` lists them.")
    if name not in PRESETS:
        raise SpecError(
            f"expected a model out of {', '.join(PRESETS)}, got {shown(name)}. "
            "A world model has one of its own: world.layout(frames, prompt_frames)."
        )
    names = [field.name for field in fields(Layout)]
    for change in changes:
        if change not in names:
            raise SpecError(
                f"expected a field of Layout out of {', '.join(names)}, got {change[:60]}. Correct its name."
            )
    return replace(PRESETS[name].layout, **{key: value for key, value in changes.items() if value is not None})
