"""The judges of damaged files, by kind: each damages files by their structure and hands them to diagplan's own readers.

A file that is refused is refused by a ``DiagplanError``. Of one that is accepted, what can be compared is: with another
reader of the same bytes, with the file before it was damaged, or with what the file says of itself.
"""

from collections.abc import Mapping

from tests.search import arrays, models, pickles, settings, videos, weights
from tests.search.guard import Judge

__all__ = ["JUDGES"]

JUDGES: Mapping[str, Judge] = {
    "orders as .npy": arrays.order_npy,
    "orders as JSON": arrays.order_json,
    "token ids": arrays.ids,
    "safetensors": weights.safetensors,
    "shards": weights.shards,
    "converted WHAM": weights.wham_safetensors,
    "torch checkpoints": pickles.pickles,
    "checkpoints of a training": pickles.training_checkpoint,
    "MC-AR configs": settings.mc_ar_json,
    "MC-AR YAML": settings.mc_ar_yaml,
    "Cosmos configs": settings.cosmos_json,
    "WHAM configs": settings.wham_json,
    "world.json": settings.world_json,
    "recorded actions": settings.lines,
    "records of a training": settings.training,
    "records of a study": settings.study,
    "kept tokens": settings.tokens_npz,
    "ONNX exports": models.exports,
    "checkpoints of a replay": models.checkpoint,
    "videos": videos.videos,
}
