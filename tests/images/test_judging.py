from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from diagplan import LoadOptions
from diagplan.images.defaults import asked_for
from diagplan.images.job import ImageJob
from diagplan.images.judging import teacher_forced_loss
from diagplan.images.paint import request_of
from diagplan.images.prompts import Request
from tests.support.image_folders import folder_of

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TEXTS = ("a cat", "a red bicycle")


def cross_entropy(logits: Any, targets: Any) -> float:
    return float(torch.nn.functional.cross_entropy(logits.double(), targets))


@pytest.mark.parametrize("chunk", [1, 7, 256])
def test_it_is_the_loss_of_one_plain_forward(chunk: int) -> None:
    ours = ImageJob(folder_of("raster-llama"), Request(texts=TEXTS))
    tokens = np.random.default_rng(0).integers(4, 44, (2, 4, 5))
    loss = teacher_forced_loss(ours.load(), ours.prompted, tokens, chunk=chunk)
    model = transformers.LlamaForCausalLM.from_pretrained(folder_of("raster-llama")).eval()
    for number in range(2):
        branch = ours.prompted.branches[0]
        lead = branch.ids[number, branch.pad[number] :]
        rows = np.concatenate([tokens[number], np.full((4, 1), 3)], axis=1).ravel()[:-1]
        ids = torch.from_numpy(np.concatenate([lead, rows]))[None]
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0, len(lead) - 1 : -1, 4:44]
        cells = torch.from_numpy(np.flatnonzero(rows != 3))
        assert np.isclose(loss[number], cross_entropy(logits[cells], ids[0, len(lead) :][cells] - 4), atol=1e-5)


def test_after_a_preview_it_is_that_of_the_picture_alone() -> None:
    place = folder_of("glm-image")
    ours = ImageJob(place, Request(texts=("a cat",), size=(96, 64)))
    draw = np.random.default_rng(0)
    preview, picture = (draw.integers(0, 40, (1, one.rows, one.cols)) for one in ours.prompted.layouts)
    loss = teacher_forced_loss(ours.load(), ours.prompted, picture, [preview])
    model = transformers.GlmImageForConditionalGeneration.from_pretrained(place / "vision_language_encoder").eval()
    lead = ours.prompted.branches[0].ids
    ids = torch.from_numpy(np.concatenate([lead, preview.reshape(1, -1), picture.reshape(1, -1)], axis=1))
    grids = torch.tensor([[1, *picture.shape[1:]], [1, *preview.shape[1:]]])
    with torch.inference_mode():
        logits = []

        # Its own generate, told which ids to take: it places the grids itself.
        def forced(_: int, so_far: Any) -> list[int]:
            return [int(ids[0, len(so_far)])]

        out = model.generate(
            input_ids=torch.from_numpy(lead), attention_mask=torch.ones(lead.shape, dtype=torch.long),
            image_grid_thw=grids, images_per_sample=torch.tensor([2]), max_new_tokens=ids.shape[1] - lead.shape[1],
            do_sample=False, prefix_allowed_tokens_fn=forced, output_logits=True, return_dict_in_generate=True,
            eos_token_id=47,
        )  # fmt: skip
        logits = torch.stack(out.logits, dim=1)[0, preview.size :, :40]
    assert np.isclose(loss[0], cross_entropy(logits, torch.from_numpy(picture.ravel())), atol=1e-4)


def test_a_text_s_features_lead_the_judge() -> None:
    """Greedy next-token prediction without guidance takes the likeliest id: another last one is less likely."""
    place = folder_of("llamagen")
    job = ImageJob(
        place / "t2i.safetensors",
        request_of(["a", "b"], size="8x8", features=[place / "text-0.npy", place / "text-1.npy"]),
        guidance=1.0, choice=lambda own: asked_for(own, {"greedy": True}), vq=place / "vq.safetensors",
        options=LoadOptions(config=str(place / "t2i.json")),
    )  # fmt: skip
    done = job.decode(job.compile())
    losses = job.losses(done)
    for code in range(8):
        tokens = done.tokens.copy()
        tokens[:, -1, -1] = (tokens[:, -1, -1] + 1 + code) % 16
        assert (job.losses(replace(done, tokens=tokens)) > losses).all()
    job.batch = 1
    assert np.allclose(job.losses(done), losses)
