"""From options to a study."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagplan.planner.errors import DocumentError, SpecError
from diagplan.study import setup
from diagplan.study.setup import parse_tuned, set_up, settings_of
from diagplan.worlds import SHIPPED
from tests.support.small_world import SmallTokenizer, small_world


def test_tuned_models_by_label() -> None:
    assert parse_tuned(["a=x", "b=y=z"]) == {"a": Path("x"), "b": Path("y=z")}
    for wrong in (["a"], ["a="], ["a=x", "a=y"]):
        with pytest.raises(SpecError):
            parse_tuned(wrong)


def test_a_study_of_the_shipped_model(clips: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("diffusers")
    study = set_up("crafter-mini", clips, count=1, seed=3, batch=2, repeats=1)
    assert (len(study.material.frames), study.batch, study.repeats) == (1, 2, 1)
    assert study.truth is not None
    assert study.truth.shape[0] == study.material.layout.frames
    assert study.weights == {"base": folder_digest(SHIPPED["crafter-mini"])}
    assert study.bound("base") == {
        "weights": study.weights["base"], "judge": study.weights["base"], "clips": study.material.digest(),
        "rule": "context", "seed": 3, "given": 1, "frames": 7,
    }  # fmt: skip
    said = json.loads(json.dumps(settings_of(study)))
    assert (said["format"], said["model"], said["count"], said["tuned"]) == (
        "diagplan-study",
        study.worlds["base"].name,
        1,
        {},
    )
    assert said["pieces"] == list(study.material.pieces)
    tuned = replace(study, weights={**study.weights, "ft": "0" * 64})
    assert settings_of(tuned)["tuned"] == {"ft": "0" * 64}


def test_what_is_missing_is_said_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected a label"):
        set_up("none", tmp_path, tuned={"base": tmp_path})
    with pytest.raises(DocumentError, match=r"weights needed: .*none\.pt"):
        set_up("none", tmp_path, i3d=tmp_path / "none.pt")
    with pytest.raises(DocumentError, match=r"weights needed: .*hubconf\.py"):
        set_up("none", tmp_path, vbench=tmp_path)


@pytest.mark.parametrize(
    "change", [{"rows": 8}, {"block": 3}, {"words": None}, {"context_frames": 3}], ids=lambda change: next(iter(change))
)
def test_a_tuned_model_of_other_tokens_is_refused(change: dict[str, Any]) -> None:
    frames = np.zeros((1, 28, 36, 3), np.uint8)
    setup._require_same(small_world(), small_world(name="tuned", context_frames=5), "ft", frames)
    with pytest.raises(DocumentError, match=r"expected a fine-tuned small with its grid.*got other as ft"):
        setup._require_same(small_world(), small_world(name="other", **change), "ft", frames)


def test_a_tuned_model_of_another_tokenizer_is_refused() -> None:
    class Other(SmallTokenizer):
        def encode(self, frames: Any) -> Any:
            return super().encode(frames) + 1

    with pytest.raises(DocumentError, match="One judge can only score the same tokens"):
        setup._require_same(small_world(), small_world(tokenizer=Other()), "ft", np.zeros((1, 28, 36, 3), np.uint8))


def folder_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in ("model.safetensors", "config.json", "world.json", "tokenizer/diffusion_pytorch_model.safetensors"):
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()
