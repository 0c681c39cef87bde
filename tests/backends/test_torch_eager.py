"""The torch backend gives the golden tokens of the MineWorld release, and transformers' own."""

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Layout, NextToken, compile_plan  # noqa: E402
from diagplan.adapters.mc_ar import McAr, McArConfig  # noqa: E402
from diagplan.backends.torch_eager import TorchRuntime  # noqa: E402
from diagplan.models.loading import replay  # noqa: E402
from tests.support.mc_ar import golden_model as golden  # noqa: E402
from tests.support.mineworld import DATA, LAYOUT, META, golden_plan  # noqa: E402


@pytest.fixture(scope="module")
def golden_model() -> McAr:
    return golden()


def test_causal_logits(golden_model: McAr) -> None:
    ids = torch.from_numpy(DATA["causal/input_ids"])[None]
    slots = torch.arange(ids.shape[1])
    mask = torch.ones((len(slots), len(slots)), dtype=torch.bool).tril()
    logits = golden_model.forward(ids, slots, slots, mask, golden_model.new_cache(1, len(slots)))
    np.testing.assert_allclose(logits[0].numpy(), DATA["causal/logits"], atol=1e-4)


@pytest.mark.parametrize("name", META["cases"])
def test_golden_tokens(golden_model: McAr, name: str) -> None:
    case: dict[str, Any] = META["cases"][name]
    plan = golden_plan(case)
    assert plan.steps == case["forward_passes"]
    prompt = DATA["prompt"].reshape(1, LAYOUT.rows, LAYOUT.cols)
    tokens = replay(plan, golden_model, prompt, DATA["actions"][: LAYOUT.frames])
    np.testing.assert_array_equal(tokens.ravel(), DATA[f"tokens/{name}"].ravel())


@pytest.mark.parametrize("seed", range(4))
def test_next_token_plans_equal_transformers_generate(seed: int) -> None:
    """Greedy, same weights, float64: identical tokens. Nothing lies between frames, so generate needs no forcing."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(seed)
    heads = (4, 4, 6, 2)[seed]
    config = transformers.LlamaConfig(
        hidden_size=heads * 8,
        intermediate_size=40,
        num_hidden_layers=1 + seed % 3,
        num_attention_heads=heads,
        num_key_value_heads=(4, 2, 3, 1)[seed],
        vocab_size=50,
        max_position_embeddings=64,
        rope_theta=10_000.0,
        rms_norm_eps=1e-5,
        initializer_range=0.4,
        tie_word_embeddings=False,
    )
    other = transformers.LlamaForCausalLM(config).double().eval()
    other.generation_config.eos_token_id = None
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    sizes = {name: getattr(config, name) for name in (*names, "vocab_size", "max_position_embeddings")}
    weights = {name: value.detach().clone() for name, value in other.state_dict().items()}
    model = McAr(McArConfig(**sizes), weights)
    layout = Layout(frames=2, rows=3, cols=5, prompt_frames=1)
    prompt = torch.randint(0, 50, (2, 1, 3, 5))
    with torch.inference_mode():
        whole = other.generate(prompt.reshape(2, -1), do_sample=False, max_new_tokens=30, cache_implementation="static")
    tokens = replay(compile_plan(layout, NextToken()), model, prompt.numpy())
    np.testing.assert_array_equal(tokens.reshape(2, -1), whole[:, 15:].numpy())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
def test_finite_is_every_number_and_not_their_sum(dtype: Any) -> None:
    """Sums of finite numbers may run over, and infinities of both signs cancel nothing."""
    runtime, most = TorchRuntime(torch.device("cpu")), torch.finfo(dtype).max
    logits = torch.full((2, 3, 5), most, dtype=dtype)
    assert runtime.all_finite(logits)
    assert runtime.all_finite(logits[:, :0])
    for bad in ([math.nan], [math.inf], [-math.inf], [math.inf, -math.inf]):
        other = torch.zeros((2, 3, 5), dtype=dtype)
        other[1, 2, : len(bad)] = torch.tensor(bad, dtype=dtype)
        assert not runtime.all_finite(other), bad
