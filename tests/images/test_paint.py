from typing import Any

import numpy as np
import pytest

from diagplan import Diagonal, Greedy, load_model
from diagplan.images.paint import draw_image, request_of
from diagplan.planner.errors import DocumentError, SpecError
from tests.support.image_folders import folder_of

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


def test_a_picture_of_a_text() -> None:
    stages: list[str] = []
    memory: list[Any] = []
    jobs: list[Any] = []
    drawn = draw_image(
        folder_of("janus-pro"), "a cat", schedule=Diagonal(k=2), seed=3,
        on_progress=lambda what, *_: stages.append(what), on_memory=memory.append,
        on_job=lambda job, plans: jobs.append((job, plans)),
    )  # fmt: skip
    assert drawn.pictures is not None
    assert (drawn.pictures.shape, drawn.pictures.dtype) == ((1, 12, 12, 3), np.dtype(np.uint8))
    assert drawn.tokens.shape == (1, 6, 6)
    assert drawn.passes == drawn.plans[0].steps == 16
    assert drawn.texts == ("a cat",)
    assert drawn.guidance == 5.0
    assert drawn.seconds > 0
    assert list(dict.fromkeys(stages)) == ["compiling", "loading", "decoding", "making pixels"]
    assert memory == [drawn.memory]
    assert jobs[0][1] == drawn.plans


def test_tokens_alone_need_no_decoder() -> None:
    drawn = draw_image(folder_of("chameleon"), ["a cat", "dog"], pixels=False, sampler=Greedy())
    assert drawn.pictures is None
    assert drawn.tokens.shape == (2, 8, 8)
    assert drawn.choice == (Greedy(), "as asked")
    with pytest.raises(DocumentError, match=r"expected the image decoder vqgan\.ckpt"):
        draw_image(folder_of("chameleon"), "a cat")


def test_preview_and_picture_of_a_whole_pipeline() -> None:
    pytest.importorskip("diffusers")
    drawn = draw_image(folder_of("glm-pipeline"), 'a sign "hi"', schedule=Diagonal(k=1), size=(128, 64))
    assert [grid.shape for grid in drawn.earlier] == [(1, 11, 22)]
    assert drawn.pictures is not None
    assert drawn.pictures.shape == (1, 64, 128, 3)
    assert len(drawn.plans) == 2
    assert drawn.passes <= sum(plan.steps for plan in drawn.plans)


def test_a_model_that_is_loaded_already() -> None:
    place = folder_of("janus-pro")
    model = load_model("janus-pro", place)
    drawn = draw_image(place, "a cat", loaded=model, seed=3)
    assert np.array_equal(drawn.tokens, draw_image(place, "a cat", seed=3).tokens)
    assert drawn.memory is None


def test_arguments_are_checked() -> None:
    with pytest.raises(SpecError, match="expected sampler"):
        draw_image(folder_of("janus-pro"), "a cat", sampler="greedy")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="expected no file of an image decoder"):
        draw_image(folder_of("janus-pro"), "a cat", vq="vq.pt")
    with pytest.raises(SpecError, match="expected guidance to be a finite number"):
        draw_image(folder_of("janus-pro"), "a cat", guidance="five")  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"expected sampling by greedy, temperature, .* got 'top-k'"):
        draw_image(folder_of("janus-pro"), "a cat", sampling={"top-k": 3})
    assert request_of("a", size="8x16").size == (8, 16)
