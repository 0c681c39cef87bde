"""Next-token plans on tiny models of transformers give the tokens of the library's own ``generate``."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from diagplan import Layout, NextToken, Plan, chain_layouts, compile_chain, compile_plan, run_chain, wrap  # noqa: E402
from diagplan.backends.prepared import new_state, prepare  # noqa: E402
from diagplan.backends.replay import replay  # noqa: E402
from tests.support import hf_models as tiny  # noqa: E402

RASTER = tiny.RASTER
ATTENTION = ("sdpa", "eager")


def attending(module: Any, attention: str) -> Any:
    module.set_attn_implementation(attention)
    return module


def replayed(plan: Plan, model: Any, rows: Any, batch: int, **options: Any) -> np.ndarray:
    prepared = prepare(plan, model, batch=batch, **options)
    return replay(prepared, new_state(prepared, np.asarray(rows))).tokens[:, 0]


def given(ids: Any, layout: Layout, between: int) -> np.ndarray:
    """The ids of a prompt, int [B, lead], with those between rows after them."""
    ids = np.asarray(ids)
    return np.concatenate([ids, np.full((len(ids), (layout.rows - 1) * layout.between_rows), between)], axis=1)


def pads(*masks: Any) -> list[int]:
    """The padding of each row, of masks [B, P]."""
    return [int((mask == 0).sum()) for part in masks for mask in part]


#: Lengths of prompts: one, three that are alike, three that are not.
LENGTHS = pytest.mark.parametrize("lengths", [[7], [7, 7, 7], [9, 6, 8]], ids=str)


@pytest.mark.parametrize("attention", ATTENTION)
@LENGTHS
def test_janus(attention: str, lengths: list[int]) -> None:
    module = attending(tiny.janus(), attention)
    ids, mask = tiny.prompts(lengths)
    ids[range(len(ids)), pads(mask)], ids[:, -1] = 1, 3
    try:
        want = module.generate(
            inputs=ids, attention_mask=mask, generation_mode="image", guidance_scale=5, do_sample=False,
            num_return_sequences=1, max_length=64,  # which 5.4 does not know by itself
        )  # fmt: skip
    except IndexError:
        pytest.skip("this transformers feeds Janus its prompt in every pass, until the cache runs over")
    tiny.require_varied(want)
    model = wrap(module)
    without = torch.where((ids == 1) | (ids == 3), ids, 0)  # its own padding ids are seen, those on the left are not
    rows = torch.cat([ids, without]) + 50  # ids of the text follow the codes
    plan = compile_plan(model.layout(lead=max(lengths)), NextToken())
    got = replayed(plan, model, rows, len(ids), guidance=5.0, pad=pads(mask))
    np.testing.assert_array_equal(got.reshape(len(ids), -1), want.numpy())


def emu3_generate(module: Any, ids: Any, mask: Any, rows: int, cols: int, **options: Any) -> Any:
    """The picture's cells, [B, rows, cols], with an end of line after each row."""
    start = ids.shape[1]
    visual = list(range(tiny.EMU3_FIRST, tiny.EMU3_FIRST + tiny.CODES))

    def allowed(_: int, sequence: Any) -> list[int]:
        offset = len(sequence) - start + 1
        return [tiny.EMU3_EOL] if offset % (cols + 1) == 0 else visual

    ids = module.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=rows * (cols + 1) - 1, do_sample=False,
        prefix_allowed_tokens_fn=allowed, **options,
    )  # fmt: skip
    padded = torch.nn.functional.pad(ids[:, start:], (0, 1))
    return padded.reshape(-1, rows, cols + 1)[:, :, :cols]


@pytest.mark.parametrize("attention", ATTENTION)
@LENGTHS
@pytest.mark.parametrize("others", [None, 7, 11], ids=["plain", "negative of 7", "negative of 11"])
def test_emu3(attention: str, lengths: list[int], others: int | None) -> None:
    module = attending(tiny.emu3(), attention)
    ids, mask = tiny.prompts(lengths)
    options: dict[str, Any] = {}
    lead, leads, masks = max(lengths), [ids], [mask]
    if others is not None:
        negative, shown = tiny.prompts([others] * len(ids), seed=1)
        options = {"negative_prompt_ids": negative, "negative_prompt_attention_mask": shown, "guidance_scale": 3.0}
        lead, leads, masks = max(lead, others), [ids, negative], [mask, shown]
    want = emu3_generate(module, ids, mask, 5, 6, **options)
    tiny.require_varied(want)
    model = wrap(module)
    layout = model.layout(lead, rows=5, cols=6)
    leads, masks = ([padded(part, lead) for part in parts] for parts in (leads, masks))
    rows = given(torch.cat(leads), layout, tiny.EMU3_EOL)
    got = replayed(
        compile_plan(layout, NextToken()), model, rows, len(ids), pad=pads(*masks),
        guidance=None if others is None else 3.0,
    )  # fmt: skip
    np.testing.assert_array_equal(got, want.numpy())


def padded(part: Any, lead: int) -> Any:
    return torch.nn.functional.pad(part, (lead - part.shape[1], 0))


@pytest.mark.parametrize("attention", ATTENTION)
@LENGTHS
@pytest.mark.parametrize("refeed", [False, True])
def test_glm_image(attention: str, lengths: list[int], refeed: bool) -> None:
    """A chain: the preview, then the picture, whose lead is prompt and preview."""
    module = attending(tiny.glm_image(), attention)
    ids, mask = tiny.prompts(lengths, low=48, high=90)
    ids[:, -1] = 40
    batch, lead = ids.shape
    want = module.generate(
        input_ids=ids, attention_mask=mask, image_grid_thw=torch.tensor([[1, 4, 6], [1, 2, 3]] * batch),
        images_per_sample=torch.tensor([2] * batch), max_new_tokens=30, min_new_tokens=30, do_sample=False,
        suppress_tokens=list(range(40, 48)),
    )[:, lead:]  # fmt: skip
    tiny.require_varied(want)
    model = wrap(module)  # generate has left positions of its own in the module
    layouts = chain_layouts([model.layout(lead, rows=2, cols=3), model.layout(lead, rows=4, cols=6)])
    done = run_chain(compile_chain(layouts, NextToken(), refeed=refeed), model, ids.numpy(), pad=pads(mask))
    got = np.concatenate([tokens.reshape(batch, -1) for tokens in done.tokens], axis=1)
    np.testing.assert_array_equal(got, want.numpy())


def chosen_without_a_cache(module: Any, branches: list[Any], weights: list[float], count: int) -> list[int]:
    """Chameleon's generate never chooses an image id: the oracle is a loop over its decoder and its head."""
    tokens: list[int] = []
    with torch.inference_mode():
        for _ in range(count):
            mixed: Any = 0
            for ids, weight in zip(branches, weights, strict=True):
                whole = torch.tensor([*ids.tolist(), *tokens])[None]
                logits = module.lm_head(module.model(input_ids=whole, use_cache=False)[0][0, -1])
                mixed = mixed + weight * logits[4:44]
            tokens.append(int(mixed.argmax()) + 4)
    return tokens


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("swin", [False, True])
def test_chameleon(attention: str, swin: bool) -> None:
    module = attending(tiny.chameleon(swin_norm=swin), attention)
    ids, mask = tiny.prompts([6, 4], low=51, high=90)
    want = [chosen_without_a_cache(module, [row[seen == 1]], [1.0], 36) for row, seen in zip(ids, mask, strict=True)]
    tiny.require_varied(want)
    model = wrap(module)
    plan = compile_plan(model.layout(6, rows=6, cols=6), NextToken())
    got = replayed(plan, model, ids, 2, pad=pads(mask))
    np.testing.assert_array_equal(got.reshape(2, -1), want)


def test_anole() -> None:
    """Three branches: the prompt, its pictures alone, nothing; logits = u + 1.2 (i - u) + 3 (f - i)."""
    module = tiny.chameleon()
    ids, mask = tiny.prompts([8, 5, 3], low=51, high=90)
    weights = [3.0, 1.2 - 3.0, 1 - 1.2]
    want = chosen_without_a_cache(module, [row[seen == 1] for row, seen in zip(ids, mask, strict=True)], weights, 36)
    tiny.require_varied(want)
    model = wrap(module, family="anole")
    assert model.family == "anole"
    plan = compile_plan(model.layout(8, rows=6, cols=6), NextToken())
    got = replayed(plan, model, ids, 1, guidance=weights, pad=pads(mask))
    assert got.ravel().tolist() == want


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("kind", ["Llama", "Qwen3"])
def test_any_causal_model_by_its_raster(attention: str, kind: str) -> None:
    sizes = {"head_dim": 8} if kind == "Qwen3" else {}
    module = attending(tiny.llama(kind=kind, sizes=sizes), attention)
    ids, mask = tiny.prompts([6, 6])
    start = ids.shape[1]

    def allowed(_: int, sequence: Any) -> list[int]:
        return [3] if (len(sequence) - start + 1) % 7 == 0 else list(range(40, 80))

    want = module.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=34, do_sample=False, prefix_allowed_tokens_fn=allowed
    )
    model = wrap(module, raster=RASTER)
    assert model.family == "raster-llama"
    layout = model.layout(6)
    got = replayed(compile_plan(layout, NextToken()), model, given(ids, layout, 3), 2)
    tiny.require_varied(got)
    for row, tokens in zip(want[:, start:].tolist(), got, strict=True):
        assert row == tiny.rows_of(5, 6, tokens, 3)
