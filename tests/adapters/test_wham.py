"""WHAM's transformer: published sizes, golden logits and tokens, both block versions against an independent one."""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, NextToken, compile_plan, preset_layout, replay  # noqa: E402
from diagplan.adapters.cache import TensorCache  # noqa: E402
from diagplan.adapters.contract import allowed_ids  # noqa: E402
from diagplan.adapters.wham import CONFIGS, Wham, WhamConfig, random_weights  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from tests.support.int8 import needs_int8  # noqa: E402
from tests.support.wham import CONFIG, DATA, META, STEP, WEIGHTS, causal_logits, golden_model  # noqa: E402


def plain_gpt(weights: dict[str, np.ndarray], config: WhamConfig, ids: np.ndarray) -> np.ndarray:
    """The specification once more, in NumPy and float64: logits [n, V] of ids [n]."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}
    n, heads = len(ids), config.n_head

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return x * w.get(f"{name}.weight", np.float64(1)) + w.get(f"{name}.bias", np.float64(0))

    def linear(x: np.ndarray, name: str) -> np.ndarray:
        return np.asarray(x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", np.float64(0)))

    x = w["lm_head.weight"][ids] + w["transformer.wpe.weight"][:n]
    for i in range(config.n_layer):
        at = f"transformer.h.{i}."
        q, k, v = np.split(linear(norm(x, f"{at}ln_1"), f"{at}attn.c_attn"), 3, axis=1)
        mixed = []
        for own in np.split(np.arange(config.n_embd), heads):
            scores = q[:, own] @ k[:, own].T / math.sqrt(len(own))
            scores[np.triu_indices(n, 1)] = -np.inf
            share = np.exp(scores - scores.max(1, keepdims=True))
            mixed.append(share / share.sum(1, keepdims=True) @ v[:, own])
        x = x + linear(np.concatenate(mixed, axis=1), f"{at}attn.c_proj")
        u = linear(norm(x, f"{at}ln_2"), f"{at}mlp.c_fc")
        u = 0.5 * u * (1 + np.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))
        x = x + linear(u, f"{at}mlp.c_proj")
    return np.asarray(norm(x, "transformer.ln_f") @ w["lm_head.weight"].T)


# Sizes


@pytest.mark.parametrize(("name", "tensors", "parameters"), [
    ("wham-200m", 133, 224_016_384),
    ("wham-1.6b", 293, 1_580_262_912),
])  # fmt: skip
def test_published_sizes(name: str, tensors: int, parameters: int) -> None:
    config = CONFIGS[name]
    shapes = config.shapes()
    assert len(shapes) == tensors
    assert sum(map(math.prod, shapes.values())) - math.prod(shapes["lm_head.weight"]) == parameters
    assert (config.vocab_size, config.positions, config.frame_tokens) == (16452, 5560, 556)
    assert config.layout() == Layout(frames=1, rows=18, cols=30, prompt_frames=9, between_frames=16)
    assert config.layout(9, prompt_frames=1) == preset_layout("wham")


def test_ids_by_place() -> None:
    assert [[low, high - 1] for low, high in CONFIG.action_ranges()] == META["vocab_range"]["actions_output"]
    layout = CONFIG.layout(2, prompt_frames=1)
    ranges = allowed_ids(golden_model().vocabulary, layout)[layout.cell_slots()].reshape(2, -1, 2)
    for frame in ranges.tolist():
        assert frame == [[low, high + 1] for low, high in META["vocab_range"]["images"]]
    ranges = allowed_ids(golden_model().policy().vocabulary, CONFIG.action_layout(2))[-4:]
    np.testing.assert_array_equal(ranges, CONFIG.action_ranges())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n_head": 5}, "expected heads that divide the width, got n_embd=64 and n_head=5."),
        ({"nanogpt_version": 3}, "expected nanogpt_version to be 1 or 2, got nanogpt_version=3."),
        ({"bias": 1}, "expected bias to be true or false, got bias=1."),
        ({"image_codes": 1}, "expected image_codes >= 2, got image_codes=1."),
        ({"seq_len": 0}, "expected seq_len >= 1, got seq_len=0."),
    ],
)
def test_wrong_sizes(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        replace(CONFIG, **change)


def test_more_frames_than_the_context() -> None:
    with pytest.raises(SpecError, match=re.escape("expected at most 4 frames, prompt included, got 3 + 2.")):
        CONFIG.layout(2, prompt_frames=3)


# Logits


def test_golden_logits() -> None:
    np.testing.assert_allclose(causal_logits(golden_model(), DATA["ids"]), DATA["logits"], atol=2e-5, rtol=0)
    np.testing.assert_allclose(
        causal_logits(golden_model(portable=True), DATA["ids"]), DATA["logits"], atol=2e-5, rtol=0
    )


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_versions_equal_an_independent_one(version: Any, bias: bool) -> None:
    config = replace(CONFIG, nanogpt_version=version, bias=bias)
    weights = random_weights(config, seed=version, dtype=torch.float64)
    assert len(weights) == (12 if version == 1 else 8) * 2 + 5 - (0 if bias else (6 if version == 1 else 4) * 2 + 1)
    want = [plain_gpt({name: w.numpy() for name, w in weights.items()}, config, ids) for ids in DATA["ids"]]
    np.testing.assert_allclose(causal_logits(Wham(config, weights), DATA["ids"]), want, atol=1e-10)


def test_the_independent_one_is_golden() -> None:
    np.testing.assert_allclose(plain_gpt(WEIGHTS, CONFIG, DATA["ids"][0]), DATA["logits"][0], atol=2e-5)


def test_incremental_equals_full() -> None:
    """One token at a time over a cache, and in the reverse order of slots."""
    model, ids = golden_model(), torch.from_numpy(DATA["ids"])
    n = ids.shape[1]
    for order in (torch.arange(n), torch.arange(n).flip(0)):
        cache = model.new_cache(2, n)
        for at in range(n):
            mask = torch.zeros((1, n), dtype=torch.bool)
            mask[0, order[: at + 1]] = True
            here = torch.tensor([at])
            logits = model.forward(ids[:, at : at + 1], here, order[here], mask, cache)
            np.testing.assert_allclose(logits[:, 0].numpy(), DATA["logits"][:, at], atol=2e-5, rtol=0)


@pytest.mark.parametrize(("dtype", "mean"), [("bfloat16", 0.05), ("float16", 0.005)])
def test_lower_precision(dtype: str, mean: float) -> None:
    weights = {name: torch.from_numpy(value).to(getattr(torch, dtype)) for name, value in WEIGHTS.items()}
    slots = torch.arange(64)
    model = Wham(CONFIG, weights)
    mask = torch.ones((64, 64), dtype=torch.bool).tril()
    logits = model.forward(torch.from_numpy(DATA["ids"]), slots, slots, mask, model.new_cache(2, 64))
    assert logits.dtype == getattr(torch, dtype)
    assert 1e-4 < np.abs(logits.float().numpy() - DATA["logits"]).mean() < mean


@needs_int8
def test_int8_products_are_near() -> None:
    quantized = golden_model(quantize="int8")
    off = causal_logits(quantized, DATA["ids"]) - DATA["logits"]
    assert 1e-4 < np.linalg.norm(off) / np.linalg.norm(DATA["logits"]) < 0.05
    assert quantized.weight_bytes() < golden_model().weight_bytes() / 2
    assert quantized.fingerprint() != golden_model().fingerprint()


# Tokens


def test_golden_step_after_two_frames() -> None:
    prompt = DATA["gen2/prompt_ids"].reshape(2, 2, STEP)
    layout = CONFIG.layout(1, prompt_frames=2)
    frame = replay(compile_plan(layout, NextToken()), golden_model(), given=prompt.reshape(2, -1))
    np.testing.assert_array_equal(frame.reshape(2, -1), DATA["gen2/image_tokens"])
    seen = np.concatenate([prompt.reshape(2, -1), frame.reshape(2, -1)], axis=1)
    plan = compile_plan(CONFIG.action_layout(3), NextToken())
    action = replay(plan, golden_model().policy(), given=seen)
    np.testing.assert_array_equal(action.reshape(2, -1) - CONFIG.image_codes, DATA["gen2/action_tokens"])
    whole = np.concatenate([seen, action.reshape(2, -1)], axis=1)
    logits = causal_logits(golden_model(), whole)[:, 2 * STEP - 1 : -1]
    np.testing.assert_allclose(logits, DATA["gen2/step_logits"], atol=2e-5, rtol=0)
    # Code 0 comes first in some sample's logits: it is the rule of the first token that keeps it out.
    assert (logits[:, 0, :32].argmax(-1) == 0).any()
    assert (frame[:, 0, 0, 0] > 0).all()


def test_golden_step_from_a_full_context() -> None:
    kept = DATA["ids"].reshape(2, 4, STEP)[:, 1:].reshape(2, -1)  # nine of ten, here three of four
    frame = replay(compile_plan(CONFIG.layout(), NextToken()), golden_model(), given=kept)
    np.testing.assert_array_equal(frame.reshape(2, -1), DATA["genfull/image_tokens"])
    seen = np.concatenate([kept, frame.reshape(2, -1)], axis=1)
    action = replay(compile_plan(CONFIG.action_layout(4), NextToken()), golden_model().policy(), given=seen)
    np.testing.assert_array_equal(action.reshape(2, -1) - CONFIG.image_codes, DATA["genfull/action_tokens"])


def test_a_diagonal_of_full_rows_gives_the_golden_tokens() -> None:
    kept = DATA["ids"].reshape(2, 4, STEP)[:, 1:].reshape(2, -1)
    frame = replay(compile_plan(CONFIG.layout(), Diagonal(k=4)), golden_model(), given=kept)
    np.testing.assert_array_equal(frame.reshape(2, -1), DATA["genfull/image_tokens"])


# The rest of the contract


def test_weight_bytes_and_fingerprints() -> None:
    plain, packed = golden_model(portable=True), golden_model()
    unique = sum(value.nbytes for name, value in WEIGHTS.items() if name != "lm_head.weight")
    assert plain.weight_bytes() == unique
    assert packed.weight_bytes() in (unique, unique + WEIGHTS["lm_head.weight"].nbytes)
    models = [plain, plain.policy(), Wham.random(CONFIG), Wham.random(CONFIG, seed=1)]
    models += [Wham.random(replace(CONFIG, n_head=2)), Wham.random(replace(CONFIG, nanogpt_version=2))]
    assert len({model.fingerprint() for model in models}) == len(models)
    assert packed.fingerprint() == plain.fingerprint()
    assert plain.policy().embedding is plain.embedding


def test_portable_passes_are_exported_with_dynamic_sizes() -> None:
    """torch.export traces the forward pass once for all batches, widths and cache lengths."""

    class Step(torch.nn.Module):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self, model: Wham) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: Any, position: Any, slot: Any, mask: Any, rows: Any, past: Any) -> Any:
            return self.model.forward(ids, position, slot, mask, TensorCache(past), rows), past

    model = golden_model(portable=True)

    def inputs(batch: int, first: int, count: int, length: int) -> tuple[Any, ...]:
        at = torch.arange(first, first + count)
        mask = torch.arange(length)[None] <= at[:, None]
        past = tuple(torch.ones_like(tensor) for tensor in model.new_cache(batch, length).tensors)
        return torch.from_numpy(DATA["ids"][:batch])[:, at], at, at, mask, torch.arange(1, count), past

    b, n, length, m = (torch.export.Dim(name) for name in ("b", "n", "length", "m"))
    cache = ({0: b, 2: length},) * len(model.cache_shapes)
    shapes = ({0: b, 1: n}, {0: n}, {0: n}, {0: n, 1: length}, {0: m}, cache)
    with torch.no_grad():
        exported = torch.export.export(Step(model), inputs(2, 2, 3, 64), dynamic_shapes=shapes, strict=False).module()
        for sizes in ((2, 0, 9, 30), (2, 40, 16, 128)):
            got, written = exported(*inputs(*sizes))
            want, expected = Step(model)(*inputs(*sizes))
            torch.testing.assert_close(got, want)
            for one, other in zip(written, expected, strict=True):
                torch.testing.assert_close(one, other)
