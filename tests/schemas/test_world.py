"""world.json: what it must say, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from diagplan.planner.errors import DocumentError
from diagplan.schemas.world import WorldDocument, read_world_document

PLAN: dict[str, Any] = {
    "schedule": "diagonal",
    "k": 1,
    "d": None,
    "proxy": "previous-frame",
    "row_end": "refresh",
    "proxy_kv": "hidden",
    "visibility": "written",
}
WORLD: dict[str, Any] = {
    "version": 1,
    "name": "crafter-mini",
    "game": "crafter",
    "rows": 9,
    "cols": 9,
    "context_frames": 8,
    "fps": 8,
    "map_rows": 7,
    "actions": {"begin": 100, "end": 101, "ids": {"left": 102, "right": 103}, "opposites": {"left": "right"}},
    "tuned": {"base": "crafter-mini", "steps": 10, "ntp_share": 0.5, "plans": [PLAN]},
}


def read(folder: Path, **changes: Any) -> WorldDocument:
    """The document with some fields changed; ``...`` leaves a field out."""
    path = folder / "world.json"
    path.write_text(json.dumps({name: value for name, value in (WORLD | changes).items() if value is not ...}))
    return read_world_document(path)


def test_a_document_comes_back_from_its_file(tmp_path: Path) -> None:
    document = read(tmp_path)
    assert document.actions.ids == {"left": 102, "right": 103}
    assert document.tuned is not None
    assert document.tuned.plans[0].k == 1
    (tmp_path / "again.json").write_text(document.model_dump_json())
    assert read_world_document(tmp_path / "again.json") == document


def test_what_may_be_left_out(tmp_path: Path) -> None:
    document = read(tmp_path, map_rows=..., tuned=..., actions={"begin": 1, "end": 2, "ids": {"noop": 3}})
    assert (document.map_rows, document.tuned, document.actions.opposites) == (None, None, {})


ACTIONS: dict[str, Any] = WORLD["actions"]
TUNED: dict[str, Any] = WORLD["tuned"]


@pytest.mark.parametrize(
    ("changes", "at"),
    [
        ({"surplus": 1}, "surplus: Extra inputs are not permitted"),
        ({"version": 2}, "version: Input should be 1"),
        ({"name": ...}, "name: Field required"),
        ({"rows": 9.0}, "rows: Input should be a valid integer"),
        ({"rows": 0}, "rows: Input should be greater than or equal to 1"),
        ({"context_frames": 1}, "context_frames: Input should be greater than or equal to 2"),
        ({"fps": 241}, "fps: Input should be less than or equal to 240"),
        ({"map_rows": 10}, "the top: Value error, map_rows must be at most rows"),
        ({"actions": ACTIONS | {"ids": {}}}, "actions.ids: Dictionary should have at least 1 item after validation"),
        ({"actions": ACTIONS | {"end": 100}}, "actions: Value error, ids must differ from each other"),
        ({"actions": ACTIONS | {"ids": {"left": 7, "right": 7}}}, "actions: Value error, ids must differ from"),
        ({"actions": ACTIONS | {"opposites": {"left": "up"}}}, "actions: Value error, opposites must be actions"),
        ({"actions": ACTIONS | {"opposites": {"up": "left"}}}, "actions: Value error, opposites must be actions"),
        ({"tuned": TUNED | {"ntp_share": 1.5}}, "tuned.ntp_share: Input should be less than or equal to 1"),
        ({"tuned": TUNED | {"plans": []}}, "tuned.plans: Tuple should have at least 1 item after validation, not 0"),
        ({"tuned": TUNED | {"plans": [PLAN | {"schedule": "spiral"}]}}, "tuned.plans.0.schedule: Input should be '"),
    ],
)
def test_another_document_is_refused(tmp_path: Path, changes: dict[str, Any], at: str) -> None:
    message = f"expected a world.json, got {tmp_path / 'world.json'} with {at}"
    with pytest.raises(DocumentError, match=f"^{re.escape(message)}.*\\.$"):
        read(tmp_path, **changes)


def test_a_map_may_fill_the_frame(tmp_path: Path) -> None:
    assert read(tmp_path, map_rows=9).map_rows == 9


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    message = f"cannot read {path}: No such file or directory. Is it the folder of a world model?"
    with pytest.raises(DocumentError, match=f"^{re.escape(message)}$"):
        read_world_document(path)
    path.write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(DocumentError, match=re.escape(f"expected a world.json of at most 1 MiB, got {path}.")):
        read_world_document(path)
    path.write_bytes(json.dumps(WORLD).encode() + b" " * 1000)
    assert read_world_document(path).name == "crafter-mini"
