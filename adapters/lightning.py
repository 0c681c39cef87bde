"""Checkpoints of PyTorch Lightning: tensors, and what lies beside them as inert records (``adapters/pickles.py``)."""

from pathlib import Path
from typing import Any, NamedTuple

from diagplan.adapters.pickles import field, header_of, mapped, read_pickle
from diagplan.adapters.weights import Checkpoint
from diagplan.planner.errors import DocumentError

__all__ = ["LightningFile", "open_lightning"]

#: What the tensors may lie below; else they are the file's top.
_HOLDERS = ("state_dict", "model")


class LightningFile(NamedTuple):
    """An opened file.

    Attributes:
        checkpoint: the tensors.
        hyper_parameters: what the model was made with: dicts, lists, numbers, texts and records; ``None``: nothing.
    """

    checkpoint: Checkpoint
    hyper_parameters: Any


def open_lightning(path: str | Path) -> LightningFile:
    """Open a zip file by torch: reads the pickle, allocates no tensor, runs nothing.

    Raises:
        DocumentError: not such a file, or one that is damaged or cut short.
    """
    path = Path(path)
    try:
        top = read_pickle(path, foreign=True)
        holder = next((name for name in _HOLDERS if field(top, name) is not None), None)
        held = top if holder is None else field(top, holder)
        if not isinstance(held, dict) or not all(isinstance(name, str) for name in held):
            raise ValueError("it has no dict of tensors by name")
    except Exception as error:  # hostile files make a reader raise almost anything
        reason = str(error).partition("\n")[0][:200].rstrip(".")
        raise DocumentError(
            f"expected a Lightning checkpoint, got {path}, which cannot be read ({type(error).__name__}: {reason}). "
            "It is damaged, cut short, or no checkpoint. Fetch it again."
        ) from error
    headers = {name: header_of(value) for name, value in held.items()}
    checkpoint = Checkpoint(path, "lightning", [path], headers, lambda name: mapped(path, held[name]))
    return LightningFile(checkpoint, field(top, "hyper_parameters"))
