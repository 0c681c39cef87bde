"""A Cosmos model goes through torch.export with the batch, the feeds and the cache slots left open."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from diagplan.adapters.cache import TensorCache  # noqa: E402
from diagplan.adapters.cosmos import Cosmos, TextContext  # noqa: E402
from tests.support.cosmos import TEXT, TINY, WORLD  # noqa: E402

LAYERS = TINY.n_layers


class Pass(nn.Module):
    """``forward`` with the cache, and where there is one the text, as plain inputs."""

    def __init__(self, model: Cosmos) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, ids: Tensor, position: Tensor, slot: Tensor, mask: Tensor, rows: Tensor, cache: Any, text: Any
    ) -> Tensor:
        keys, values = text[:LAYERS], text[LAYERS:]
        model = self.model.bound(TextContext(tuple(keys), tuple(values))) if text else self.model
        return model.forward(ids, position, slot, mask, TensorCache(cache), rows)


def inputs(model: Cosmos, batch: int, n: int, length: int, texts: int, seed: int = 0) -> tuple[Any, ...]:
    generator = torch.Generator().manual_seed(seed)
    slot = torch.randperm(length, generator=generator)[:n]
    mask = torch.rand((n, length), generator=generator) < 0.5
    mask[torch.arange(n), slot] = True
    cache = [torch.randn(t.shape, generator=generator) for t in model.new_cache(batch, length).tensors]
    context: list[Tensor] = []
    if model.config.context_dim:
        made = model.text_context(torch.from_numpy(TEXT[:texts]))
        context = [*made.keys, *made.values]
    ids = torch.randint(0, 50, (batch, n), generator=generator)
    position = torch.randint(0, 36, (n,), generator=generator)
    return ids, position, slot, mask, torch.arange(0, n, 2), cache, context


@pytest.mark.parametrize("config", [TINY, WORLD], ids=["base", "video2world"])
@pytest.mark.parametrize("texts", [1, 2])
def test_export_leaves_batch_feeds_and_slots_open(config: Any, texts: int) -> None:
    model = Cosmos.random(config, portable=True)
    example = inputs(model, 2, 3, 8, texts)
    batch = torch.export.Dim("batch", min=1, max=64) if texts == 1 else torch.export.Dim("batch", min=2, max=64)
    n, length = torch.export.Dim("n", min=1, max=4096), torch.export.Dim("length", min=1, max=4096)
    m = torch.export.Dim("m", min=1, max=4096)
    own = texts == 2 and bool(example[6])  # one text for each sample: as open as the batch
    shapes = (
        {0: batch, 1: n}, {0: n}, {0: n}, {0: n, 1: length}, {0: m},
        [{0: batch, 2: length}] * len(example[5]), [{0: batch if own else None}] * len(example[6]),
    )  # fmt: skip
    exported = torch.export.export(Pass(model), example, dynamic_shapes=shapes).module()
    for size in ((2, 3, 8), (3, 1, 1), (5, 13, 40)) if not own else ((2, 3, 8), (2, 9, 20)):
        given = inputs(model, *size, texts, seed=sum(size))
        copy = [tensor.clone() for tensor in given[5]]
        want = Pass(model)(*given)
        got = exported(*given[:5], copy, given[6])
        torch.testing.assert_close(got, want)
        for ours, theirs in zip(given[5], copy, strict=True):
            torch.testing.assert_close(theirs, ours)


def test_portable_weights_are_plain() -> None:
    for portable, plain in ((True, True), (False, False)):
        model = Cosmos.random(WORLD, portable=portable)
        assert hasattr(model.head, "weight") is plain
        assert hasattr(model.layers[0].qkv, "weight") is plain
