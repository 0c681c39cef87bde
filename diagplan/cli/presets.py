"""List the published models' grids, and the bundles of policies."""

from dataclasses import asdict

from diagplan.cli.shared.output import FINE, JsonOption, WideOption, command, console, print_json, print_table
from diagplan.cli.shared.requests import model_layouts

__all__ = ["presets_command"]

_TITLE = "Models (every number can be changed by its option)"
_SIZES = ("frames", "rows", "cols", "prompt_frames", "lead", "between_frames", "between_rows")


@command
def presets_command(wide: WideOption = False, as_json: JsonOption = False) -> int:
    """List the published models' grids, and the bundles of policies."""
    from diagplan.planner.policy import BUNDLES

    presets = model_layouts()
    if as_json:
        models = {
            name: asdict(preset.layout) | {"models": preset.models, "source": preset.source}
            for name, preset in presets.items()
        }
        print_json({"models": models, "bundles": {name: asdict(policies) for name, policies in BUNDLES.items()}})
        return FINE
    if wide:
        print_table(
            ["--model", *(f">{name.replace('_', ' ')}" for name in _SIZES), "models", "source"],
            [
                (name, *(getattr(preset.layout, size) for size in _SIZES), preset.models, preset.source)
                for name, preset in presets.items()
            ],
            title=_TITLE,
        )
    else:
        print_table(
            ["--model", ">grid", ">prompt frames", ">lead", ">between frames", ">between rows"],
            [
                (name, f"{grid.frames}x{grid.rows}x{grid.cols}", *(getattr(grid, size) for size in _SIZES[3:]))
                for name, grid in ((name, preset.layout) for name, preset in presets.items())
            ],
            title=_TITLE,
        )
    console().print()
    print_table(
        ["--policies", "proxy", "row_end", "proxy_kv", "visibility"],
        [(name, *asdict(policies).values()) for name, policies in BUNDLES.items()],
        title="Bundles of policies",
    )
    return FINE
