"""Prompts from a file: a line each, or JSON lines."""

import json
from pathlib import Path

from diagplan.planner.errors import DocumentError
from diagplan.planner.shown import shown
from diagplan.schemas.files import read_bytes

__all__ = ["read_prompts"]

#: Bytes of a file, and prompts in it.
_BYTES, _MOST = 1 << 24, 100_000


def read_prompts(path: str | Path) -> list[str]:
    """The prompts of a file.

    Args:
        path: ``.jsonl``: a line each of ``{"prompt": "..."}`` or a text in quotes; any other: a line of text each.
            Empty lines are left out.

    Raises:
        DocumentError: the file cannot be read, holds something else, or no prompt.
    """
    path = Path(path)
    try:
        lines = read_bytes(path, _BYTES).decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise DocumentError(f"expected prompts as UTF-8 text in {path}, got other bytes. Save it as UTF-8.") from None
    written = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    texts = [_of_json(path, number, line) if path.suffix == ".jsonl" else line.strip() for number, line in written]
    if not texts:
        raise DocumentError(f"expected a prompt at least in {path}, got none. Write one a line.")
    if len(texts) > _MOST:
        raise DocumentError(f"expected at most {_MOST} prompts in {path}, got {len(texts)}. Cut the file.")
    return texts


def _of_json(path: Path, number: int, line: str) -> str:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DocumentError(
            f"expected JSON in line {number} of {path}, got {str(error)[:80]}. A line is an object or a text in quotes."
        ) from None
    if isinstance(value, dict):
        unknown = [name for name in value if name != "prompt"]
        if unknown:
            raise DocumentError(
                f"expected prompt alone in line {number} of {path}, got the key {shown(unknown[0])} too. Remove it."
            )
        value = value.get("prompt")
    if not isinstance(value, str) or not value.strip():
        raise DocumentError(f"expected a prompt as text in line {number} of {path}, got {shown(value)}. Write one.")
    return value
