"""The judge: a teacher-forced loss, whatever plan generated the tokens."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan.study.judge import generated_loss
from diagplan.study.material import Material
from diagplan.study.world_report import Windows, teacher_forced
from diagplan.worlds import World


def test_the_judge_is_the_teacher_forced_loss(world: World, material: Material) -> None:
    windows = Windows(frames=material.frames, tokens=material.tokens, actions=material.actions, moved=material.moved)
    loss = generated_loss(
        world.model, material.layout, material.tokens[:, :1], material.actions, material.tokens[:, 1:], batch=1
    )
    assert loss.shape == (2, 7)
    assert loss.mean() == pytest.approx(teacher_forced(world, windows)["loss"], rel=1e-5)


def test_the_judge_sees_given_frames_and_actions(world: World, material: Material) -> None:
    layout = world.layout(5, 3)
    given = (material.tokens[:, :3], material.actions, material.tokens[:, 3:])
    loss = generated_loss(world.model, layout, *given)
    whole = generated_loss(
        world.model, material.layout, material.tokens[:, :1], material.actions, material.tokens[:, 1:]
    )
    np.testing.assert_allclose(loss, whole[:, 2:], rtol=1e-4)
    assert not np.allclose(loss, generated_loss(world.model, layout, given[0], given[1][:, ::-1], given[2]))
