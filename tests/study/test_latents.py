"""What the shipped image tokenizer makes of frames before rounding to codes."""

from typing import TYPE_CHECKING

import numpy as np
import pytest

pytest.importorskip("torch")
for needed in ("av", "diffusers"):
    pytest.importorskip(needed)

from diagplan.planner.errors import SpecError  # noqa: E402
from diagplan.study.latents import has_latents, tokenizer_latents  # noqa: E402
from tests.support.small_world import small_world  # noqa: E402

if TYPE_CHECKING:
    from diagplan.study.material import Material
    from diagplan.worlds import World


def test_latents_are_of_each_frame(world: "World", material: "Material") -> None:
    assert has_latents(world)
    frames = material.frames[:, :2]
    latents = tokenizer_latents(world, frames, chunk=3)
    assert latents.shape[0] == 4
    assert latents.shape[2:] == (world.rows, world.cols)
    assert latents.dtype == np.float32
    for number, frame in enumerate(frames.reshape(4, 1, 1, *frames.shape[2:])):
        np.testing.assert_allclose(tokenizer_latents(world, frame), latents[number : number + 1], atol=1e-4)
    assert np.abs(latents[0] - latents[1]).max() > 1e-2


def test_a_tokenizer_without_latents_is_refused() -> None:
    assert not has_latents(small_world())
    with pytest.raises(SpecError, match="got small, whose tokenizer gives no latents"):
        tokenizer_latents(small_world(), np.zeros((1, 1, 28, 36, 3), np.uint8))
