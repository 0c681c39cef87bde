"""What `diagplan run` is given: the golden weights, configuration, prompt, actions and one plan, as files."""

import json
from pathlib import Path

import numpy as np

from diagplan import write_plan
from tests.support.mineworld import DATA, GIVEN, LAYOUT, META, WEIGHTS, golden_plan

__all__ = ["options", "prompt", "write_run_files"]


def write_run_files(folder: Path) -> Path:
    """Golden weights, configuration, prompt, actions and one plan as files."""
    import torch
    from safetensors.torch import save_file

    save_file({n: torch.from_numpy(w) for n, w in WEIGHTS.items()}, folder / "model.safetensors")
    config = META["config"] | {"image_vocab": META["image_vocab"]}
    (folder / "config.json").write_text(json.dumps(config))
    np.save(folder / "prompt.npy", DATA["prompt"].reshape(1, LAYOUT.rows, LAYOUT.cols))
    np.save(folder / "actions.npy", DATA["actions"][: LAYOUT.frames])
    np.save(folder / "given.npy", GIVEN)
    write_plan(golden_plan(META["cases"]["image_k2_prompt"]), folder / "plan.json")
    return folder


def options(folder: Path, *more: str, out: str = "tokens.npy") -> list[str]:
    """The command line of a run in a folder."""
    files = {"--weights": "model.safetensors", "--config": "config.json", "-o": out}
    return [
        "run",
        str(folder / "plan.json"),
        *(part for option, name in files.items() for part in (option, str(folder / name))),
        *more,
    ]


def prompt(folder: Path) -> list[str]:
    """Its prompt and actions."""
    return ["--prompt", str(folder / "prompt.npy"), "--actions", str(folder / "actions.npy")]
