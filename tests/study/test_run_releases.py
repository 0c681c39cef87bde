"""The judge of a Cosmos model whose sequence begins with a text."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("skimage")

from diagplan.planner.schedule import NextToken
from diagplan.study.conditions import all_conditions
from diagplan.study.judge import rolled_loss
from diagplan.study.pieces import given_ids
from diagplan.study.results import StudyFolder
from diagplan.study.run import run_study
from diagplan.study.setup import set_up, settings_of
from diagplan.video.files import VideoWriter
from tests.support.cosmos_world import write_cosmos_world


def test_greedy_tokens_are_the_judge_s_own(tmp_path: Path) -> None:
    """What next-token prediction chose has the largest logit: every other id in its place has a larger loss."""
    files = write_cosmos_world(tmp_path)
    (tmp_path / "clips").mkdir()
    draw = np.random.default_rng(0)
    with VideoWriter(tmp_path / "clips" / "a.mp4", fps=25) as writer:
        for _ in range(33):
            writer.add(draw.integers(0, 256, (3, 4, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1))
    study = set_up(
        "cosmos", tmp_path / "clips", count=1, weights=files / "text.safetensors", config=files / "text.json",
        tokenizer=files / "tokenizer", context=files / "text.npy", repeats=1,
    )  # fmt: skip
    folder, world = StudyFolder(tmp_path / "out", settings_of(study)), study.worlds["base"]
    run_study(study, folder, all_conditions(3, 4)[:1])
    tokens, material = folder.read_tokens("base/ntp"), study.material

    def loss(ids: np.ndarray) -> np.ndarray:
        rollout = material.rollout(NextToken())
        return rolled_loss(
            world.model, rollout, material.tokens[:, :1], material.actions, ids,
            given=lambda *parts: given_ids(world, *parts),
        )  # fmt: skip

    best = loss(tokens)
    assert best.shape == (1, 4)
    for frame in range(4):
        for _ in range(3):
            other = tokens.copy()
            other[0, frame, -1, -1] = draw.integers(0, 64000)
            assert loss(other)[0, frame] > best[0, frame]
