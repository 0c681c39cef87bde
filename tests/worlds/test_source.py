"""A world's transformer before it is loaded: sizes, memory, itself."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")
pytest.importorskip("diffusers")

from diagplan import NextToken, compile_plan  # noqa: E402
from diagplan.adapters.options import LoadOptions  # noqa: E402
from diagplan.backends.errors import CapacityError  # noqa: E402
from diagplan.backends.memory import Memory, estimate_memory  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from diagplan.worlds import load_world  # noqa: E402
from diagplan.worlds.source import Source  # noqa: E402


@pytest.fixture(scope="module")
def source() -> Source:
    return load_world("crafter-mini", lazy=True).source


def test_sizes_are_those_of_the_model(source: Source) -> None:
    sizes = source.sizes()
    model = source.load()
    assert (sizes["vocab_size"], sizes["max_position_embeddings"]) == (model.vocab_size, model.positions)
    assert source.load() is not model  # the world keeps it, not its source


def test_replaced_is_another_source(source: Source) -> None:
    other = source.replaced(backend="onnx")
    assert (source.exported, other.exported) == (False, True)
    assert other.options == source.options.replaced(backend="onnx")
    with pytest.raises(SpecError, match="They were chosen when the model was exported"):
        other.sizes()  # its config is
    with pytest.raises(DocumentError, match="expected the folder of an exported model"):
        other.replaced(config=None).about()


def test_memory_is_told_before_it_is_checked(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = compile_plan(load_world("crafter-mini", lazy=True).layout(1, 1), NextToken())
    told: list[Memory] = []
    memory = source.require_memory(plan, sampled=False, report=told.append)
    assert memory is not None
    assert told == [memory]
    assert memory.tokenizer > 0
    assert memory.weights == estimate_memory(source.load(), plan).weights
    monkeypatch.setattr("diagplan.models.estimates.free_memory", lambda _: 1000)
    with pytest.raises(CapacityError, match="Nothing was loaded"):
        source.require_memory(plan, sampled=False, report=told.append)
    assert len(told) == 2


def test_a_family_whose_files_tell_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    from diagplan.adapters.families import family_named

    monkeypatch.setattr("diagplan.worlds.source.family_named", lambda name: replace(family_named(name), open=None))
    silent = Source(adapter="mc-ar", weights=Path("w"), tokenizer=Path("t"), options=LoadOptions())
    with pytest.raises(SpecError, match="expected a family whose files tell its sizes, got adapter='mc-ar'"):
        silent.sizes()
