"""Recorded clips that several tests judge by."""

import shutil
from pathlib import Path

from diagplan.worlds import SHIPPED

__all__ = ["CLIP", "write_two_clips"]

CLIP = SHIPPED["crafter-mini"] / "clip.mp4"


def write_two_clips(folder: Path) -> Path:
    """The bundled clip under two names, once with its actions turned round."""
    lines = CLIP.with_suffix(".jsonl").read_text().splitlines()
    for name, actions in (("a", lines), ("b", lines[::-1])):
        shutil.copy(CLIP, folder / f"{name}.mp4")
        (folder / f"{name}.jsonl").write_text("\n".join(actions))
    return folder
