"""A quick world: ``crafter-mini`` with two of its six layers, so that what is cached still depends on masks."""

import json
import re
import shutil
from pathlib import Path

from diagplan.worlds import SHIPPED
from tests.support.kept import made_once

__all__ = ["KEPT", "shallow_folder"]

#: Layers of the shipped model that stay.
KEPT = (0, 5)


def shallow_folder() -> Path:
    """The folder of the world, never to be changed; all but its transformer is the shipped one's."""
    return made_once("shallow", _make)


def _make(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(SHIPPED["crafter-mini"], folder, dirs_exist_ok=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_hidden_layers": len(KEPT)}))
    weights = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        layer = re.search(r"\blayers\.(\d+)\.", name)
        if layer is None:
            weights[name] = tensor
        elif int(layer[1]) in KEPT:
            weights[name.replace(layer[0], f"layers.{KEPT.index(int(layer[1]))}.")] = tensor
    save_file(weights, folder / "model.safetensors")
