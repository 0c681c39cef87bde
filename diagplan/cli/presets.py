"""List the published models' grids, and the bundles of policies."""

from dataclasses import asdict

from diagplan.cli.shared.output import FINE, JsonOption, command, console, print_json, print_table
from diagplan.planner.layout import Layout

__all__ = ["presets_command"]


@command
def presets_command(as_json: JsonOption = False) -> int:
    """List the published models' grids, and the bundles of policies."""
    from diagplan.planner.policy import BUNDLES
    from diagplan.planner.presets import PRESETS

    if as_json:
        models = {
            name: asdict(preset.layout) | {"models": preset.models, "source": preset.source}
            for name, preset in PRESETS.items()
        }
        print_json({"models": models, "bundles": {name: asdict(policies) for name, policies in BUNDLES.items()}})
        return FINE
    print_table(
        [
            "--model",
            ">frames",
            ">rows",
            ">cols",
            ">prompt frames",
            ">lead",
            ">between frames",
            ">between rows",
            "models",
        ],
        [(name, *_sizes(preset.layout), preset.models) for name, preset in PRESETS.items()],
        title="Models (every number can be changed by its option)",
    )
    console().print()
    print_table(
        ["--policies", "proxy", "row_end", "proxy_kv", "visibility"],
        [(name, *asdict(policies).values()) for name, policies in BUNDLES.items()],
        title="Bundles of policies",
    )
    return FINE


def _sizes(layout: Layout) -> tuple[int, ...]:
    return (
        layout.frames,
        layout.rows,
        layout.cols,
        layout.prompt_frames,
        layout.lead,
        layout.between_frames,
        layout.between_rows,
    )
