"""Conditions, labels and the judge of a study; on the shipped model and two clips."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")
pytest.importorskip("matplotlib")

from diagplan import Layout, compile_plan, verify
from diagplan.evaluation.clips import rule_for
from diagplan.planner.errors import SpecError
from diagplan.study.conditions import all_conditions, require_labels, select
from diagplan.study.judge import generated_loss
from diagplan.study.material import Material, read_material
from diagplan.study.setup import parse_tuned
from diagplan.study.world_report import Windows, teacher_forced
from diagplan.worlds import World
from tests.support.clips import write_two_clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_two_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def material(world: World, clips: Path) -> Material:
    return read_material(world, clips, rule_for("context", context=8, count=2), seed=0)


# Conditions


def test_the_conditions_are_those_of_the_study() -> None:
    every = all_conditions(9, 12, ["tuned"])
    ids = [condition.id for condition in every]
    assert len(set(ids)) == len(ids) == 2 * 18 + 40
    assert {"base/ntp", "tuned/ntp", "base/k=1", "base/k=2", "base/k=4", "base/k=1,d=9"} <= set(ids)
    assert {"base/zipar-w=2", "base/zipar-release-w=2", "policies/above,keep,visible,causal"} <= set(ids)
    assert len({condition.policies for condition in every if condition.group == "policies"}) == 5 * 2 * 2 * 2


def test_every_condition_is_a_valid_plan() -> None:
    layout = Layout(frames=2, rows=3, cols=5, prompt_frames=1, between_frames=2)
    for condition in all_conditions(3, 5):
        report = verify(compile_plan(layout, condition.schedule, condition.policies))
        assert report.ok, condition.id


def test_what_is_chosen_brings_what_it_is_compared_with() -> None:
    every = all_conditions(9, 12, ["tuned"])
    assert [c.id for c in select(every, ["tuned/k=2"])] == ["base/ntp", "tuned/ntp", "tuned/k=2"]
    assert next(c.id for c in select(every, ["policies/above,keep,*"])) == "base/ntp"
    assert len(select(every)) == len(every)
    with pytest.raises(SpecError, match="expected --only to name conditions"):
        select(every, ["k=2"])


@pytest.mark.parametrize("label", ["", "base", "policies", "a/b", "..", "x" * 61, "ü"])
def test_labels_are_file_names(label: str) -> None:
    with pytest.raises(SpecError, match="expected a label"):
        require_labels([label])


def test_tuned_models_by_label() -> None:
    assert parse_tuned(["a=x", "b=y=z"]) == {"a": Path("x"), "b": Path("y=z")}
    for wrong in (["a"], ["a="], ["a=x", "a=y"]):
        with pytest.raises(SpecError):
            parse_tuned(wrong)


# Judge


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
