"""Cosmos: the golden logits and tokens of the release's own code, its sizes, and the text context."""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from diagplan import NextToken, compile_plan  # noqa: E402
from diagplan.adapters.contract import allowed_ids  # noqa: E402
from diagplan.adapters.cosmos import CONFIGS, Cosmos, CosmosConfig  # noqa: E402
from diagplan.models.loading import replay  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from tests.support.cosmos import TEXT, TINY, WORLD  # noqa: E402
from tests.support.cosmos_golden import causal_logits, golden  # noqa: E402

CASES = pytest.mark.parametrize("name", ["a", "b"])


# Golden data


@CASES
@pytest.mark.parametrize("portable", [False, True])
def test_golden_logits_in_one_pass(name: str, portable: bool) -> None:
    case = golden(name)
    logits = causal_logits(case.model(portable=portable), torch.from_numpy(case.data["tokens"]))
    assert logits.shape[-1] == case.config.embedding_rows
    np.testing.assert_allclose(logits[..., : case.config.vocab_size].numpy(), case.data["logits"], atol=1e-4, rtol=0)


@CASES
def test_golden_logits_through_the_cache(name: str) -> None:
    case = golden(name)
    model, ids = case.model(), torch.from_numpy(case.data["tokens"])
    length = ids.shape[1]
    cache, mask = model.new_cache(2, length), torch.ones((length, length), dtype=torch.bool).tril()
    prompt = torch.arange(case.prefill)
    rows = [model.forward(ids[:, prompt], prompt, prompt, mask[prompt], cache, prompt[-1:])]
    for at in range(case.prefill, length):
        slot = torch.tensor([at])
        rows.append(model.forward(ids[:, slot], slot, slot, mask[slot, : at + 1], cache))
    assert case.data["incremental_first_pos"] == case.prefill - 1
    logits = torch.cat(rows, dim=1)[..., : case.config.vocab_size]
    np.testing.assert_allclose(logits.numpy(), case.data["logits_incremental"], atol=1e-4, rtol=0)


@CASES
def test_golden_greedy_continuation(name: str) -> None:
    case = golden(name)
    frame = math.prod(case.config.video_latent_shape[1:])
    layout = case.config.layout((case.prefill - case.config.lead) // frame)
    assert layout.first_generated == case.prefill
    tokens = replay(compile_plan(layout, NextToken()), case.model(), given=case.data["tokens"][:, : case.prefill])
    np.testing.assert_array_equal(tokens.reshape(2, -1), case.data["greedy_continuation"])


@CASES
@pytest.mark.parametrize("fault", ["rolled", "not cumulative", "interleaved", "tiled"])
def test_golden_data_notices_what_a_naive_port_gets_wrong(
    name: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The surprises of the release, each undone: the tolerance is no wider than they are."""
    case = golden(name)
    model = case.model()
    if fault == "rolled":
        model.cos, model.sin = model.cos.roll(1, 1), model.sin.roll(1, 1)
    elif fault == "interleaved":
        monkeypatch.setattr("diagplan.adapters.cosmos._rotate", _interleaved)
    elif fault == "tiled":
        heads = torch.arange(case.config.n_heads).view(2, -1).T.flatten()
        weights = case.weights()
        for key in list(weights):
            if key.endswith(".attention.wq.weight"):
                weights[key] = weights[key].view(case.config.n_heads, -1, case.config.dim)[heads].flatten(0, 1)
        model = case.bound(Cosmos(case.config, weights))
    elif model.absolute is not None:
        model.absolute = model.absolute / case.config.n_layers
    else:
        return
    logits = causal_logits(model, torch.from_numpy(case.data["tokens"]))[..., : case.config.vocab_size]
    assert np.abs(logits.numpy() - case.data["logits"]).max() > 0.1


def _interleaved(x: Any, cos: Any, sin: Any) -> Any:
    turned = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)
    return x * cos + turned * sin


# Sizes


@pytest.mark.parametrize("name", CONFIGS)
def test_released_shapes_go_through_a_pass(name: str) -> None:
    """Shapes alone, on torch's meta device: grouped heads of 128 in a model of 4,096 or 5,120."""
    config = CONFIGS[name]
    weights = {key: torch.empty(shape, device="meta", dtype=torch.bfloat16) for key, shape in config.shapes().items()}
    model = Cosmos(config, weights)
    if config.context_dim:
        model = model.with_context(torch.zeros(512, 1024))
    cache, slots = model.new_cache(2, 64), torch.arange(7, device="meta")
    mask = torch.empty((7, 64), dtype=torch.bool, device="meta")
    ids = torch.zeros((2, 7), dtype=torch.int64, device="meta")
    logits = model.forward(ids, slots, slots, mask, cache, slots[:3])
    assert (logits.shape, logits.dtype) == ((2, 3, config.embedding_rows), torch.bfloat16)
    assert [tuple(tensor.shape) for tensor in cache.tensors] == [(2, 8, 64, 128)] * (2 * config.n_layers)
    assert model.weight_bytes() >= 2 * sum(math.prod(shape) for shape in config.shapes().values())


def test_begin_of_video_is_fed_and_never_chosen() -> None:
    model = Cosmos.random(WORLD).with_context(TEXT[0])
    assert (model.vocab_size, model.config.vocab_size, model.positions) == (64, 50, 37)
    logits = causal_logits(model, torch.tensor([[50, 1, 2]]))
    assert (logits[..., 50:] == -1e4).all()
    assert torch.softmax(logits, -1)[..., 50:].sum() == 0
    layout = WORLD.layout(1)
    assert (allowed_ids(model.vocabulary, layout)[layout.cell_slots().ravel()] == [0, 50]).all()


# The text context


def test_a_text_is_read_and_the_weights_are_shared() -> None:
    model, ids = Cosmos.random(WORLD), torch.tensor([[50, 1, 2], [50, 3, 4]])
    one, other = (model.with_context(text) for text in TEXT)
    assert one.embedding is model.embedding
    assert model.context is None
    logits = causal_logits(one, ids)
    assert (logits - causal_logits(other, ids)).abs().max() > 0.01
    both = causal_logits(model.with_context(TEXT), ids)
    torch.testing.assert_close(both[:1], logits[:1])
    torch.testing.assert_close(both[1:], causal_logits(other, ids)[1:])
    prints = {m.fingerprint() for m in (model, one, other, model.with_context(TEXT))}
    assert len(prints) == 4
    assert one.fingerprint() == model.with_context(torch.from_numpy(TEXT[0])).fingerprint()
    assert one.weight_bytes() > model.weight_bytes()


def test_padding_is_seen_unless_masked() -> None:
    """Vectors of zeros take part in the softmax, as in the release; a mask leaves them out."""
    model, ids = Cosmos.random(WORLD), torch.tensor([[50, 1, 2]])
    padded = np.concatenate([TEXT[0], np.zeros((3, 12))])
    alone, with_zeros = (causal_logits(model.with_context(text), ids) for text in (TEXT[0], padded))
    assert (alone - with_zeros).abs().max() > 0.01
    masked = causal_logits(model.with_context(padded, np.arange(8) < 5), ids)
    torch.testing.assert_close(masked, alone)


@pytest.mark.parametrize(
    ("context", "mask", "words"),
    [
        (np.zeros((5, 11)), None, "expected text features, float [tokens, 12] or [batch, tokens, 12], got"),
        (np.zeros(12), None, "expected text features"),
        (np.zeros((0, 12)), None, "expected text features"),
        (np.zeros((5, 12), np.int64), None, "got torch.int64 [5, 12]"),
        (np.full((5, 12), np.nan), None, "expected finite text features"),
        (TEXT, np.ones((2, 4), bool), "expected a mask, bool [2, 5]"),
        (TEXT, np.ones(5, bool), "got torch.bool [5]"),
        (TEXT, np.ones((2, 5)), "got torch.float64 [2, 5]"),
        (TEXT[0], np.zeros(5, bool), "with a text token to see in every row"),
    ],
)
def test_contexts_that_do_not_fit(context: Any, mask: Any, words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        Cosmos.random(WORLD).with_context(context, mask)


def test_models_and_texts_that_do_not_belong_together() -> None:
    ids = torch.tensor([[0, 1, 2]] * 3)
    with pytest.raises(SpecError, match="expected a text context for a Video2World model, got none"):
        causal_logits(Cosmos.random(WORLD), ids)
    with pytest.raises(SpecError, match="expected one text, or one for each of 3 samples, got 2 texts"):
        causal_logits(Cosmos.random(WORLD).with_context(TEXT), ids)
    with pytest.raises(SpecError, match="expected a Video2World model for a text context"):
        Cosmos.random(TINY).with_context(TEXT)


# Numbers


@pytest.mark.parametrize("config", [TINY, WORLD], ids=["base", "video2world"])
@pytest.mark.parametrize(("dtype", "near"), [("bfloat16", 0.3), ("float16", 0.04)])
def test_lower_precision(config: CosmosConfig, dtype: str, near: float) -> None:
    weights = Cosmos.random(config)
    lower = Cosmos.random(config, dtype=getattr(torch, dtype))
    if config.context_dim:
        weights, lower = (model.with_context(TEXT[0]) for model in (weights, lower))
    ids = torch.arange(20)[None]
    logits = causal_logits(lower, ids)
    assert logits.dtype == lower.dtype == lower.cos.dtype
    difference = (logits.float() - causal_logits(weights, ids))[..., : config.vocab_size].abs()
    assert 1e-5 < difference.max() < near


@CASES
def test_bfloat16_is_as_far_from_the_golden_logits_as_the_references_own(name: str) -> None:
    """The reference in bfloat16: 0.14 and 0.12 at most, 0.02 on average."""
    case = golden(name)
    lower = Cosmos(case.config, {key: tensor.bfloat16() for key, tensor in case.weights().items()})
    logits = causal_logits(case.bound(lower), torch.from_numpy(case.data["tokens"]))[..., : case.config.vocab_size]
    difference = np.abs(logits.float().numpy() - case.data["logits"])
    assert 0.01 < difference.mean() < 0.03
    assert difference.max() < 0.2


def test_int8_is_near() -> None:
    config = replace(WORLD, dim=64, ffn_hidden_size=64)
    whole, small = Cosmos.random(config), Cosmos.random(config, quantize="int8")
    ids = torch.arange(20)[None]
    want, got = (causal_logits(model.with_context(TEXT[0]), ids)[..., :50] for model in (whole, small))
    assert 1e-4 < float((want - got).norm() / want.norm()) < 0.05
    assert small.weight_bytes() < whole.weight_bytes() / 2
    assert small.fingerprint() != whole.fingerprint()


@given(data=st.data())
def test_order_and_chunks_do_not_matter(data: st.DataObject) -> None:
    """A causal pass in any two chunks and at any cache slots gives the logits of one pass."""
    config = data.draw(st.sampled_from([TINY, WORLD]))
    model = Cosmos.random(config, dtype=torch.float64)
    model = model.with_context(TEXT[0]) if config.context_dim else model
    n = data.draw(st.integers(2, 12))
    slots = torch.tensor(data.draw(st.permutations(range(n + 3)))[:n])
    ids, at = torch.randint(0, 50, (2, n), generator=torch.Generator().manual_seed(n)), torch.arange(n)
    want = causal_logits(model, ids)
    cut, cache, parts = data.draw(st.integers(1, n - 1)), model.new_cache(2, n + 3), []
    for part in (at[:cut], at[cut:]):
        mask = torch.zeros((len(part), n + 3), dtype=torch.bool)
        for row, position in enumerate(part.tolist()):
            mask[row, slots[: position + 1]] = True
        parts.append(model.forward(ids[:, part], part, slots[part], mask, cache))
    torch.testing.assert_close(torch.cat(parts, 1), want, atol=1e-9, rtol=0)
