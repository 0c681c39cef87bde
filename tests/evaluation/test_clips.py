"""Which pieces of a folder of videos are chosen."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")

from diagplan.evaluation.clips import RULES, Piece, choose_pieces, list_videos, rule_for
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.video.files import VideoWriter, frame_rate


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos of 11, 23 and 37 frames, whose brightness says the frame's number."""
    place = tmp_path_factory.mktemp("videos")
    for name, length in (("a", 11), ("b", 23), ("c", 37)):
        with VideoWriter(place / f"{name}.mp4", fps=30, exact=True) as video:
            for number in range(length):
                video.add(np.full((16, 16, 3), 5 * number, np.uint8))
    (place / "b.jsonl").touch()
    (place / "notes.txt").touch()
    return place


def about(pieces: list[Piece]) -> list[tuple[str, list[int]]]:
    return [(piece.path.name, piece.numbers.tolist()) for piece in pieces]


def test_a_seed_decides_and_more_pieces_begin_with_fewer(folder: Path) -> None:
    videos = list_videos(folder)
    assert [path.name for path in videos] == ["a.mp4", "b.mp4", "c.mp4"]
    five, two = (choose_pieces(videos, rule_for("context", context=7, count=n), seed=3) for n in (5, 2))
    assert about(five)[:2] == about(two)
    assert about(five) == about(choose_pieces(videos[::-1], rule_for("context", context=7, count=5), seed=3))
    chosen = {str(about(choose_pieces(videos, rule_for("context", context=7, count=2), seed=i))) for i in range(6)}
    assert len(chosen) > 1


def test_every_video_once_before_any_twice_and_nothing_overlaps(folder: Path) -> None:
    pieces = choose_pieces(list_videos(folder), rule_for("context", context=7, count=100), seed=0)
    names = [piece.path.name for piece in pieces]
    assert sorted(names[:3]) == ["a.mp4", "b.mp4", "c.mp4"]
    assert {name: names.count(name) for name in names} == {"a.mp4": 1, "b.mp4": 3, "c.mp4": 5}
    for name in set(names):
        numbers = np.concatenate([piece.numbers for piece in pieces if piece.path.name == name])
        assert len(set(numbers.tolist())) == len(numbers)


def test_a_piece_holds_the_frames_it_names(folder: Path) -> None:
    piece = choose_pieces(list_videos(folder), rule_for("context", context=7, count=1), seed=0)[0]
    np.testing.assert_allclose(piece.frames.mean((1, 2, 3)), 5 * piece.numbers, atol=3)
    digest = hashlib.sha256(piece.path.read_bytes()).hexdigest()
    expected = {"name": piece.path.name, "first": int(piece.numbers[0]), "every": 1, "sha256": digest}
    assert piece.as_dict() == expected


def test_pieces_without_enough_motion_are_passed_over(folder: Path) -> None:
    rule = rule_for("context", context=7, count=100)
    moves = {"a.mp4": 2, "b.mp4": 3, "c.mp4": None}
    pieces = choose_pieces(list_videos(folder), rule, seed=0, moves=lambda path, _: moves[path.name])
    assert {piece.path.name for piece in pieces} == {"b.mp4", "c.mp4"}
    with pytest.raises(DocumentError, match="at least 7 frames with 3 moves, got none in 3 files"):
        choose_pieces(list_videos(folder), rule, seed=0, moves=lambda _path, _numbers: 0)


def test_frames_are_thinned_out_to_a_rate(folder: Path) -> None:
    assert frame_rate(folder / "a.mp4") == 30
    rule = rule_for("wham", context=200, count=1)
    piece = choose_pieces([folder / "c.mp4"], replace(rule, frames=10), seed=0)[0]
    assert set(np.diff(piece.numbers)) == {3}
    assert piece.as_dict()["every"] == 3
    with pytest.raises(DocumentError, match="cannot be left out"):
        choose_pieces([folder / "c.mp4"], replace(rule, frames=10), seed=0, actions=True)
    with pytest.raises(DocumentError, match="thinned out to 20 a second"):
        choose_pieces([folder / "c.mp4"], replace(rule, frames=10, fps=20), seed=0)


def test_presets_are_the_papers() -> None:
    for name in ("realestate10k", "bridgev2", "bdd100k"):
        assert (RULES[name].count, RULES[name].frames, RULES[name].given) == (100, 33, 9)
        assert (RULES[f"{name}-1"].count, RULES[f"{name}-1"].frames, RULES[f"{name}-1"].given) == (100, 33, 1)
    assert (RULES["vpt"].frames, RULES["vpt"].given) == (16, 1)
    assert (RULES["wham"].frames, RULES["wham"].given, RULES["wham"].fps) == (110, 10, 10)


def test_what_cannot_be_chosen(folder: Path, tmp_path: Path) -> None:
    assert list_videos(folder, actions=True) == [folder / "b.mp4"]
    with pytest.raises(DocumentError, match="expected videos in"):
        list_videos(tmp_path)
    with pytest.raises(SpecError, match="a rule out of"):
        rule_for("nothing", context=8)
    with pytest.raises(SpecError, match="at most 8 frames, the model's context, got vpt with 16"):
        rule_for("vpt", context=8, count=3)
    with pytest.raises(SpecError, match="Give --count"):
        rule_for("vpt", context=16)
    with pytest.raises(DocumentError, match="at least 40 frames with 3 moves, got none"):
        choose_pieces(list_videos(folder), rule_for("context", context=40, count=1), seed=0)
