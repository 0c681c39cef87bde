"""Pictures in a prompt: the same tokens as the library's own models give with pixel_values."""

from importlib import metadata
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from diagplan import NextToken, compile_plan, prompt_with_pictures, replay, wrap  # noqa: E402
from diagplan.adapters import hf_pictures  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.images.custom import custom_generate  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from tests.support import hf_models as tiny  # noqa: E402

needs_newer = pytest.mark.skipif(
    tuple(int(part) for part in metadata.version("transformers").split(".")[:2]) < hf_pictures._OLDEST,
    reason="needs transformers 5.24",
)


def drawn(*shape: int, seed: int = 0) -> Any:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def glm_inputs(text: list[list[int]], rows: int = 2, cols: int = 4) -> dict[str, Any]:
    """Image start, a place for each id of the source, image end, text, image start."""
    count = len(text)
    ids = torch.tensor([[40, *[46] * (rows * cols), 41, *words, 40] for words in text])
    return {
        "input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": drawn(count * rows * cols, 768),
        "image_grid_thw": torch.tensor([[1, rows, cols], [1, 4, 6]] * count),
        "images_per_sample": torch.tensor([2] * count),
    }  # fmt: skip


@pytest.mark.parametrize("text", [[[60, 61, 62]], [[60, 61, 62], [70, 50, 55]]], ids=["one", "two"])
@needs_newer
def test_glm_image_draws_after_a_picture_what_its_generate_draws(text: list[list[int]]) -> None:
    module = tiny.glm_image()
    inputs = glm_inputs(text)
    want = module.generate(
        **inputs, max_new_tokens=24, min_new_tokens=24, do_sample=False, suppress_tokens=list(range(40, 48))
    )
    tiny.require_varied(want[:, -24:], 5)
    model = wrap(module)
    read = prompt_with_pictures(model, **inputs)
    assert read.lead is None
    assert (read.ids[:, 1:9] < 40).all()
    plan = compile_plan(read.model.layout(read.ids.shape[1], rows=4, cols=6), NextToken())
    got = replay(plan, read.model, given=read.ids).reshape(len(text), 24)
    np.testing.assert_array_equal(got, want[:, -24:])
    # On a line, as text, it is another prompt.
    flat = replay(plan, model, given=read.ids).reshape(len(text), 24)
    assert not np.array_equal(flat, got)
    ours = module.generate(**inputs, do_sample=False, max_new_tokens=1, custom_generate=custom_generate)
    assert torch.equal(ours[:, : want.shape[1]], want)


def test_chameleon_reads_the_ids_of_a_picture() -> None:
    module = tiny.chameleon()
    ids = torch.tensor([[60, 61, *[50] * 64, 62, 63]])
    pixels = drawn(1, 3, 16, 16)
    model = wrap(module)
    read = prompt_with_pictures(model, input_ids=ids, pixel_values=pixels)
    assert ((read.ids[:, 2:66] >= 4) & (read.ids[:, 2:66] < 44)).all()
    plan = compile_plan(model.layout(68, rows=3, cols=4), NextToken())
    got = replay(plan, read.model, given=read.ids).ravel().tolist()
    tokens: list[int] = []
    with torch.inference_mode():
        for _ in range(12):
            whole = torch.cat([ids, torch.tensor([tokens], dtype=torch.int64)], dim=1)
            stream = module.model(input_ids=whole, pixel_values=pixels, use_cache=False)[0][0, -1]
            tokens.append(int(module.lm_head(stream)[4:44].argmax()) + 4)
    assert got == tokens
    ours = module.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels, do_sample=False, plan=plan,
        custom_generate=custom_generate, max_new_tokens=1,
    )  # fmt: skip
    assert ours[0, 68:].tolist() == tokens


@needs_newer
def test_emu3_reads_the_ids_of_a_picture_with_its_ends_of_line() -> None:
    module = tiny.emu3()
    pixels, sizes = drawn(1, 3, 8, 8), torch.tensor([[8, 8]])
    places = len(module.model.get_image_tokens(pixels, sizes))
    ids = torch.tensor([[10, *[8] * places, 11, 12]])
    common = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "pixel_values": pixels, "image_sizes": sizes}
    start = ids.shape[1]

    def allowed(_: int, sequence: Any) -> list[int]:
        return [3] if (len(sequence) - start + 1) % 5 == 0 else list(range(60, 100))

    want = module.generate(**common, max_new_tokens=14, do_sample=False, prefix_allowed_tokens_fn=allowed)[0, start:]
    model = wrap(module)
    read = prompt_with_pictures(model, **common)
    layout = model.layout(start, rows=3, cols=4)
    given = np.concatenate([read.ids, np.full((1, 2), tiny.EMU3_EOL)], axis=1)
    plan = compile_plan(layout, NextToken())
    got = replay(plan, read.model, given=given)
    assert want.tolist() == tiny.rows_of(3, 4, got, tiny.EMU3_EOL)


def test_janus_reads_embeddings() -> None:
    module = tiny.janus()
    pixels = drawn(2, 3, 96, 96)
    ids = torch.tensor([[1, *[5] * 36, 20, 3], [1, *[5] * 36, 33, 3]])
    model = wrap(module)
    read = prompt_with_pictures(model, input_ids=ids, pixel_values=pixels)
    assert read.lead is not None
    assert read.lead.shape == (2, 36, 32)
    assert read.ids[0].tolist() == [51, *(-1 - np.arange(36)), 70, 53]
    plan = compile_plan(model.layout(39, rows=3, cols=4), NextToken())
    got = replay(plan, read.model, given=read.ids, lead=read.lead).reshape(2, 12)
    with torch.inference_mode():
        inner = module.model
        held = inner.get_input_embeddings()(ids)
        features = inner.get_image_features(pixels)
        features = getattr(features, "pooler_output", features)
        held[:, 1:37] = features.reshape(2, 36, 32)
        codes = []
        for _ in range(12):
            stream = inner.language_model(inputs_embeds=held, use_cache=False)[0][:, -1:]
            codes.append(inner.generation_head(stream).argmax(-1))
            held = torch.cat([held, module.prepare_embeddings_for_image_generation(codes[-1])], dim=1)
    np.testing.assert_array_equal(got, torch.cat(codes, dim=1))
    with pytest.raises(SpecError, match="expected a prompt of text, got pixel_values"):
        module.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels, generation_mode="text",
            custom_generate=custom_generate, max_new_tokens=1,
        )  # fmt: skip


@needs_newer
def test_what_does_not_fit_is_refused() -> None:
    glm = wrap(tiny.glm_image())
    inputs = glm_inputs([[60, 61]])
    with pytest.raises(SpecError, match="expected input_ids and pixel_values, got one or none"):
        prompt_with_pictures(glm, input_ids=inputs["input_ids"])
    with pytest.raises(SpecError, match="expected image_grid_thw beside GLM-Image's ids, got none"):
        prompt_with_pictures(glm, **{**inputs, "image_grid_thw": None})
    short = {**inputs, "input_ids": inputs["input_ids"][:, 2:]}
    with pytest.raises(SpecError, match="expected a place in input_ids for each of 8 ids of the pictures, got 7"):
        prompt_with_pictures(glm, **short)
    two = glm_inputs([[60, 61, 62], [60, 61, 62]])
    two["input_ids"][1] = torch.tensor([60, 40, *[46] * 8, 41, 61, 62, 40])
    with pytest.raises(SpecError, match="expected prompts whose pictures have one size and lie in one place"):
        prompt_with_pictures(glm, **two)
    llama = wrap(tiny.llama(), raster=tiny.RASTER)
    with pytest.raises(SpecError, match="expected a family that reads pictures, got 'raster-llama'"):
        prompt_with_pictures(llama, input_ids=torch.tensor([[1]]), pixel_values=drawn(1, 3, 8, 8))
    with pytest.raises(SpecError, match="expected model to be a TransformersModel"):
        prompt_with_pictures(tiny.emu3(), input_ids=1)
    longer = compile_plan(glm.layout(30, rows=4, cols=6), NextToken())
    with pytest.raises(
        MismatchError, match="expected a plan with a lead of 13, for positions of the prompt's pictures"
    ):
        glm.module.generate(**inputs, custom_generate=custom_generate, max_new_tokens=1, plan=longer)


def test_an_older_transformers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf_pictures, "_OLDEST", (99, 0))
    model = wrap(tiny.emu3())
    with pytest.raises(SpecError, match=r"expected transformers 99.0 or newer for pictures in Emu3's prompts, got"):
        prompt_with_pictures(model, input_ids=torch.tensor([[1]]), pixel_values=drawn(1, 3, 8, 8))
