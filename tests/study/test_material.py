"""What a study is run on: pieces as frames, tokens, actions and moves."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("PIL")

from diagplan import NextToken
from diagplan.evaluation.clips import RULES, Rule, rule_for
from diagplan.planner.errors import DocumentError, SpecError
from diagplan.study.material import read_material
from tests.support.small_world import COLS, IDS, MOVES, ROWS, SmallTokenizer, small_world, write_moving_clip

WAY = ["right", "left", "left"]


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for name, seed in (("a", 0), ("b", 1)):
        write_moving_clip(tmp_path / f"{name}.mp4", WAY if name == "a" else WAY[::-1], seed=seed)
    return tmp_path


def test_pieces_are_the_clips_as_frames_tokens_and_actions(clips: Path) -> None:
    material = read_material(small_world(), clips, rule_for("context", context=4, count=2), seed=0)
    assert (material.layout.frames, material.given, material.window) == (3, 1, None)
    assert sorted(str(piece["name"]) for piece in material.pieces) == ["a.mp4", "b.mp4"]
    for number, piece in enumerate(material.pieces):
        way = WAY if piece["name"] == "a.mp4" else WAY[::-1]
        assert material.names[number] == tuple(way)
        assert material.actions[number].ravel().tolist() == [IDS[name] for name in way]
        assert material.moved[number].tolist() == [list(MOVES[name]) for name in way]
        np.testing.assert_array_equal(material.tokens[number], SmallTokenizer().encode(material.frames[number]))
    assert material.counted is not None
    assert material.counted.all()
    assert (material.rollout(NextToken()).cost().passes, len(material.rollout(NextToken()).windows)) == (
        3 * ROWS * COLS,
        1,
    )


def test_more_given_frames_leave_fewer_moves(clips: Path) -> None:
    rule = replace(rule_for("context", context=4, count=2), given=2)
    material = read_material(small_world(), clips, rule, seed=0)
    assert (material.layout.frames, material.given) == (2, 2)
    assert material.actions.shape == (2, 3, 1)
    assert material.moved.shape == (2, 2, 2)  # of the generated frames alone


def test_a_window_slides_where_a_piece_is_longer_than_the_context(tmp_path: Path) -> None:
    write_moving_clip(tmp_path / "a.mp4", WAY * 2)
    rule = Rule(frames=7, count=1, least_moves=0, about="")
    material = read_material(small_world(), tmp_path, rule, seed=0, keep=2)
    assert material.window is not None
    assert (material.layout.frames, material.window.prompt_frames) == (6, 2)
    windows = material.rollout(NextToken()).windows
    assert [(window.first, window.kept, window.frames) for window in windows] == [(0, 1, 3), (2, 2, 2), (4, 2, 1)]
    with pytest.raises(SpecError, match="prompt frames"):
        read_material(small_world(), tmp_path, replace(rule, given=5), seed=0, keep=2)


def test_a_digest_is_that_of_pieces_tokens_actions_and_moves(clips: Path) -> None:
    rule = rule_for("context", context=4, count=2)
    material = read_material(small_world(), clips, rule, seed=0)
    assert material.digest() == read_material(small_world(), clips, rule, seed=0).digest()
    others = [
        replace(material, pieces=material.pieces[::-1]),
        replace(material, tokens=material.tokens + 1),
        replace(material, actions=material.actions + 1),
        replace(material, moved=material.moved + 1),
    ]
    assert len({material.digest(), *(other.digest() for other in others)}) == 5


def test_worlds_without_words_judge_no_moves(clips: Path) -> None:
    rule = rule_for("context", context=4, count=2)
    material = read_material(small_world(words=None), clips, rule, seed=0)
    assert material.counted is None
    assert material.names[0] == ("action 1", "action 2", "action 3")
    assert not material.moved.any()
    assert read_material(small_world(map_rows=2), clips, rule, seed=0).counted is None


def test_too_few_actions_are_named(clips: Path) -> None:
    for path in clips.glob("*.jsonl"):
        path.write_text(path.read_text().splitlines()[0])
    with pytest.raises(DocumentError, match=r"expected 3 actions or more in .*\.jsonl, got 1\. Line i leads to"):
        read_material(small_world(words=None), clips, replace(RULES["context"], frames=4, count=1), seed=0)
