"""The object of a JSON file that others wrote, such as a model's config.json: bounded, and one kind of error."""

import json
from pathlib import Path
from typing import Any

from diagplan.planner.errors import DocumentError
from diagplan.planner.shown import shown
from diagplan.schemas.files import read_bytes

__all__ = ["read_json_object"]

#: Bytes of a file that is read: Emu3's config.json, with its vocabulary, takes 10 MB.
_MOST = 64 << 20


def read_json_object(path: Path, most: int = _MOST) -> dict[str, Any]:
    """The object of a JSON file.

    Args:
        path: the file.
        most: bytes of it.

    Raises:
        DocumentError: it cannot be read, is longer, or holds something else.
    """
    data = read_bytes(path, most)
    try:
        held = json.loads(data)
        if not isinstance(held, dict):
            raise ValueError(f"it holds {shown(held)}")
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DocumentError(f"expected a JSON object, got {path}, which is not ({reason}). Fetch it again.") from None
    return held
