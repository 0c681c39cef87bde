"""LlamaGen beside its published construction: logits, codes, guidance, classes and texts."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, NextToken, SpecError, ZipAR, compile_plan, replay  # noqa: E402
from diagplan.adapters.llamagen import LlamaGen, rotary_table  # noqa: E402
from diagplan.adapters.mc_ar import random_weights  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.backends.reference import reference_replay, teacher_forced_logits  # noqa: E402
from diagplan.backends.sampling import Greedy  # noqa: E402
from diagplan.backends.selftest import require_masks_obeyed  # noqa: E402
from tests.support.llamagen import (  # noqa: E402
    CLASSES,
    TEXTS,
    class_condition,
    published_codes,
    published_logits,
    text_condition,
    trained,
)

SIDE = 4
LENGTHS = [7, 4, 1]


def layout(lead: int) -> Layout:
    return Layout(frames=1, rows=SIDE, cols=SIDE, lead=lead)


def features(width: int = TEXTS.caption_dim) -> Any:
    return torch.randn(3, 7, width, generator=torch.Generator().manual_seed(9), dtype=torch.float64)


def left_padded(values: Any) -> tuple[Any, Any]:
    """As the release does it: each text moved to the right, zeros before it, and which columns hold a text."""
    moved, seen = torch.zeros_like(values), torch.zeros(values.shape[:2], dtype=torch.bool)
    for row, (own, length) in enumerate(zip(values, LENGTHS, strict=True)):
        moved[row, 7 - length :], seen[row, 7 - length :] = own[:length], True
    return moved, seen


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 2e-4)])
def test_logits_are_those_of_the_published_construction(dtype: Any, bound: float) -> None:
    weights = trained(CLASSES, dtype)
    model = LlamaGen(CLASSES, weights)
    codes = torch.from_numpy(np.random.default_rng(0).integers(0, 48, (2, SIDE * SIDE)))
    want = published_logits(CLASSES, weights, class_condition(weights, [3, 5]), codes, SIDE)
    plan = compile_plan(layout(1), NextToken())
    tokens = torch.cat((torch.tensor([[model.class_id(3)], [model.class_id(None)]]), codes), dim=1)
    got = teacher_forced_logits(plan, model, tokens)
    assert want.std() > 1
    torch.testing.assert_close(got, want[:, :-1], atol=bound, rtol=0)
    other = published_logits(CLASSES, weights, class_condition(weights, [3, 5]), codes, SIDE, identity=True)
    assert (other - want).abs().max() > 0.1  # a condition that is left unturned is another model


def test_keys_of_the_condition_are_zero_and_its_values_are_not() -> None:
    model = LlamaGen(CLASSES, trained(CLASSES))
    cache = model.new_cache(1, 4)
    place = torch.from_numpy(model.coordinates(layout(1))[:3])
    ids = torch.tensor([[model.class_id(1), 4, 5]])
    model.forward(ids, place, torch.arange(3), torch.ones(3, 3, dtype=torch.bool).tril(), cache)
    keys, values = cache.layer(1)
    assert (keys[:, :, 0] == 0).all()
    assert (keys[:, :, 1:3] != 0).all()
    assert (values[:, :, :3] != 0).all()


def test_codes_of_classes_are_those_of_the_published_loop() -> None:
    weights = trained(CLASSES)
    model = LlamaGen(CLASSES, weights)
    classes = [0, 4, 2]
    plan = compile_plan(layout(1), NextToken())
    given = np.array([[model.class_id(number)] for number in classes])
    want = published_codes(CLASSES, weights, class_condition(weights, classes), SIDE)
    assert len(np.unique(want)) >= 8
    np.testing.assert_array_equal(replay(plan, model, given=given)[:, 0], want.numpy())


@pytest.mark.parametrize("interval", [-1, 0, 5])
def test_guided_codes_are_those_of_the_published_loop(interval: int) -> None:
    weights = trained(CLASSES)
    model = LlamaGen(CLASSES, weights)
    plan = compile_plan(layout(1), NextToken())
    condition, null = class_condition(weights, [0, 4]), class_condition(weights, [5, 5])
    want = published_codes(CLASSES, weights, condition, SIDE, null=null, scale=4.0, interval=interval)
    alone = published_codes(CLASSES, weights, condition, SIDE)
    assert not torch.equal(want, alone)
    given = np.array([[model.class_id(0)], [model.class_id(4)]])
    steps = None if interval == -1 else (0, interval + 2)  # the first code by the prompt, then those of the interval
    got = replay(
        plan, model, given=given, guidance=4.0, unconditional=np.array([model.class_id(None)]), guided_steps=steps
    )
    np.testing.assert_array_equal(got[:, 0], want.numpy())


@pytest.mark.parametrize("scale", [None, 7.5])
def test_codes_of_texts_are_those_of_the_published_loop(scale: float | None) -> None:
    """Three texts of different length in one batch; the null branch is padded as the texts are."""
    weights = trained(TEXTS)
    model = LlamaGen(TEXTS, weights)
    moved, seen = left_padded(features())
    condition = text_condition(weights, moved)
    null = text_condition(weights, weights["cls_embedding.uncond_embedding"].expand(3, -1, -1))
    guided: dict[str, Any] = {} if scale is None else {"null": null, "scale": scale}
    want = published_codes(TEXTS, weights, condition, SIDE, seen=seen, **guided)
    assert len(np.unique(want)) >= 8
    lead, pad = model.text_lead(features(), LENGTHS)
    torch.testing.assert_close(lead, condition)
    torch.testing.assert_close(model.null_lead(3), null)
    assert pad == [0, 3, 6]
    plan = compile_plan(layout(TEXTS.lead), NextToken())
    given = np.tile(model.lead_ids, (3, 1))
    options: dict[str, Any] = {}
    if scale is not None:
        lead = torch.cat((lead, model.null_lead(3)))
        options = {"guidance": scale, "unconditional": given}
    got = replay(plan, model, given=given, lead=lead, pad=pad, **options)
    np.testing.assert_array_equal(got[:, 0], want.numpy())
    assert not np.array_equal(replay(plan, model, given=given, lead=lead, **options), got)  # padding that is seen


@pytest.mark.parametrize("schedule", [Diagonal(k=1), Diagonal(k=2), ZipAR(window=2)], ids=repr)
def test_plans_of_any_schedule_mean_what_the_reference_executor_says(schedule: Any) -> None:
    model = LlamaGen(CLASSES, trained(CLASSES))
    plan = compile_plan(layout(1), schedule)
    ids = np.array([[model.class_id(2)], [model.class_id(3)]])
    tokens, _ = reference_replay(plan, model, torch.from_numpy(ids), Greedy(), [0, 0], [0, 1])
    np.testing.assert_array_equal(
        replay(plan, model, given=ids), tokens[:, plan.layout.cell_slots().astype(np.int64)].numpy()
    )


@pytest.mark.parametrize("config", [CLASSES, TEXTS], ids=["classes", "texts"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_masks_are_obeyed(config: Any, dtype: str) -> None:
    require_masks_obeyed(LlamaGen.random(config, dtype=getattr(torch, dtype)))


def test_angles_are_float32_whatever_the_weights_are() -> None:
    for dtype, own in ((torch.bfloat16, torch.float32), (torch.float32, torch.float32), (torch.float64, torch.float64)):
        cos, sin = rotary_table(CLASSES, torch.device("cpu"), dtype)
        assert cos.dtype == sin.dtype == own
        assert cos.shape == (CLASSES.positions, CLASSES.head_size // 2)
        assert (cos[:, ::2] == cos[:, 1::2]).all()
        assert cos[3, 2] == pytest.approx(np.cos(3 * 10_000 ** (-4 / CLASSES.head_size)), abs=1e-6)


def test_sizes() -> None:
    model = LlamaGen.random(CLASSES)
    assert (model.vocab_size, model.input_vocab_size, model.positions) == (48, 54, 145)
    assert [model.class_id(number) for number in (0, 4, None)] == [48, 52, 53]
    held = [*random_weights(CLASSES).values()]
    assert model.weight_bytes() == sum(tensor.nbytes for tensor in held)
    assert LlamaGen.random(TEXTS).input_vocab_size == 48
    assert LlamaGen.random(TEXTS).lead_ids == (-1, -2, -3, -4, -5, -6, -7)
    assert (
        model.fingerprint() == LlamaGen.random(CLASSES).fingerprint() != LlamaGen.random(CLASSES, seed=1).fingerprint()
    )


def test_int8_is_near() -> None:
    try:
        small = LlamaGen.random(CLASSES, quantize="int8")
    except SpecError:
        pytest.skip("this CPU has no VNNI")
    large = LlamaGen.random(CLASSES)
    assert small.weight_bytes() < large.weight_bytes()
    plan = compile_plan(layout(1), NextToken())
    tokens = torch.zeros((1, plan.positions), dtype=torch.int64)
    one, two = (teacher_forced_logits(plan, model, tokens) for model in (small, large))
    assert 0 < (one - two).std() < 0.2 * two.std()


def test_what_is_refused() -> None:
    classes, texts = LlamaGen.random(CLASSES), LlamaGen.random(TEXTS)
    with pytest.raises(SpecError, match="expected number <= 4, got number=5"):
        classes.class_id(5)
    with pytest.raises(SpecError, match=r"expected a class-conditional LlamaGen, got one of texts\. Give text_lead\."):
        texts.class_id(0)
    with pytest.raises(SpecError, match="expected a text-conditional LlamaGen, got one of classes"):
        classes.text_lead(features())
    with pytest.raises(SpecError, match="expected a text-conditional LlamaGen"):
        classes.null_lead()
    for wrong in (features()[0], features(19), torch.zeros(1, 8, 20), torch.zeros(1, 0, 20)):
        with pytest.raises(SpecError, match=r"expected features \[B, 1 to 7, 20\], got \["):
            texts.text_lead(wrong)
    with pytest.raises(SpecError, match=r"expected the lengths of 3 text\(s\), got 1"):
        texts.text_lead(features(), [2])
    for length in (0, 8):
        with pytest.raises(SpecError, match="expected lengths"):
            texts.text_lead(features(), [1, 2, length])
    plan = compile_plan(layout(1), NextToken())
    with pytest.raises(MismatchError, match="expected ids alone for a llamagen model, got embeddings"):
        replay(plan, classes, given=np.array([48]), lead=torch.zeros(1, 1, 32))
    with pytest.raises(MismatchError, match="expected given ids from 0 to 53"):
        replay(plan, classes, given=np.array([54]))
