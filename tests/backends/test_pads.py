"""Prompts of different length in one batch: a padded sample gets the tokens that it gets alone."""

import re
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, compile_plan  # noqa: E402
from diagplan.adapters.mc_ar import McAr, McArConfig  # noqa: E402
from diagplan.backends.errors import MismatchError  # noqa: E402
from diagplan.backends.pads import keys_of, padded_passes, pads_of  # noqa: E402
from diagplan.backends.program import program  # noqa: E402
from diagplan.backends.reference import reference_replay  # noqa: E402
from diagplan.backends.replay import Prepared, new_state, prepare, replay  # noqa: E402
from diagplan.backends.sampling import Sample, keys_for  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from diagplan.planner.lowering import pad_steps  # noqa: E402
from tests.support.families import MODELS  # noqa: E402

PICTURE = Layout(frames=1, rows=3, cols=4, lead=6, between_rows=1)
FRAMES = Layout(frames=2, rows=3, cols=4, prompt_frames=2, between_frames=1)
PADS = (0, 2, 5)
#: Names of models whose positions are slots.
LINEAR = ("mc-ar", "wham")


def ran(prepared: Prepared, given: Any) -> Any:
    return replay(prepared, new_state(prepared, given)).tokens


def ids_of(layout: Layout, batch: int = 3) -> Any:
    count = layout.positions - layout.tokens
    return np.random.default_rng(5).integers(0, 40, (batch, count))


def shorter(layout: Layout, pad: int) -> Layout:
    return Layout(frames=1, rows=layout.rows, cols=layout.cols, lead=layout.lead - pad, between_rows=1)


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("chunk", [2, 512])
@pytest.mark.parametrize("static", [False, True])
def test_a_padded_sample_is_what_it_is_alone(name: str, chunk: int, static: bool) -> None:
    model, ids = MODELS[name](torch.float64), ids_of(PICTURE)
    options: dict[str, Any] = {"sampler": Sample(temperature=1.5), "seed": 3, "chunk": chunk, "static": static}
    together = prepare(compile_plan(PICTURE, Diagonal(k=2)), model, batch=3, pad=PADS, **options)
    tokens = ran(together, ids)
    for number, (pad, own) in enumerate(zip(PADS, ids, strict=True)):
        plan = compile_plan(shorter(PICTURE, pad), Diagonal(k=2))
        alone = ran(prepare(plan, model, samples=[number], **options), own[None, pad:])
        np.testing.assert_array_equal(tokens[number], alone[0])
    assert not np.array_equal(tokens, ran(prepare(together.plan, model, batch=3, **options), ids))


@pytest.mark.parametrize("name", LINEAR)
def test_the_reference_executor_pads_alike(name: str) -> None:
    model, ids = MODELS[name](torch.float64), ids_of(PICTURE)
    plan, sampler = compile_plan(PICTURE, Diagonal(k=1)), Sample(temperature=1.5)
    tokens = ran(prepare(plan, model, batch=3, pad=PADS, sampler=sampler, seed=3), ids)
    slots, _ = reference_replay(plan, model, torch.from_numpy(ids), sampler, [3] * 3, range(3), PADS)
    np.testing.assert_array_equal(tokens, slots[:, torch.from_numpy(plan.layout.cell_slots().astype(np.int64))])


def test_branches_of_guidance_have_pads_of_their_own() -> None:
    model, ids = MODELS["mc-ar"](torch.float64), ids_of(PICTURE, 2)
    plan = compile_plan(PICTURE, Diagonal(k=2))
    tokens = ran(prepare(plan, model, guidance=2.0, pad=(0, 4)), ids)
    others = ids.copy()
    others[1, :4] = 7  # padding: no other ids tell
    np.testing.assert_array_equal(ran(prepare(plan, model, guidance=2.0, pad=(0, 4)), others), tokens)
    assert not np.array_equal(ran(prepare(plan, model, guidance=2.0, pad=(0, 3)), others), tokens)
    both = [[2], [2, 2]]  # of the sample, or of each row
    first, second = (ran(prepare(plan, model, guidance=2.0, pad=pad), ids) for pad in both)
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("pad", [(0, 13), (13, 0)])
def test_whole_frames_of_a_video_are_padding(pad: tuple[int, int]) -> None:
    model = McAr.random(
        McArConfig(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
            vocab_size=40, max_position_embeddings=64, rope="3d", rows=3, cols=4, action_tokens=1,
        ),
        dtype=torch.float64,
    )  # fmt: skip
    ids = ids_of(FRAMES, 2)
    tokens = ran(prepare(compile_plan(FRAMES, Diagonal(k=1)), model, batch=2, pad=pad), ids)
    one = compile_plan(Layout(frames=2, rows=3, cols=4, prompt_frames=1, between_frames=1), Diagonal(k=1))
    padded = int(np.argmax(pad))
    np.testing.assert_array_equal(tokens[padded], ran(prepare(one, model), ids[None, padded, 13:])[0])


@pytest.mark.parametrize(
    ("name", "layout", "pad", "error", "message"),
    [
        ("mc-ar", PICTURE, 3, SpecError, "expected pad to be"),
        ("mc-ar", PICTURE, [-1], SpecError, "expected pad >= 0"),
        ("mc-ar", PICTURE, [1, 2], MismatchError, "expected the padding of 1 sample(s) or 1 row(s), got 2"),
        ("mc-ar", PICTURE, [6], MismatchError, "expected at most 5 positions of padding, one less than the prompt has"),
        ("example", PICTURE, [1], MismatchError, "expected a model whose samples may differ within a pass for padding"),
        ("cosmos", FRAMES, [3], MismatchError, "expected padding by whole frames, of 13 positions"),
    ],
)
def test_padding_that_cannot_be(name: str, layout: Layout, pad: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=re.escape(message)):
        pads_of(compile_plan(layout, Diagonal(k=1)), MODELS[name](torch.float32), pad, 1, 1)


def test_no_padding_is_none() -> None:
    plan, model = compile_plan(PICTURE, Diagonal(k=1)), MODELS["example"](torch.float32)
    assert pads_of(plan, model, None, 2, 2) is None
    assert pads_of(plan, model, [0, 0], 2, 2) is None
    np.testing.assert_array_equal(
        prepare(plan, model, batch=2, pad=[0, 0]).passes[0].seen, prepare(plan, model).passes[0].mask
    )


def test_passes_share_what_does_not_change() -> None:
    plan = compile_plan(PICTURE, Diagonal(k=1))
    passes = list(program(plan))
    padded = list(padded_passes(passes, np.array([0, 2]), plan.cache_slots + 64))
    assert len({id(p.shown) for p in padded}) == 1
    assert len({id(p.places) for p in padded}) == 1
    shown, length = padded[0].shown, passes[0].mask.shape[1]
    np.testing.assert_array_equal(shown, [[True] * length, [False] * 2 + [True] * (length - 2)])
    np.testing.assert_array_equal(padded[0].position[1, :4], [0, 0, 0, 1])


@pytest.mark.parametrize("pad", [None, (0, 2, 5)])
def test_nobody_sees_the_slot_that_feeds_without_a_token_write(pad: tuple[int, ...] | None) -> None:
    plan = pad_steps(compile_plan(PICTURE, Diagonal(k=1)), (8,))
    prepared = prepare(plan, MODELS["mc-ar"](torch.float64), batch=3, pad=pad)
    assert any((p.slot == plan.trash_slot).any() for p in prepared.passes)
    for p in prepared.passes:
        assert not p.seen[..., plan.trash_slot].any()
        assert p.seen.any(-1).all()


def test_keys_count_from_the_first_slot_that_is_no_padding() -> None:
    numbers = np.array([4, 7])
    plain = keys_of(3, numbers, 6, None)
    np.testing.assert_array_equal(plain, keys_for(np.array([3, 3]), numbers, np.arange(6)))
    padded = keys_of(3, numbers, 6, np.array([0, 2, 5]))
    np.testing.assert_array_equal(padded[0], plain[0])
    np.testing.assert_array_equal(padded[1, 2:], plain[1, :4])
    np.testing.assert_array_equal(keys_of(3, numbers, 4, None, by=2), plain[:, 2:])
