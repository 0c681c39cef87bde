"""Cosmos' record: texts, the self-test's stand-in for one, and files that only it opens."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from diagplan import LoadOptions  # noqa: E402
from diagplan.adapters.cosmos import Cosmos, random_weights  # noqa: E402
from diagplan.adapters.cosmos_config import CosmosConfig  # noqa: E402
from diagplan.adapters.cosmos_family import FAMILY  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from tests.support.checkpoints import write_torch  # noqa: E402

TEXT = CosmosConfig(
    dim=32, n_layers=2, n_heads=4, n_kv_heads=2, ffn_hidden_size=48, vocab_size=100, video_latent_shape=(3, 3, 4),
    begin_of_video=True, absolute=True, context_dim=8,
)  # fmt: skip


def test_a_text_is_bound_and_counted(tmp_path: Path) -> None:
    path = write_torch(random_weights(TEXT), tmp_path / "model.pt")
    assert TEXT.context_dim is not None
    options = LoadOptions(config=TEXT, context=torch.ones(2, 5, TEXT.context_dim))
    model = FAMILY.load(path, options)
    assert FAMILY.open is not None
    assert FAMILY.open(path, options).text_tokens == 10
    assert model.weight_bytes() == TEXT.weight_bytes(4, text_tokens=10)


def test_the_self_test_runs_a_model_that_lacks_its_text() -> None:
    model = Cosmos.random(TEXT)
    assert model.context is None
    ready = FAMILY.testable(model)
    assert isinstance(ready, Cosmos)
    assert ready.context is not None
    assert model.context is None


def test_shards_are_claimed_by_their_name() -> None:
    assert FAMILY.inspection is not None
    assert FAMILY.inspection.claims(Path("model_{rank}.pt"))
    assert not FAMILY.inspection.claims(Path("model.pt"))


def test_the_video_tokenizer_is_not_exported() -> None:
    assert FAMILY.pictures is not None
    assert FAMILY.pictures.no_export is not None
    with pytest.raises(SpecError, match="expected no --tokenizer for cosmos, got one"):
        FAMILY.pictures.load(Path("folder"), 4, 4, "cpu")


def test_bytes_of_the_tokenizer_are_its_files(tmp_path: Path) -> None:
    assert FAMILY.pictures is not None
    (tmp_path / "encoder.jit").write_bytes(b"x" * 70)
    (tmp_path / "decoder.jit").write_bytes(b"x" * 30)
    assert FAMILY.pictures.weight_bytes(tmp_path) == 100
