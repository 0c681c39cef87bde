"""A world model's folder: all that ``diagplan generate`` needs of it, and transformers where it can load it.

config.json, model.safetensors (float16), tokenizer/, world.json (``diagplan.schemas.world``), and the run's log.csv and
curves.png. world.json is written last: a folder that has it is whole.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diagplan.adapters.headers import check_weights
from diagplan.adapters.image_tokenizer import tokenizer_files
from diagplan.adapters.mc_ar import McArConfig
from diagplan.adapters.mc_ar_files import read_mc_ar_config
from diagplan.adapters.weights import LazyWeights, open_checkpoint
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.schemas.atomic import make_folder, write_atomically
from diagplan.schemas.world import ActionWords, WorldDocument

__all__ = ["action_words", "config_document", "read_weights", "write_world"]

_OPPOSITES = (("move_left", "move_right"), ("move_up", "move_down"), ("turn_left", "turn_right"))


def action_words(codes: int, actions: Sequence[str]) -> ActionWords:
    """The ids behind ``codes`` image codes: begin, end, then the game's actions in the game's order.

    >>> action_words(256, ["noop", "move_left", "move_right"]).ids
    {'noop': 258, 'move_left': 259, 'move_right': 260}
    """
    pairs = [(a, b) for pair in _OPPOSITES if set(pair) <= set(actions) for a, b in (pair, pair[::-1])]
    return ActionWords(
        begin=codes,
        end=codes + 1,
        ids={name: codes + 2 + i for i, name in enumerate(actions)},
        opposites=dict(pairs),
    )


def config_document(config: McArConfig) -> dict[str, Any]:
    """A config.json that ``read_mc_ar_config`` reads back; with 1D positions it is also a Hugging Face LlamaConfig."""
    sizes = {key: value for key, value in asdict(config).items() if value is not None}
    plain = {
        "attention_bias": False,
        "bos_token_id": None,
        "eos_token_id": None,
        "hidden_act": "silu",
        "mlp_bias": False,
        "rope_parameters": {"rope_theta": config.rope_theta, "rope_type": "default"},  # transformers 5
        "tie_word_embeddings": False,
        "torch_dtype": "float16",
    }
    # Without a model type transformers refuses the folder: it would compute 1D positions.
    llama = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"} if config.rope == "1d" else {}
    return llama | plain | sizes


def write_world(
    folder: str | Path,
    *,
    config: McArConfig,
    weights: Mapping[str, Tensor],
    tokenizer: str | Path,
    document: WorldDocument,
    records: Sequence[Path] = (),
) -> None:
    """Write the folder, every file whole or not at all.

    Args:
        folder: made if it is not there; files of the same names are replaced.
        config: of the model.
        weights: by the names of ``McArConfig.shapes``; written as float16.
        tokenizer: the folder of its image tokenizer.
        document: what world.json says.
        records: further files to copy, such as log.csv.

    Raises:
        SpecError: weights that are not numbers any more; DocumentError: a file cannot be read or written.
    """
    from safetensors.torch import save

    place = Path(folder)
    tensors = {name: weights[name].detach().to("cpu", torch.float16).contiguous() for name in config.shapes()}
    broken = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise SpecError(
            f"expected weights that float16 can hold, got infinite or undefined ones in {broken[0]}. "
            "Train with a lower learning rate."
        )
    for path in (place, place / "tokenizer"):
        make_folder(path)
    try:
        (place / "world.json").unlink(missing_ok=True)
    except OSError as error:
        raise DocumentError(f"cannot replace {place / 'world.json'}: {error.strerror}. Give another folder.") from None
    for path in tokenizer_files(tokenizer):
        _copy(path, place / "tokenizer" / path.name)
    for path in records:
        _copy(path, place / path.name)
    write_atomically(place / "model.safetensors", save(tensors, metadata={"format": "pt"}))
    write_atomically(place / "config.json", _json(config_document(config)))
    left_out = {"tuned"} if document.tuned is None else None
    write_atomically(place / "world.json", _json(document.model_dump(mode="json", exclude=left_out)))


def read_weights(folder: str | Path) -> tuple[McArConfig, Mapping[str, Tensor]]:
    """Configuration and weights of a world's folder; float32, read from the file each time one is taken.

    Raises:
        DocumentError: files that are missing or broken, or do not belong together.
    """
    place = Path(folder)
    config = read_mc_ar_config(place / "config.json")
    checkpoint = open_checkpoint(place / "model.safetensors")
    names = check_weights(checkpoint.headers, config.shapes(), source=checkpoint.path)
    return config, LazyWeights(checkpoint, names, dtype=torch.float32)


def _json(document: Mapping[str, Any]) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()


def _copy(source: Path, target: Path) -> None:
    try:
        data = source.read_bytes()
    except OSError as error:
        raise DocumentError(f"cannot read {source}: {error.strerror}. Check the folder.") from None
    write_atomically(target, data)
