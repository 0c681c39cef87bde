"""Records: a clip with one is whole, and what it was made from is told."""

from pathlib import Path

import pytest

from diagplan.batch.records import finished, folder_of, place_of, read_record, write_record

MADE_FROM = {"seed": 3, "inputs": {"video": "abc"}}


def written(out: Path) -> Path:
    folder_of(out, "a").mkdir(parents=True)
    place_of(out, "a", ".npy").write_bytes(b"tokens")
    write_record(out, "a", MADE_FROM, {"frames": 2}, [".npy"])
    return place_of(out, "a", ".json")


def test_a_clip_is_finished_when_all_is_as_it_was(tmp_path: Path) -> None:
    assert read_record(tmp_path, "a") is None
    written(tmp_path)
    record = read_record(tmp_path, "a")
    assert record is not None
    assert record["frames"] == 2
    assert finished(tmp_path, "a", record, MADE_FROM)
    assert not finished(tmp_path, "a", record, MADE_FROM | {"seed": 4})
    place_of(tmp_path, "a", ".npy").write_bytes(b"Tokens")
    assert not finished(tmp_path, "a", record, MADE_FROM)
    place_of(tmp_path, "a", ".npy").unlink()
    assert not finished(tmp_path, "a", record, MADE_FROM)


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '{"format": "diagplan-clip/0"}', "[" * 9999])
def test_what_is_no_record_is_none(tmp_path: Path, text: str) -> None:
    written(tmp_path).write_text(text)
    assert read_record(tmp_path, "a") is None
    assert not finished(tmp_path, "a", None, MADE_FROM)


def test_folders_are_spread_by_name(tmp_path: Path) -> None:
    folders = {folder_of(tmp_path, f"{number:09d}").name for number in range(2000)}
    assert len(folders) > 1000
    assert all(len(name) == 3 for name in folders)
