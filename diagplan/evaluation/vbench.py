"""Three dimensions of VBench, computed by its own package from weights that the user has; nothing is downloaded.

VBench 0.1 has one module a dimension with ``compute_DIMENSION(json, device, submodules)``. Its own ``evaluate`` fetches
weights from the network; here the same functions are called with the user's files. DINO comes through ``torch.hub``
from a local copy of facebookresearch/dino, whose weights it looks for in ``FOLDER/checkpoints``.
"""

import json
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from diagplan.planner.errors import DocumentError, MissingExtraError

__all__ = ["DIMENSIONS", "require_weights", "vbench_scores"]

#: The dimensions that the Diagonal Decoding paper reports.
DIMENSIONS = ("subject_consistency", "imaging_quality", "dynamic_degree")

#: What each dimension reads in the folder of weights, and where its publisher has it.
_FILES = {
    "subject_consistency": (
        ("facebookresearch_dino_main/hubconf.py", "a clone of github.com/facebookresearch/dino"),
        ("checkpoints/dino_vitbase16_pretrain.pth", "dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain"),
    ),
    "imaging_quality": (("musiq_spaq_ckpt-358bb6af.pth", "github.com/chaofengc/IQA-PyTorch, release v0.1-weights"),),
    "dynamic_degree": (("raft-things.pth", "models.zip of github.com/princeton-vl/RAFT"),),
}


def require_weights(folder: str | Path, dimensions: Sequence[str] = DIMENSIONS) -> None:
    """Raise ``DocumentError`` where a file is missing, ``MissingExtraError`` where VBench is not installed.

    Raises:
        DocumentError: weights that are needed; the message names the first file and its publisher.
        MissingExtraError: the package vbench is not installed.
    """
    for dimension in dimensions:
        for name, source in _FILES[dimension]:
            if not (Path(folder) / name).is_file():
                raise DocumentError(
                    f"weights needed: {Path(folder) / name}, for VBench's {dimension}. Its publisher: {source}."
                )
    _module("vbench")


def vbench_scores(
    videos: Sequence[Path], weights: str | Path, *, dimensions: Sequence[str] = DIMENSIONS, device: str = "cuda"
) -> dict[str, float]:
    """VBench's score of some videos for each dimension; all its scores grow with quality, dynamic degree with motion.

    Args:
        videos: files, .mp4.
        weights: the folder with the files of ``require_weights``.
        dimensions: of ``DIMENSIONS``.
        device: VBench's own code asks for a GPU in places.

    Raises:
        DocumentError, MissingExtraError: as ``require_weights``.
    """
    require_weights(weights, dimensions)
    folder = Path(weights).resolve()
    submodules: dict[str, Any] = {
        "subject_consistency": {
            "repo_or_dir": str(folder / "facebookresearch_dino_main"),
            "path": str(folder / "checkpoints" / "dino_vitbase16_pretrain.pth"),
            "model": "dino_vitb16",
            "source": "local",
            "read_frame": False,
        },
        "imaging_quality": {"model_path": str(folder / "musiq_spaq_ckpt-358bb6af.pth")},
        "dynamic_degree": {"model": str(folder / "raft-things.pth")},
    }
    entries = [{"prompt_en": path.stem, "dimension": list(dimensions), "video_list": [str(path)]} for path in videos]
    hub: Any = import_module("torch.hub")
    before, scores = hub.get_dir(), {}
    with tempfile.TemporaryDirectory() as place:
        about = Path(place) / "videos.json"
        about.write_text(json.dumps(entries), encoding="utf-8")
        hub.set_dir(str(folder))
        try:
            for dimension in dimensions:
                compute = getattr(_module(f"vbench.{dimension}"), f"compute_{dimension}")
                score, _ = compute(str(about), device, submodules[dimension])
                scores[dimension] = float(score)
        finally:
            hub.set_dir(before)
    return scores


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"expected the package vbench, got {error}. Install it: pip install vbench. It has old requirements of its "
            "own: give it an environment of its own too."
        ) from None
