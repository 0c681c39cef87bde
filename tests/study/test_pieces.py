"""Pieces as tokens and as pictures, of a tokenizer of frames and of one of clips."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("av")

from diagplan.study.pieces import by_token_frame, given_ids, made_frames, piece_tokens, pixel_frames
from diagplan.worlds.clip_world import ClipWorld
from tests.support.cosmos_world import cosmos_world, write_cosmos_world
from tests.support.small_world import SmallTokenizer, small_world


@pytest.fixture(scope="module")
def cosmos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cosmos_world(tmp_path_factory.mktemp("cosmos"))


def frames(world: ClipWorld, count: int) -> np.ndarray:
    """Two pieces in plain squares."""
    draw = np.random.default_rng(0).integers(0, 256, (2, count, world.rows, world.cols, 3)).astype(np.uint8)
    return draw.repeat(16, 2).repeat(16, 3)


def test_clips_are_encoded_whole_but_for_the_prompt(cosmos: Path) -> None:
    world = cosmos_world(cosmos)
    videos = frames(world, 33)
    for given, first in ((1, 1), (9, 2)):
        tokens = piece_tokens(world, videos, given)
        assert tokens.shape == (2, 5, 3, 4)
        for piece, video in zip(tokens, videos, strict=True):
            np.testing.assert_array_equal(piece[:first], world.encode(video[:given]))
            np.testing.assert_array_equal(piece[first:], world.tokenizer.encode(video)[first:])
        made = made_frames(world, tokens[:, :first], tokens[:, first:])
        assert made.shape == (2, 33 - given, 48, 64, 3)
        np.testing.assert_array_equal(made[1], world.tokenizer.decode(tokens[1])[given:])


def test_given_frames_are_encoded_without_those_after_them(cosmos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in of the tokenizer looks at no later frame, so only a mark tells."""
    world = cosmos_world(cosmos)
    monkeypatch.setattr(world.tokenizer, "encode_prompt", lambda given: np.full((1, 3, 4), len(given)))
    tokens = piece_tokens(world, frames(world, 33), 1)
    assert (tokens[:, 0] == 1).all()


def test_a_text_stands_before_the_prompt(cosmos: Path) -> None:
    for model, lead in (("base", 0), ("text", 1)):
        world = cosmos_world(cosmos, model, **({"context": cosmos / "text.npy"} if lead else {}))
        layout = world.layout(32, 1)
        prompt = np.arange(24).reshape(2, 1, 3, 4)
        ids = given_ids(world, layout, prompt, np.zeros((2, 4, 0), np.int64))
        assert ids.shape == (2, layout.lead + 12)
        assert layout.lead == lead
        assert ids[1, lead:].tolist() == list(range(12, 24))


def test_frames_one_by_one() -> None:
    world = small_world()
    tokens = np.random.default_rng(0).integers(0, 32, (2, 4, world.rows, world.cols))
    made = made_frames(world, tokens[:, :1], tokens[:, 1:])
    assert made.shape == (2, 3, 28, 36, 3)
    np.testing.assert_array_equal(made[0], SmallTokenizer().decode(tokens[0, 1:]))
    np.testing.assert_array_equal(piece_tokens(world, made, 1), tokens[:, 1:])
    layout = world.layout(3, 1)
    assert given_ids(world, layout, tokens[:, :1], np.full((2, 3, 1), 70)).shape == (2, 63 + 3)


def test_frames_of_pixels_and_of_tokens() -> None:
    assert [pixel_frames(33, 5, first) for first in (1, 2, 5)] == [1, 9, 33]
    assert [pixel_frames(8, 8, first) for first in (1, 3)] == [1, 3]
    np.testing.assert_array_equal(by_token_frame(np.arange(16.0).reshape(1, 16), 2), [[3.5, 11.5]])
    same = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(by_token_frame(same, 3), same)
