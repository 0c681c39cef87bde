"""Plans inside transformers' own generate: the same ids as without, greedy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from diagplan import Diagonal, NextToken, Raster, compile_plan  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.images.custom import custom_generate  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from tests.support import hf_models as tiny  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[2] / "integrations" / "transformers"
FORMS = pytest.mark.parametrize("form", ["callable", "folder"])


def generated(form: str, model: Any, **arguments: Any) -> Any:
    """By the function, or by the folder as a hub has it."""
    if form == "callable":
        arguments.setdefault("max_new_tokens", 1)  # a plan has as many as it has; without one generate warns
        for theirs, ours in (
            ("negative_prompt_ids", "negative_ids"),
            ("negative_prompt_attention_mask", "negative_mask"),
        ):
            if theirs in arguments:
                arguments[ours] = arguments.pop(theirs)
        return model.generate(**arguments, custom_generate=custom_generate)
    return model.generate(**arguments, custom_generate=str(REPOSITORY), trust_remote_code=True)


def emu3_rows(rows: int, cols: int, start: int, end: list[int]) -> Any:
    visual = list(range(tiny.EMU3_FIRST, tiny.EMU3_FIRST + tiny.CODES))

    def allowed(_: int, ids: Any) -> list[int]:
        offset = len(ids) - start + 1
        if offset > rows * (cols + 1):
            return [end[min(offset - rows * (cols + 1), len(end) - 1)]]
        return [tiny.EMU3_EOL] if offset % (cols + 1) == 0 else visual

    return allowed


@FORMS
@pytest.mark.parametrize("other", [True, False], ids=["negative", "none"])
@pytest.mark.parametrize("lengths", [[7, 7], [9, 6]], ids=str)
def test_emu3_with_guidance(form: str, lengths: list[int], other: bool) -> None:
    model = tiny.emu3()
    ids, mask = tiny.prompts(lengths)
    negative, shown = tiny.prompts([8, 8], seed=1)
    guided: dict[str, Any] = {"guidance_scale": 3.0}
    if other:
        guided |= {"negative_prompt_ids": negative, "negative_prompt_attention_mask": shown}
    end = [tiny.EMU3_EOL, 4, 5]
    theirs = model.generate(
        input_ids=ids, attention_mask=mask, do_sample=False, max_new_tokens=4 * 6 + 2,
        prefix_allowed_tokens_fn=emu3_rows(4, 5, ids.shape[1], end), **guided,
    )  # fmt: skip
    tiny.require_varied(theirs[:, ids.shape[1] :])
    ours = generated(
        form, model, input_ids=ids, attention_mask=mask, do_sample=False, plan=NextToken(),
        image_sizes=torch.tensor([[4, 5]] * 2), **guided,
    )  # fmt: skip
    assert torch.equal(ours, theirs)


@FORMS
def test_emu3_by_a_plan_of_its_own_and_sampled(form: str) -> None:
    model = tiny.emu3()
    ids, mask = tiny.prompts([7])
    plan = compile_plan(tiny_layout(model, 7), Diagonal(k=2))
    torch.manual_seed(3)
    first = generated(form, model, input_ids=ids, attention_mask=mask, do_sample=True, top_k=0, plan=plan)
    torch.manual_seed(3)
    again = generated(form, model, input_ids=ids, attention_mask=mask, do_sample=True, top_k=0, plan=plan)
    other = generated(form, model, input_ids=ids, attention_mask=mask, do_sample=True, top_k=0, plan=plan, seed=4)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.shape == (1, 7 + 3 * 5 + 2)
    whole = generated(
        form, model, input_ids=ids, attention_mask=mask, do_sample=False, plan=Diagonal(k=2), grid=(3, 4),
        return_dict_in_generate=True,
    )  # fmt: skip
    assert torch.equal(
        whole.sequences, generated(form, model, input_ids=ids, attention_mask=mask, do_sample=False, plan=plan)
    )


def tiny_layout(model: Any, lead: int) -> Any:
    from diagplan import wrap

    return wrap(model).layout(lead, rows=3, cols=4)


@FORMS
@pytest.mark.parametrize("lengths", [[7, 7], [9, 6]], ids=str)
def test_glm_image(form: str, lengths: list[int]) -> None:
    model = tiny.glm_image()
    ids, mask = tiny.prompts(lengths, low=48, high=100)
    inputs = {
        "input_ids": ids, "attention_mask": mask, "image_grid_thw": torch.tensor([[1, 4, 6], [1, 2, 3]] * 2),
        "images_per_sample": torch.tensor([2, 2]),
    }  # fmt: skip
    theirs = model.generate(**inputs, max_new_tokens=30, do_sample=False, suppress_tokens=list(range(40, 48)))
    tiny.require_varied(theirs[:, ids.shape[1] :])
    assert torch.equal(generated(form, model, **inputs, do_sample=False), theirs)


@FORMS
@pytest.mark.parametrize("lengths", [[7, 7], [9, 6]], ids=str)
def test_any_causal_model_by_its_raster(form: str, lengths: list[int]) -> None:
    model = tiny.llama()
    ids, mask = tiny.prompts(lengths)
    raster = Raster(ids=(10, 50), rows=5, cols=6, between_rows=(3,), end=(4,))

    def allowed(_: int, sequence: Any) -> list[int]:
        offset = len(sequence) - ids.shape[1] + 1
        return [4] if offset == 35 else [3] if offset % 7 == 0 else list(range(10, 50))

    theirs = model.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=35, do_sample=False, prefix_allowed_tokens_fn=allowed
    )
    tiny.require_varied(theirs[:, ids.shape[1] :])
    ours = generated(form, model, input_ids=ids, attention_mask=mask, do_sample=False, raster=raster)
    assert torch.equal(ours, theirs)


@FORMS
def test_chameleon_by_its_bare_decoder(form: str) -> None:
    model = tiny.chameleon()
    ids, mask = tiny.prompts([7, 7], low=44, high=100)
    ours = generated(form, model, input_ids=ids, attention_mask=mask, do_sample=False)
    assert ours.shape == (2, 7 + 64)
    so_far = ids
    with torch.inference_mode():
        for at in range(16):
            logits = model.lm_head(model.model(input_ids=so_far).last_hidden_state[:, -1])
            so_far = torch.cat([so_far, logits[:, 4:44].argmax(-1, keepdim=True) + 4], dim=1)
            assert torch.equal(ours[:, : 8 + at], so_far)


@FORMS
@pytest.mark.parametrize("lengths", [[7, 7], [9, 6]], ids=str)
def test_janus_draws_in_its_text_mode_what_its_image_mode_draws(form: str, lengths: list[int]) -> None:
    model = tiny.janus()
    ids, mask = tiny.prompts(lengths)
    ids[range(2), [int((row == 0).sum()) for row in mask]], ids[:, -1] = 1, 3
    theirs = model.generate(
        input_ids=ids, attention_mask=mask, generation_mode="image", guidance_scale=4.0, do_sample=False
    )
    tiny.require_varied(theirs)
    ours = generated(
        form, model, input_ids=ids, attention_mask=mask, generation_mode="text", do_sample=False, guidance=4.0
    )
    assert torch.equal(ours, theirs)


def test_a_model_whose_repository_this_is_does_not_call_itself() -> None:
    import functools
    import importlib.util

    spec = importlib.util.spec_from_file_location("repository", REPOSITORY / "custom_generate" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = tiny.emu3()
    ids, mask = tiny.prompts([7])
    options = {"input_ids": ids, "attention_mask": mask, "do_sample": False, "plan": Diagonal(k=2), "grid": (3, 4)}
    expected = model.generate(**options, custom_generate=custom_generate, max_new_tokens=1)
    model.generate = functools.partial(module.generate, model=model)  # as from_pretrained sets it
    assert torch.equal(model.generate(**options), expected)
    with pytest.raises(ValueError, match="expected no streamer"):
        model.generate(**options, streamer=object())


def test_what_a_plan_does_not_follow_is_refused() -> None:
    model = tiny.emu3()
    ids, mask = tiny.prompts([7, 5])
    common = {
        "input_ids": ids,
        "attention_mask": mask,
        "do_sample": False,
        "custom_generate": custom_generate,
        "max_new_tokens": 1,
    }
    with pytest.raises(SpecError, match="got RepetitionPenaltyLogitsProcessor"):
        model.generate(**common, plan=None, grid=(3, 4), repetition_penalty=1.2)
    with pytest.raises(SpecError, match="expected prompts padded on the left"):
        model.generate(**common | {"attention_mask": mask.flip(1)}, grid=(3, 4))
    with pytest.raises(SpecError, match="expected plan to be a plan, a chain or a schedule, got plan='k=2'"):
        model.generate(**common, plan="k=2", grid=(3, 4))
    with pytest.raises(SpecError, match="expected a scale of guidance beside a negative prompt, got none"):
        model.generate(**common, grid=(3, 4), negative_ids=ids)
    short = compile_plan(tiny_layout(model, 5), Diagonal(k=2))
    with pytest.raises(MismatchError, match="with a lead of at least 7, the length of the prompt, got lead=5"):
        model.generate(**common, plan=short)
    with pytest.raises(SpecError, match="expected one grid for all 2 prompts, got 2"):
        model.generate(**common, image_sizes=torch.tensor([[3, 4], [4, 3]]))


def test_a_plan_with_a_longer_lead_takes_a_shorter_prompt() -> None:
    model = tiny.emu3()
    ids, mask = tiny.prompts([7, 5])
    common = {
        "input_ids": ids,
        "attention_mask": mask,
        "do_sample": False,
        "custom_generate": custom_generate,
        "max_new_tokens": 1,
    }
    long = compile_plan(tiny_layout(model, 12), Diagonal(k=2))
    exact = compile_plan(tiny_layout(model, 7), Diagonal(k=2))
    assert np.array_equal(model.generate(**common, plan=long), model.generate(**common, plan=exact))
