"""What a study of pictures is bound to, and its plans by name."""

from typing import Any

import pytest

pytest.importorskip("transformers")

from diagplan.images.job import ImageJob
from diagplan.images.paint import request_of
from diagplan.planner.errors import SpecError
from diagplan.study.image_run import image_conditions, portions, set_up_images, settings_of_images
from tests.support.image_folders import folder_of


def job(texts: Any = "a cat", **options: Any) -> ImageJob:
    """Of a tiny Janus-Pro."""
    return ImageJob(folder_of("janus-pro"), request_of(texts), **options)


def test_next_token_prediction_comes_first() -> None:
    conditions = image_conditions(job(), "k=2, next-token")
    assert [one.id for one in conditions] == ["images/ntp", "images/k=2"]
    assert [one.plans[0].steps for one in conditions] == [36, 16]
    with pytest.raises(SpecError, match="expected different plans, got 'ntp' twice"):
        image_conditions(job(), ["ntp", "next-token"])


def test_what_changes_a_figure_changes_the_settings() -> None:
    usual = set_up_images(job(), prompts=1, num=1).settings
    assert set_up_images(job(), prompts=1, num=1).settings == usual
    changed: dict[str, Any] = {
        "prompts": set_up_images(job("a dog"), prompts=1, num=1),
        "seed": set_up_images(job(seed=1), prompts=1, num=1),
        "guidance": set_up_images(job(guidance=2.0), prompts=1, num=1),
    }
    for name, study in changed.items():
        assert [key for key in usual if study.settings[key] != usual[key]] == [name]
    about = settings_of_images(set_up_images(job(), prompts=1, num=1))
    assert (about["family"], about["rows"], about["cols"], about["count"]) == ("janus-pro", 6, 6, 1)
    assert about["weights"] == usual["weights"]
    assert len(usual["weights"]) == 64


def test_portions() -> None:
    assert portions(3) == [range(3)]
    assert portions(130) == [range(64), range(64, 128), range(128, 130)]
