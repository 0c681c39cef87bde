"""Loading for eager PyTorch: the family's loader, then the self-test; sizes from headers alone."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan import LoadOptions, SpecError  # noqa: E402
from diagplan.adapters import families, mc_ar  # noqa: E402
from diagplan.adapters.mc_ar import McArConfig, random_weights  # noqa: E402
from diagplan.adapters.mc_ar_files import load_mc_ar  # noqa: E402
from diagplan.backends.memory import sizes_of  # noqa: E402
from diagplan.backends.runtime import runtime_of  # noqa: E402
from diagplan.backends.threads import settle_threads  # noqa: E402
from diagplan.backends.torch_backend import BACKEND  # noqa: E402
from diagplan.planner.errors import DiagplanError  # noqa: E402
from tests.support.checkpoints import write_torch  # noqa: E402

CONFIG = McArConfig(
    hidden_size=16, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
    vocab_size=40, max_position_embeddings=30, image_vocab=32,
)  # fmt: skip


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return write_torch(random_weights(CONFIG), tmp_path / "w.ckpt")


def test_sizes_are_those_of_the_loaded_model(weights: Path) -> None:
    options = LoadOptions(config=CONFIG)
    sizes = BACKEND.sizes("mc-ar", weights, options)
    assert sizes is not None
    assert sizes._replace(loading=0) == sizes_of(BACKEND.load("mc-ar", weights, options))


@pytest.mark.parametrize("rank", [0, 1])
def test_sizes_of_a_ranks_part(rank: int, weights: Path) -> None:
    ranks: Any = SimpleNamespace(
        rank=rank, world=2, sum=lambda x: x, numbers=lambda number: [number, number],
        join=lambda x, sizes: torch.cat([x, x], dim=-1)[..., : sum(sizes)],
    )  # fmt: skip
    whole, options = LoadOptions(config=CONFIG), LoadOptions(config=CONFIG, ranks=ranks)
    sizes, of_all = BACKEND.sizes("mc-ar", weights, options), BACKEND.sizes("mc-ar", weights, whole)
    assert sizes is not None
    assert of_all is not None
    assert sizes.loading < of_all.loading
    part = load_mc_ar(weights, config=CONFIG, ranks=ranks)  # without the self-test: its ranks do not answer
    assert sizes._replace(loading=0) == sizes_of(part)
    assert runtime_of(part).graphs is False
    settle_threads(part, "auto")


def test_a_model_that_ignores_its_mask_is_refused(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ignores(mask: Any, values: Any, group: int) -> Any:
        return torch.zeros(mask.shape).repeat(group, 1)

    monkeypatch.setattr(mc_ar, "mask_bias", ignores)
    with pytest.raises(DiagplanError, match="mask"):
        BACKEND.load("mc-ar", weights, LoadOptions(config=CONFIG))


def test_threads_are_torchs(weights: Path) -> None:
    before = torch.get_num_threads()
    try:
        BACKEND.load("mc-ar", weights, LoadOptions(config=CONFIG, threads=before + 1))
        assert torch.get_num_threads() == before + 1
        BACKEND.load("mc-ar", weights, LoadOptions(config=CONFIG))
        assert torch.get_num_threads() == before + 1  # nobody asked for others
    finally:
        torch.set_num_threads(before)


def test_a_family_that_tells_nothing_before_loading(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    silent = replace(families.family_named("mc-ar"), open=None)
    monkeypatch.setattr("diagplan.backends.torch_backend.family_named", lambda _: silent)
    assert BACKEND.sizes("mc-ar", weights, LoadOptions(config=CONFIG)) is None


def test_a_text_for_a_model_that_reads_none(weights: Path) -> None:
    for call in (BACKEND.load, BACKEND.sizes):
        with pytest.raises(SpecError, match="expected no context: a mc-ar model reads no text"):
            call("mc-ar", weights, LoadOptions(config=CONFIG, context=torch.zeros(1, 4)))
