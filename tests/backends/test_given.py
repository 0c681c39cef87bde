"""The given ids: laid out from a prompt and actions slot by slot, or refused."""

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given as given_examples
from hypothesis import strategies as st

from diagplan import Layout
from diagplan.backends.errors import MismatchError
from diagplan.backends.given import batched, given_from_prompt, given_slots, known_ids, on_host, plan_given_slots
from diagplan.planner.plan import Plan
from tests.support.strategies import Request, layouts, plans

LAYOUT = Layout(frames=2, rows=2, cols=3, prompt_frames=2, between_frames=4)
PROMPT = np.arange(12).reshape(2, 2, 3)
ACTIONS = 100 + np.arange(12).reshape(3, 4)


@given_examples(layout=layouts(frames=4, side=4))
def test_given_slots_are_those_of_no_generated_cell(layout: Layout) -> None:
    slots = given_slots(layout)
    assert slots.dtype == np.int64
    assert slots.tolist() == sorted(set(range(layout.positions)) - set(layout.cell_slots().ravel().tolist()))


@given_examples(
    frames=st.integers(1, 3), prompts=st.integers(1, 3), rows=st.integers(1, 3), cols=st.integers(1, 3),
    between=st.integers(0, 3), batch=st.sampled_from([(None, None), (1, 3), (3, 1), (2, 2), (2, None), (None, 2)]),
)  # fmt: skip
def test_a_prompt_and_actions_slot_by_slot(
    frames: int, prompts: int, rows: int, cols: int, between: int, batch: tuple[int | None, int | None]
) -> None:
    """Walk the sequence: a frame, then a block, and so on; the layout ends with its last cell."""
    layout = Layout(frames=frames, rows=rows, cols=cols, prompt_frames=prompts, between_frames=between)
    rng = np.random.default_rng(0)
    front, behind = (() if size is None else (size,) for size in batch)
    prompt = rng.integers(0, 1000, (*front, prompts, rows, cols))
    gaps = prompts + frames - 1
    actions = rng.integers(1000, 2000, (*behind, gaps, between))
    ids = given_from_prompt(layout, prompt, actions if between else None)
    samples = max(batch[0] or 1, (batch[1] or 1) if between else 1)
    assert ids.shape == (samples, len(given_slots(layout)))
    for sample in range(samples):
        own = prompt if prompt.ndim == 3 else prompt[sample % len(prompt)]
        blocks = actions if actions.ndim == 2 else actions[sample % len(actions)]
        expected: list[int] = []
        for frame in range(prompts + frames):
            if frame < prompts:
                expected += own[frame].ravel().tolist()
            if frame < gaps:
                expected += blocks[frame].tolist()
        assert ids[sample].tolist() == expected


@pytest.mark.parametrize(
    ("prompt", "actions", "words"),
    [
        (PROMPT[:1], ACTIONS, "expected prompt of shape [2, 2, 3], or with a batch axis in front, got [1, 2, 3]."),
        (PROMPT.astype(float), ACTIONS, "expected prompt to hold integers, got dtype float64. Save token ids."),
        ([[1], [1, 2]], ACTIONS, "expected prompt to hold integers, got a ragged list. Save token ids."),
        (np.full((2, 2, 3), 2**63, np.uint64), ACTIONS, "expected prompt below 2**63, got 9223372036854775808. Save"),
        (PROMPT, None, "expected actions of shape [3, 4], got none. Give the actions."),
        (PROMPT, ACTIONS[:2], "expected actions of shape [3, 4], or with a batch axis in front, got [2, 4]."),
        (np.stack([PROMPT] * 2), np.stack([ACTIONS] * 3), "expected as many prompts as actions, got 2 prompts and 3"),
        (PROMPT[None][:0], ACTIONS, "expected prompt of shape [2, 2, 3], or with a batch axis in front, got [0, 2"),
    ],
)
def test_what_does_not_fit(prompt: Any, actions: Any, words: str) -> None:
    with pytest.raises(MismatchError, match=f"^{re.escape(words)}"):
        given_from_prompt(LAYOUT, prompt, actions)


def test_layouts_that_need_more_than_a_prompt() -> None:
    for options, said in (({"lead": 2}, "lead=2"), ({"between_rows": 1}, "between_rows=1")):
        layout = Layout(frames=1, rows=2, cols=3, prompt_frames=1, **options)
        with pytest.raises(MismatchError, match=f"expected a layout of frames and actions only, got .*{said}"):
            given_from_prompt(layout, PROMPT[:1])
    bare = Layout(frames=1, rows=2, cols=3, prompt_frames=1)
    with pytest.raises(MismatchError, match="expected no actions: the layout has nothing between frames"):
        given_from_prompt(bare, PROMPT[:1], ACTIONS)


def test_a_batch_axis_is_put_in_front() -> None:
    ids = np.arange(3, dtype=np.int16)
    made = batched("given", ids, (3,))
    assert made.shape == (1, 3)
    assert made.dtype == np.int64
    assert batched("given", np.stack([ids] * 4), (3,)).shape == (4, 3)


@given_examples(drawn=plans(frames=2, side=4))
def test_a_plan_says_which_slots_are_given(drawn: tuple[Request, Plan]) -> None:
    plan = drawn[1]
    np.testing.assert_array_equal(plan_given_slots(plan), given_slots(plan.layout))
    assert plan_given_slots(plan).dtype == np.int64


class OnADevice:
    """A tensor of a GPU, as far as NumPy sees it."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("can't convert a device's tensor to numpy")

    def cpu(self) -> np.ndarray:
        return self._array


def test_ids_on_a_device_are_fetched() -> None:
    ids = np.arange(6)
    np.testing.assert_array_equal(on_host(OnADevice(ids)), ids)
    np.testing.assert_array_equal(batched("prompt", OnADevice(ids), (6,)), ids[None])  # type: ignore[arg-type]
    np.testing.assert_array_equal(known_ids(OnADevice(ids), SimpleNamespace(vocab_size=6)), ids)
