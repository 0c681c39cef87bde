"""Where the parts of each family lie, and which ids are codes."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from diagplan import Layout, Raster, SpecError  # noqa: E402
from diagplan.adapters.hf_parts import parts_of  # noqa: E402
from tests.support import hf_models as tiny  # noqa: E402


def test_the_sizes_and_ids_of_each() -> None:
    held = {family: parts_of(tiny.BUILDERS[family](), family, raster=own(family)) for family in tiny.BUILDERS}
    assert {family: (parts.vocab_size, parts.input_vocab_size) for family, parts in held.items()} == {
        "janus-pro": (50, 150),
        "emu3": (100, 100),
        "glm-image": (48, 100),
        "chameleon": (100, 100),
        "anole": (100, 100),
        "raster-llama": (100, 100),
    }
    assert held["janus-pro"].raster == Raster(ids=(0, 50), rows=6, cols=6)
    assert held["emu3"].raster == Raster(ids=(60, 100), rows=90, cols=90, between_rows=(3,), end=(3, 4, 5))
    assert held["glm-image"].raster == Raster(ids=(0, 40), rows=32, cols=32)
    assert held["chameleon"].raster == Raster(ids=(4, 44), rows=8, cols=8)
    assert [family for family, parts in held.items() if parts.coordinates is not None] == ["glm-image"]
    for family, parts in held.items():
        assert parts.family == family
        assert not any("vq" in name or "vision" in name for name in parts.modules)


def own(family: str) -> Raster | None:
    return tiny.RASTER if family == "raster-llama" else None


def test_janus_has_codes_then_text() -> None:
    module = tiny.janus()
    parts = parts_of(module)
    codes, text = torch.tensor([[0, 7, 49]]), torch.tensor([[0, 5, 99]])
    mixed = parts.embed(torch.cat([codes, text + 50], dim=1))
    want = module.prepare_embeddings_for_image_generation(codes), module.get_input_embeddings()(text)
    torch.testing.assert_close(mixed, torch.cat(want, dim=1))


def test_a_raster_takes_the_place_of_a_models_own() -> None:
    assert parts_of(tiny.emu3(), raster=tiny.RASTER).raster is tiny.RASTER


def test_the_axes_are_those_of_transformers() -> None:
    model = tiny.glm_image()
    coordinates = parts_of(model).coordinates
    assert coordinates is not None
    ids = torch.cat([torch.full((1, 5), 60), torch.zeros((1, 6), dtype=torch.int64)], dim=1)
    grids, count = torch.tensor([[1, 4, 6], [1, 2, 3]]), torch.tensor([2])
    model.model.get_rope_index(ids[:, :5], grids, count, attention_mask=torch.ones(1, 5))
    theirs = model.model._cached_decode_position_ids[0]  # [3, new tokens]
    layouts = Layout(frames=1, rows=2, cols=3, lead=5), Layout(frames=1, rows=4, cols=6, lead=11)
    np.testing.assert_array_equal(coordinates(*layouts)[5:].T, theirs[:, : 6 + 24].numpy())


@pytest.mark.parametrize(
    ("make", "options", "reason"),
    [
        (lambda: torch.nn.Linear(2, 2), {}, "expected a model of transformers, got a Linear"),
        (tiny.llama, {}, "expected raster for a model of model_type 'llama', got none"),
        (tiny.emu3, {"family": "emu4"}, "expected family to be one of janus-pro, .*, got family='emu4'"),
        (tiny.emu3, {"family": "anole"}, "expected a model of model_type chameleon for anole, got 'emu3'.* take emu3"),
        (lambda: tiny.llama().model, {"raster": tiny.RASTER}, "expected a model with a decoder and a head"),
        (
            tiny.llama,
            {"raster": Raster(ids=(4, 101), rows=1, cols=1)},
            r"expected ids of the picture below 100, the width of the logits, got ids=\(4, 101\)",
        ),
    ],
)
def test_what_is_refused(make: Any, options: Any, reason: str) -> None:
    with pytest.raises(SpecError, match=reason):
        parts_of(make(), **options)


def test_ids_with_gaps_are_refused() -> None:
    module = tiny.emu3()
    del module.model.vocabulary_mapping.vocab_map["<|visual token 000003|>"]
    with pytest.raises(SpecError, match="expected visual tokens of vocabulary_map without gaps, got 39 ids"):
        parts_of(module)
