"""Training from a plan on torch: one pass over the sequence gives the logits of step-by-step replay."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from diagplan.adapters.mc_ar import McAr, McArConfig, rotary_tables  # noqa: E402
from diagplan.backends import replay as executor  # noqa: E402
from diagplan.backends.given import given_slots  # noqa: E402
from diagplan.planner.compiler import compile_plan  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from diagplan.planner.layout import Layout  # noqa: E402
from diagplan.planner.plan import Plan  # noqa: E402
from diagplan.planner.policy import Policies  # noqa: E402
from diagplan.planner.schedule import Diagonal, NextToken  # noqa: E402
from diagplan.planner.training_plan import training_plan, visible  # noqa: E402
from diagplan.training import diagonal  # noqa: E402
from diagplan.training.diagonal import lay_out, plan_logits, plan_loss  # noqa: E402
from diagplan.training.llama import TrainedMcAr  # noqa: E402
from tests.support.strategies import Request, plans  # noqa: E402

VOCAB = 13


def config_for(positions: int, *, rope: Literal["1d", "3d"] = "1d", kv: int = 2, layers: int = 2) -> McArConfig:
    return McArConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=layers, num_attention_heads=4, num_key_value_heads=kv,
        vocab_size=VOCAB, max_position_embeddings=positions, head_dim=8, rope=rope, rows=3, cols=4, action_tokens=2,
    )  # fmt: skip


def trained_in_float64(config: McArConfig, seed: int) -> TrainedMcAr:
    model = TrainedMcAr(config, seed=seed).double()
    model.cos, model.sin = rotary_tables(config, torch.device("cpu"), torch.float64)
    return model


def replayed_logits(plan: Plan, model: McAr, ids: np.ndarray) -> tuple[Any, Any]:
    """Step by step, every outcome replaced by the truth: the logits [B, positions, V], and where there are any."""
    prepared = executor.prepare(plan, model, batch=len(ids))
    state = executor.new_state(prepared, ids[:, given_slots(plan.layout)])
    chosen_by = torch.zeros((*ids.shape, VOCAB), dtype=model.dtype)
    truth, known = torch.from_numpy(ids), torch.zeros(plan.positions, dtype=torch.bool)
    with torch.no_grad():
        for p in prepared.passes:
            logits = executor.forward(prepared, state, p)
            if logits is not None:
                chosen_by[:, p.target] = logits
                executor.know(prepared, state, p, truth[:, p.target])
                known[p.target] = True
    return chosen_by, known


@given(
    drawn=plans(frames=3, side=4),
    rope=st.sampled_from(["1d", "3d"]),
    kv=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 9),
    part=st.sampled_from([2, 9, 256]),
)
def test_one_pass_gives_the_logits_of_step_by_step_replay(
    drawn: tuple[Request, Plan], rope: Literal["1d", "3d"], kv: int, seed: int, part: int
) -> None:
    _, plan = drawn
    model = trained_in_float64(config_for(plan.positions, rope=rope, kv=kv), seed)
    adapter = McAr(model.config, {name: weight.detach() for name, weight in model.weights().items()})
    adapter.cos, adapter.sin = model.cos, model.sin
    ids = np.random.default_rng(seed).integers(0, VOCAB, (2, plan.positions))
    chosen_by, known = replayed_logits(plan, adapter, ids)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(diagonal, "_PART", part)
        laid = lay_out(training_plan(plan))
    assert sorted(laid.target.tolist()) == np.flatnonzero(known).tolist() == sorted(plan.layout.cell_slots().ravel())
    with torch.no_grad():
        at_once = plan_logits(model, laid, torch.from_numpy(ids))
    torch.testing.assert_close(at_once, chosen_by[:, laid.target], rtol=0, atol=1e-9)


LAYOUT = Layout(frames=3, rows=9, cols=8, prompt_frames=1, between_frames=2)
EVERY_POLICY = [
    Policies(),
    Policies(row_end="keep", proxy_kv="visible"),
    Policies(proxy="prompt", row_end="keep", proxy_kv="visible", visibility="causal"),
    Policies(proxy="above", visibility="causal"),
]


def attention_inputs(entries: int, device: str = "cpu") -> list[Any]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, heads, entries, 16, generator=generator).to(device) for heads in (4, 2, 2)]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("policies", EVERY_POLICY, ids=lambda p: f"{p.row_end}-{p.proxy_kv}-{p.visibility}")
@pytest.mark.parametrize("d", [None, 11])
def test_flex_and_sdpa_give_the_same_numbers(policies: Policies, d: int | None) -> None:
    """Several parts and blocks long, the last ones not full."""
    plan = training_plan(compile_plan(LAYOUT, Diagonal(k=2, d=d), policies))
    assert plan.entries > 280
    assert plan.entries % 128
    q, k, v = attention_inputs(plan.entries)
    sdpa, flex = (lay_out(plan, attention=kind).attend for kind in ("sdpa", "flex"))
    torch.testing.assert_close(flex(q, k, v), sdpa(q, k, v), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("policies", EVERY_POLICY, ids=lambda p: f"{p.row_end}-{p.proxy_kv}-{p.visibility}")
def test_the_block_mask_leaves_out_what_nobody_sees(policies: Policies) -> None:
    """Block by block: a block is listed if anything in it is seen, and as whole if everything is."""
    from diagplan.training.diagonal import _block_mask

    plan = training_plan(compile_plan(replace(LAYOUT, frames=6), Diagonal(k=2), policies))
    mask = _block_mask(plan, torch.device("cpu"))
    seen, empty = visible(plan), len(plan.unwritten)
    seen = np.concatenate([seen[:, plan.entries :], seen[:, : plan.entries]], axis=1)
    framed = np.pad(seen, [(0, -size % 128) for size in seen.shape])
    blocks = framed.reshape(len(framed) // 128, 128, -1, 128)
    np.testing.assert_array_equal(mask.to_dense()[0, 0].numpy(), blocks.any(axis=(1, 3)))
    np.testing.assert_array_equal(mask.full_kv_num_blocks[0, 0].numpy(), blocks.all(axis=(1, 3)).sum(1))
    assert (mask.to_dense() == 0).any()
    if policies.proxy_kv == "visible" and not empty:
        assert int(mask.full_kv_num_blocks.sum()) > 0
    rows, columns = np.indices(seen.shape)
    at = [torch.from_numpy(index) for index in (rows, columns)]
    np.testing.assert_array_equal(mask.mask_mod(None, None, *at).numpy(), seen)


def test_a_next_token_plan_has_the_plain_causal_loss() -> None:
    layout = replace(LAYOUT, rows=3, cols=4)
    model = TrainedMcAr(config_for(layout.positions), seed=3)
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, VOCAB, (3, layout.positions)))
    loss = plan_loss(model, lay_out(training_plan(compile_plan(layout, NextToken()))), ids)
    cells = torch.from_numpy(layout.cell_slots().ravel().astype(np.int64))
    logits = model(ids)[:, cells - 1]
    want = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, cells].flatten())
    torch.testing.assert_close(loss, want)
    k1 = plan_loss(model, lay_out(training_plan(compile_plan(layout, Diagonal(k=1)))), ids)
    assert abs(float((k1 - want).detach())) > 1e-4


def test_every_weight_gets_the_gradient_of_finite_differences() -> None:
    layout = Layout(frames=2, rows=2, cols=3, prompt_frames=1, between_frames=2)
    laid = lay_out(training_plan(compile_plan(layout, Diagonal(k=1), Policies(proxy_kv="visible"))))
    model = trained_in_float64(config_for(layout.positions, layers=1), 1)
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, VOCAB, (1, layout.positions)))

    def loss() -> Any:
        logits = plan_logits(model, laid, ids)
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, laid.target].flatten())

    loss().backward()
    for name, weight in model.weights().items():
        assert weight.grad is not None, name
        direction = torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            weight += 1e-5 * direction
            up = float(loss())
            weight -= 2e-5 * direction
            down = float(loss())
            weight += 1e-5 * direction
        assert float((weight.grad * direction).sum()) == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-7), name


def test_attention_that_is_none() -> None:
    plan = training_plan(compile_plan(Layout(frames=1, rows=1, cols=2, lead=1), NextToken()))
    with pytest.raises(SpecError, match="one of auto, flex, sdpa, got attention='dense'"):
        lay_out(plan, attention="dense")  # type: ignore[arg-type]
