"""WHAM's actions: golden ids and bins, round trips, and what is refused."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from diagplan.adapters.wham import CONFIGS
from diagplan.adapters.wham_actions import (
    ACTION_IDS,
    BLOCK,
    FIRST_ACTION,
    bins_from_sticks,
    decode_actions,
    encode_actions,
    sticks_from_bins,
)
from diagplan.adapters.wham_recordings import read_clip
from diagplan.planner.errors import DocumentError, SpecError

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden/wham_actions.json").read_text())

ACTIONS = st.lists(
    st.tuples(*[st.integers(0, 1)] * 12, *[st.integers(0, 10)] * 4), min_size=1, max_size=5
)  # fmt: skip


def test_golden_bins() -> None:
    np.testing.assert_array_equal(bins_from_sticks(GOLDEN["raw_sticks"]), GOLDEN["stick_bins"])


def test_golden_ids() -> None:
    ids = encode_actions(GOLDEN["actions"])
    np.testing.assert_array_equal(ids, GOLDEN["global_tokens_with_16384_image_codes"])
    np.testing.assert_array_equal(ids - FIRST_ACTION, GOLDEN["local_tokens"])
    np.testing.assert_array_equal(decode_actions(ids), GOLDEN["decoded_back"])


def test_ids_are_the_models() -> None:
    ranges = CONFIGS["wham-200m"].action_ranges()
    assert [[low - FIRST_ACTION, high - 1 - FIRST_ACTION] for low, high in ranges] == GOLDEN["local_ranges"]
    assert (len(ranges), GOLDEN["vocab"]) == (BLOCK, ACTION_IDS)
    assert CONFIGS["wham-200m"].image_codes == FIRST_ACTION


@given(actions=ACTIONS)
def test_round_trip(actions: list[tuple[int, ...]]) -> None:
    ids = encode_actions(actions)
    np.testing.assert_array_equal(decode_actions(ids), actions)
    np.testing.assert_array_equal(encode_actions(np.array(actions, dtype=np.float32)), ids)
    for (low, high), column in zip(CONFIGS["wham-200m"].action_ranges(), ids.T, strict=True):
        assert ((low <= column) & (column < high)).all()


def test_bins_and_their_positions() -> None:
    bins = np.arange(11)
    np.testing.assert_array_equal(bins_from_sticks(sticks_from_bins(bins)), bins)
    np.testing.assert_allclose(sticks_from_bins(bins), -sticks_from_bins(bins)[::-1])
    assert bins_from_sticks([-7.0, 7.0, -0.0]).tolist() == [0, 10, 5]


@given(positions=st.lists(st.floats(-2, 2), min_size=2))
def test_bins_keep_the_order(positions: list[float]) -> None:
    bins = bins_from_sticks(sorted(positions))
    assert (np.diff(bins) >= 0).all()
    assert 0 <= bins.min() <= bins.max() <= 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ((3, 2), "expected 0 or 1 for button 3, got 2."),
        ((0, 0.5), "expected 0 or 1 for button 0, got 0.5."),
        ((12, 11), "expected a bin 0 to 10 for axis 0, got 11."),
        ((15, -1), "expected a bin 0 to 10 for axis 3, got -1."),
        ((15, float("nan")), "expected a bin 0 to 10 for axis 3, got nan."),
    ],
)
def test_wrong_actions(change: tuple[int, float], message: str) -> None:
    action = np.zeros((2, 16))
    action[1, change[0]] = change[1]
    with pytest.raises(SpecError, match=f"^{re.escape(message)}"):
        encode_actions(action)


def test_wrong_shapes_and_ids() -> None:
    for actions in (3, [1, 2], [["x"] * 16], [[1], [2, 3]]):
        with pytest.raises(SpecError, match=re.escape("expected actions as numbers [..., 16], got shape")):
            encode_actions(actions)
    with pytest.raises(SpecError, match=re.escape("expected ids of actions as integers [..., 16]")):
        decode_actions(np.zeros(16))
    ids = encode_actions(np.zeros(16))
    ids[4] = ids[5]
    with pytest.raises(SpecError, match="expected an id from 16392 to 16393 at place 4 of an action, got id=16394"):
        decode_actions(ids)
    with pytest.raises(SpecError, match="expected bins as integers from 0 to 10"):
        sticks_from_bins([11])
    for sticks in ([float("inf")], ["left"]):
        with pytest.raises(SpecError, match="expected stick positions as finite numbers"):
            bins_from_sticks(sticks)


def test_clips_of_the_sample_data(tmp_path: Path) -> None:
    path = tmp_path / "clip.npz"
    images = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    actions = np.array(GOLDEN["actions"][0][:2], dtype=np.float32)
    np.savez(path, images=images, actions=actions)
    frames, read = read_clip(path)
    np.testing.assert_array_equal(frames[1, 2, 3], images[1, :, 2, 3])
    np.testing.assert_array_equal(read, actions)
    whole = path.read_bytes()
    for cut in (0, 10, len(whole) // 2):
        path.write_bytes(whole[:cut])
        with pytest.raises(DocumentError, match=r"expected a \.npz with images and actions"):
            read_clip(path)
    np.savez(path, images=images, actions=actions[:1])
    with pytest.raises(DocumentError, match=r"and as many actions, got uint8 \[2, 3, 4, 5\] and \[1, 16\]"):
        read_clip(path)
    np.savez(path, images=images, actions=actions + 5)
    with pytest.raises(DocumentError, match="expected 0 or 1 for button 0, got 6"):
        read_clip(path)
    np.savez(path, images=np.array([{}], dtype=object), actions=actions)
    with pytest.raises(DocumentError, match=r"expected a \.npz with images and actions"):
        read_clip(path)
    np.save(tmp_path / "one.npy", images)
    with pytest.raises(DocumentError, match=r"expected a \.npz with images and actions"):
        read_clip(tmp_path / "one.npy")
