"""The estimate before anything is loaded: equal to the one after, near what is measured, refused without room."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")

from diagplan import Diagonal, Layout, NextToken, compile_plan, load_model, write_plan  # noqa: E402
from diagplan.adapters.cosmos import Cosmos, CosmosConfig  # noqa: E402
from diagplan.adapters.cosmos import random_weights as cosmos_weights  # noqa: E402
from diagplan.adapters.mc_ar import McArConfig  # noqa: E402
from diagplan.adapters.mc_ar import random_weights as mc_ar_weights  # noqa: E402
from diagplan.adapters.wham import WhamConfig  # noqa: E402
from diagplan.adapters.wham import random_weights as wham_weights  # noqa: E402
from diagplan.backends.errors import CapacityError  # noqa: E402
from diagplan.backends.memory import estimate_memory, require_memory, sizes_of  # noqa: E402
from diagplan.models import estimates as before_loading  # noqa: E402
from diagplan.models.estimates import (  # noqa: E402
    estimate_before_loading,
    require_memory_before_loading,
    sizes_before_loading,
    tokenizer_bytes,
)
from diagplan.planner.chain_compiler import chain_layouts, compile_chain  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from diagplan.planner.rollout import compile_rollout  # noqa: E402
from tests.support.checkpoints import write_safetensors, write_sparse, write_torch  # noqa: E402
from tests.support.cli import run  # noqa: E402

LAYOUT = Layout(frames=2, rows=3, cols=4, prompt_frames=1, between_frames=2)
PLAN = compile_plan(LAYOUT, Diagonal(k=2))

MC_AR = McArConfig(
    hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    vocab_size=50, image_vocab=50, max_position_embeddings=64,
)  # fmt: skip
COSMOS = CosmosConfig(
    dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_hidden_size=48, vocab_size=100, video_latent_shape=(3, 3, 4)
)
TEXT = CosmosConfig(
    dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_hidden_size=48, vocab_size=100, video_latent_shape=(3, 3, 4),
    begin_of_video=True, absolute=True, context_dim=8,
)  # fmt: skip
WHAM = WhamConfig(
    n_layer=2, n_head=4, n_embd=32, seq_len=3, rows=3, cols=4, image_codes=20, buttons=1, sticks=1, bins=3
)


def can_quantize() -> bool:
    from diagplan.adapters.linear import require_quantize

    try:
        require_quantize("int8", torch.device("cpu"), torch.float32)
    except SpecError:
        return False
    return True


MODELS: dict[str, tuple[str, Any, Callable[..., Any], Any]] = {
    "mc-ar": ("mc-ar", MC_AR, mc_ar_weights, None),
    "cosmos": ("cosmos", COSMOS, cosmos_weights, None),
    "cosmos with a text": ("cosmos", TEXT, cosmos_weights, np.ones((2, 5, 8), np.float32)),
    "wham": ("wham", WHAM, wham_weights, None),
    "wham, version 2": (
        "wham",
        WhamConfig(n_layer=1, n_head=2, n_embd=8, nanogpt_version=2, bias=False),
        wham_weights,
        None,
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("dtype", "quantize"), [("float32", None), ("bfloat16", None), ("float16", None), ("float32", "int8")]
)
def test_headers_tell_what_the_loaded_model_takes(name: str, dtype: Any, quantize: Any, tmp_path: Path) -> None:
    if quantize and not can_quantize():
        pytest.skip("needs an x86 CPU with VNNI")
    adapter, config, weights, context = MODELS[name]
    path = write_torch(weights(config, dtype=torch.bfloat16), tmp_path / "w.pt")
    options = {"config": config, "dtype": dtype, "quantize": quantize, "context": context}
    sizes = sizes_before_loading(adapter, path, **options)
    model = load_model(adapter, path, **options)
    assert sizes is not None
    assert sizes.weights == model.weight_bytes() > 0
    assert sizes._replace(loading=0) == sizes_of(model)
    estimate = estimate_before_loading(adapter, path, PLAN, batch=3, chunk=5, **options)
    assert estimate is not None
    assert estimate._replace(loading=0) == estimate_memory(model, PLAN, 3, chunk=5)
    cache = model.new_cache(3, estimate.cache // (3 * model.dtype.itemsize * sum(h * w for h, w in model.cache_shapes)))
    assert sum(tensor.nbytes for tensor in cache.tensors) == estimate.cache


def test_position_tables_and_texts_are_counted() -> None:
    """The one formula that load and estimate share, against the tensors themselves."""
    model = Cosmos.random(TEXT, dtype=torch.bfloat16).with_context(torch.ones(2, 5, 8))
    assert model.context is not None
    assert model.absolute is not None
    held = [model.cos, model.sin, model.absolute, *model.context.keys, *model.context.values]
    tensors = sum(tensor.nbytes for tensor in [*held, *cosmos_weights(TEXT, dtype=torch.bfloat16).values()])
    assert model.weight_bytes() == tensors


@pytest.mark.parametrize("quantize", [None, "int8"])
def test_an_exported_model(quantize: Any) -> None:
    exported = pytest.importorskip("tests.support.exported")
    model = exported.exported_model(quantize=quantize)
    folder = exported.exported_folder(quantize=quantize)
    sizes = sizes_before_loading("mc-ar", folder, backend="onnx")
    assert sizes is not None
    assert sizes.weights == (folder / "model.onnx.data").stat().st_size
    assert sizes._replace(loading=0) == sizes_of(model)
    assert sizes.widths == exported.golden_model().widths
    plan = compile_plan(Layout(frames=1, rows=2, cols=2, lead=1), NextToken())
    estimate = estimate_before_loading("mc-ar", folder, plan, backend="onnx", batch=2)
    assert estimate is not None
    assert estimate._replace(loading=0) == estimate_memory(model, plan, 2)
    cache = model.new_cache(2, estimate.cache // (2 * 4 * sum(h * w for h, w in model.cache_shapes)))
    assert sum(buffer.nbytes for buffer in cache.buffers) == estimate.cache


def test_a_rollout_takes_what_its_largest_plan_takes(tmp_path: Path) -> None:
    path = write_torch(wham_weights(WHAM), tmp_path / "w.ckpt")
    rollout = compile_rollout(WHAM.layout(), NextToken(), frames=5, prompt_frames=1)
    assert len(rollout.plans) > 1
    each = [total("wham", path, plan, config=WHAM) for plan in rollout.plans]
    assert total("wham", path, rollout, config=WHAM) == max(each) > min(each)


def test_a_chain_takes_the_cache_of_its_whole_sequence_and_one_plan_at_a_time(tmp_path: Path) -> None:
    path = write_torch(wham_weights(WHAM), tmp_path / "w.ckpt")
    grid = Layout(frames=1, rows=3, cols=4, lead=50)
    chain = compile_chain(chain_layouts([grid] * 3, 20), NextToken())
    run = [chain.continued(number).plan for number in range(3)]
    each = [estimate_before_loading("wham", path, plan, config=WHAM) for plan in run]
    whole = estimate_before_loading("wham", path, chain, config=WHAM)
    assert whole is not None
    parts = [part for part in each if part is not None]
    assert len(parts) == 3
    assert whole.cache == max(part.cache for part in parts) > parts[0].cache
    assert whole.total == max(part.total - part.cache for part in parts) + whole.cache


def total(*arguments: Any, **options: Any) -> int:
    estimate = estimate_before_loading(*arguments, **options)
    assert estimate is not None
    return estimate.total


def test_tokenizers(tmp_path: Path) -> None:
    folder = Path(__file__).parents[2] / "diagplan/models/crafter-mini/tokenizer"
    pytest.importorskip("diffusers")
    from diagplan.adapters.image_tokenizer import load_image_tokenizer

    held = load_image_tokenizer(folder).model.state_dict().values()
    assert tokenizer_bytes("mc-ar", folder) == sum(tensor.nbytes for tensor in held) > 0
    for name in ("encoder.jit", "decoder.jit"):
        (tmp_path / name).write_bytes(b"12345")
    assert tokenizer_bytes("cosmos", tmp_path) == 10


PEAK = """
import ctypes, re, sys
from pathlib import Path
import numpy as np, torch
torch.set_num_threads(1)
from diagplan import Diagonal, Layout, Sample, compile_plan
from diagplan.adapters.mc_ar import McAr, McArConfig
from diagplan.backends import replay as executor
from diagplan.backends.memory import estimate_memory

def status(key):
    return int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

chunk, batch = map(int, sys.argv[1:])
model = McAr.random(McArConfig(hidden_size=512, intermediate_size=2048, num_hidden_layers=2, num_attention_heads=16,
                               num_key_value_heads=4, vocab_size=8262, max_position_embeddings=4096))

def go(plan, chunk, batch):
    prepared = executor.prepare(plan, model, chunk=chunk, batch=batch, sampler=Sample(top_p=0.9), unverified=True)
    given = np.zeros((batch, len(prepared.given_slots)), int)
    executor.replay(prepared, executor.new_state(prepared, given), cancelled=lambda: True)

go(compile_plan(Layout(frames=1, rows=4, cols=4, prompt_frames=1), Diagonal(k=2)), 512, 1)  # what loads libraries
plan = compile_plan(Layout(frames=1, rows=40, cols=40, prompt_frames=1), Diagonal(k=2))
ctypes.CDLL(None).malloc_trim(0)  # what the heap kept of before would hide what it takes now
Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
began = status("VmRSS")
go(plan, chunk, batch)
estimate = estimate_memory(model, plan, batch, chunk=chunk)
print(status("VmHWM") - began, estimate.total - estimate.weights)
"""


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's /proc")
@pytest.mark.slow
def test_the_estimate_is_near_what_is_measured() -> None:
    """Cache, masks and activations of a prefill: half to twice the estimate, and 64 MiB that the heap keeps.

    A smaller chunk takes less in truth.
    """
    peaks = {}
    for chunk in (1600, 200):
        command = [sys.executable, "-c", PEAK, str(chunk), "2"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
        assert done.returncode == 0, done.stderr
        peaks[chunk], estimate = map(int, done.stdout.split())
        assert estimate / 2 <= peaks[chunk] <= 2 * estimate + (64 << 20)
    assert peaks[200] < peaks[1600] / 2


KEYS = (
    "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size",
    "max_position_embeddings", "image_vocab",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of 5 GB of which only headers are on the disk, its plan and its given ids."""
    big = McArConfig(
        hidden_size=4096, intermediate_size=14336, num_hidden_layers=8, num_attention_heads=32, num_key_value_heads=8,
        vocab_size=8262, image_vocab=8192, max_position_embeddings=5552,
    )  # fmt: skip
    write_sparse(big.shapes(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({key: getattr(big, key) for key in KEYS}))
    write_plan(PLAN, tmp_path / "plan.json")
    np.save(tmp_path / "given.npy", np.zeros((4, 12 + 2 * 2), np.int64))
    return tmp_path


def options(folder: Path, *more: str) -> list[str]:
    return [
        "run", str(folder / "plan.json"), "--weights", str(folder / "model.safetensors"), "--given",
        str(folder / "given.npy"), "-o", str(folder / "tokens.npy"), *more,
    ]  # fmt: skip


def test_too_little_memory_is_said_before_anything_is_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diagplan.adapters.weights import Checkpoint

    def read(*_: Any, **__: Any) -> Any:
        raise AssertionError("a tensor was read")

    monkeypatch.setattr(Checkpoint, "read", read)
    monkeypatch.setattr(before_loading, "free_memory", lambda _: 6 << 30)
    code, out, err = run(*options(folder, "--chunk", "4096"))
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    figures = r"expected room on cpu for 7,[\d.,]+ MiB \(weights 6,[\d.,]+ MiB, cache .* MiB, masks .* MiB, activations"
    assert re.search(figures, err)
    assert "for 4 row(s) of batch, got 6,144.0 MiB free. Take one of these: " in err
    assert "dtype bfloat16 (3," in err
    assert "Fewer frames or another device help too. Nothing was loaded." in err
    code, out, err = run(*options(folder, "--json"))
    assert (code, err) == (1, "")
    assert json.loads(out)["error"].startswith("expected room on cpu for ")
    assert not (folder / "tokens.npy").exists()
    # With room it goes on to the weights.
    monkeypatch.setattr(before_loading, "free_memory", lambda _: 60 << 30)
    with pytest.raises(AssertionError, match="a tensor was read"):
        run(*options(folder))
    # What was advised fits.
    monkeypatch.setattr(before_loading, "free_memory", lambda _: 6 << 30)
    with pytest.raises(AssertionError, match="a tensor was read"):
        run(*options(folder, "--dtype", "bfloat16"))


def test_advice_names_chunk_and_batch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = compile_plan(Layout(frames=1, rows=30, cols=30, prompt_frames=2), NextToken())
    monkeypatch.setattr(before_loading, "free_memory", lambda _: 4 << 30)
    path = folder / "model.safetensors"
    seen: list[Any] = []
    with pytest.raises(CapacityError, match=r"a chunk of 64 \([\d.,]+ MiB\)") as caught:
        require_memory_before_loading("mc-ar", path, plan, batch=8, chunk=2048, dtype="bfloat16", report=seen.append)
    assert "a batch of 4 (" in str(caught.value)
    assert "bfloat16" not in str(caught.value)
    small = estimate_before_loading("mc-ar", path, plan, batch=8, chunk=64, dtype="bfloat16")
    assert small is not None
    assert small.activations < seen[0].activations


def test_a_smaller_chunk_is_an_option_of_run_and_gives_the_same_tokens(tmp_path: Path) -> None:
    write_safetensors(mc_ar_weights(MC_AR), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({key: getattr(MC_AR, key) for key in KEYS}))
    write_plan(PLAN, tmp_path / "plan.json")
    np.save(tmp_path / "given.npy", np.arange(4 * 16).reshape(4, 16) % 50)
    outcomes = []
    for chunk in ("512", "3"):
        code, out, err = run(*options(tmp_path, "--chunk", chunk, "--json"))
        assert (code, err) == (0, "")
        outcomes.append((json.loads(out)["memory"], np.load(tmp_path / "tokens.npy").tolist()))
    (whole, tokens), (cut, same) = outcomes
    assert tokens == same
    assert cut["activations"] < whole["activations"]
    assert run(*options(tmp_path, "--chunk", "0"))[0] == 2


@pytest.mark.parametrize("size", [1 << 40, 1 << 62, 10**30])
def test_hostile_sizes_neither_overflow_nor_hang(size: int, tmp_path: Path) -> None:
    """A file of small tensors and a config of huge ones: the shapes differ, whatever the arithmetic makes of them."""
    config = {"hidden_size": size, "intermediate_size": size, "num_hidden_layers": 2, "num_attention_heads": 2}
    config |= {"vocab_size": size, "max_position_embeddings": 64}
    (tmp_path / "config.json").write_text(json.dumps(config))
    path = write_safetensors(mc_ar_weights(MC_AR), tmp_path / "model.safetensors")
    with pytest.raises((DocumentError, SpecError)):
        sizes_before_loading("mc-ar", path)
    small = sizes_before_loading("mc-ar", path, config=MC_AR)
    assert small is not None
    huge = small._replace(vocab_size=size, cache_shapes=((size, size),))
    estimate = estimate_memory(huge, PLAN, 7)
    assert estimate.cache >= 7 * 4 * size * size
    assert estimate.activations >= size
    with pytest.raises(CapacityError, match="expected room on cpu"):
        require_memory(estimate, 1 << 40)
