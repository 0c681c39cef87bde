"""The picture of a whole plan: its title, its lines, its labels."""

import itertools

import numpy as np

from diagplan.drawing.pictures import plan_scene
from diagplan.drawing.scene import Rect, Text
from diagplan.planner.compiler import compile_plan
from diagplan.planner.layout import Layout
from diagplan.planner.policy import Policies
from diagplan.planner.schedule import Imported
from tests.support.pictured import compiled


def test_crowded_lines_are_labelled_sparsely() -> None:
    labels = [item for item in plan_scene(compiled("crowded")).items if isinstance(item, Rect) and item.height == 12]
    assert 1 <= len(labels) < 5
    for a, b in itertools.combinations(labels, 2):
        assert abs(a.y - b.y) > 16 or a.x > b.x + b.width or b.x > a.x + a.width


def test_a_title_says_what_the_plan_saves() -> None:
    words = [item.text for item in plan_scene(compiled("cosmos")).items if isinstance(item, Text)]
    assert words[0] == "3 frames of 40 x 64 tokens in 162 steps instead of 7680"
    assert words[1] == "Diagonal decoding, k=2 d=10: 47.4 times fewer passes than one token at a time"
    assert "given: 2 prompt frames" in words
    assert "Tokens fed in each forward pass: 96 at most, 48.1 on average; the prompt's 5119 not counted" in words


def test_an_order_without_a_front_has_no_lines() -> None:
    order = np.random.default_rng(1).permutation(64 * 64).reshape(64, 64) // 8
    plan = compile_plan(
        Layout(frames=1, rows=64, cols=64, prompt_frames=1),
        Imported(steps=order, label="random"),
        Policies(proxy="prompt"),
    )
    words = [item.text for item in plan_scene(plan).items if isinstance(item, Text)]
    assert not [text for text in words if text.startswith("a line")]
    assert words[1].startswith("Order random: ")
