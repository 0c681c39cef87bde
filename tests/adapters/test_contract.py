"""The forward contract: which ids may be chosen where, and that every family has every member."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagplan import Layout
from diagplan.adapters import contract
from diagplan.adapters.contract import AllowedIds, Model, allowed_ids
from tests.support.strategies import layouts


@st.composite
def rules(draw: st.DrawFn) -> list[AllowedIds]:
    def ends() -> tuple[int, int | None]:
        return draw(st.integers(0, 4)), draw(st.none() | st.integers(0, 5))

    low = st.integers(0, 9)
    return [AllowedIds(low=draw(low), high=draw(low), rows=ends(), cols=ends()) for _ in range(draw(st.integers(0, 4)))]


@given(layout=layouts(frames=3, side=4), some=rules())
def test_the_last_rule_of_a_cell_holds(layout: Layout, some: list[AllowedIds]) -> None:
    """Slot by slot in plain Python."""
    table = allowed_ids(some, layout)
    assert table.shape == (layout.positions, 2)
    assert table.dtype == np.int64
    expected = np.zeros((layout.positions, 2), np.int64)
    for (_, row, col), slot in np.ndenumerate(layout.cell_slots(prompt=True)):
        for rule in some:
            within = (
                start <= at < (size if end is None else end)
                for at, size, (start, end) in ((row, layout.rows, rule.rows), (col, layout.cols, rule.cols))
            )
            if all(within):
                expected[slot] = rule.low, rule.high
    np.testing.assert_array_equal(table, expected)


def test_slots_that_are_no_cells_have_the_empty_range() -> None:
    layout = Layout(frames=2, rows=2, cols=2, prompt_frames=1, lead=1, between_frames=2, between_rows=1)
    low, high = allowed_ids([AllowedIds(low=3, high=7)], layout).T
    cells = np.zeros(layout.positions, np.bool_)
    cells[layout.cell_slots(prompt=True)] = True
    np.testing.assert_array_equal(low < high, cells)


@pytest.mark.parametrize("name", ["mc-ar", "cosmos", "wham", "example"])
def test_every_family_has_every_member(name: str) -> None:
    torch = pytest.importorskip("torch")
    from tests.support.families import MODELS

    model: Any = MODELS[name](torch.float32)
    for member in (*Model.__annotations__, "new_cache", "weight_bytes", "fingerprint", "forward"):
        assert hasattr(model, member), member
    assert len(model.cache_shapes) == len(model.new_cache(1, 2).tensors)
    assert model.weight_bytes() > 0
    assert model.fingerprint() == MODELS[name](torch.float32).fingerprint()


#: Optional member -> the function that reads it.
OPTIONAL = {
    "widths": contract.widths_of,
    "config": contract.config_of,
    "runtime": contract.own_runtime,
    "only_batch": contract.only_batch_of,
    "threads": contract.own_threads,
    "lead_width": contract.lead_width_of,
    "ranks": contract.ranks_of,
}
#: In whose absence another member stands.
FALLING_BACK = {
    "input_vocab_size": contract.input_vocab_of,
    "ragged": contract.is_ragged,
    "coordinates": contract.coordinates_of,
}


def test_as_many_ids_are_fed_as_chosen_where_a_model_says_nothing() -> None:
    both: Any = SimpleNamespace(vocab_size=3, input_vocab_size=5)
    assert contract.input_vocab_of(both) == 5
    del both.input_vocab_size
    assert contract.input_vocab_of(both) == 3


def test_coordinates_are_of_the_layouts_of_a_chain() -> None:
    first, second = Layout(frames=1, rows=1, cols=2, lead=1), Layout(frames=1, rows=1, cols=2, lead=3)
    model: Any = SimpleNamespace(coordinates=lambda *layouts: np.full((layouts[-1].positions, 2), len(layouts)))
    table = contract.coordinates_of(model, first, second)
    assert table is not None
    assert table.shape == (5, 2)
    assert table.dtype == np.int64
    assert table[0, 0] == 2
    nothing: Any = SimpleNamespace()
    assert contract.coordinates_of(nothing, first) is None
    ragged: Any = SimpleNamespace(ragged=True)
    assert (contract.is_ragged(nothing), contract.is_ragged(ragged)) == (False, True)


@pytest.mark.parametrize("member", OPTIONAL)
def test_an_optional_member_is_read_or_is_none(member: str) -> None:
    value = object()
    with_it: Any = SimpleNamespace(**{member: value})
    without: Any = SimpleNamespace()
    assert OPTIONAL[member](with_it) is value
    assert OPTIONAL[member](without) is None


def test_optional_members_are_declared_and_read_in_one_place() -> None:
    """The docstring of ``Model`` and docs/adapters.md name them all, and nobody else looks one up by hand."""
    root = Path(__file__).resolve().parents[2]
    declared = dict(re.findall(r"^    ``(\w+)(?:: \w+)?`` +``(\w+)`` ", Model.__doc__ or "", re.MULTILINE))
    assert declared == {member: reader.__name__ for member, reader in (OPTIONAL | FALLING_BACK).items()}
    page = (root / "docs" / "adapters.md").read_text(encoding="utf-8")
    assert dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", page, re.MULTILINE)) == declared
    sources = [path for name in ("adapters", "backends", "diagplan") for path in (root / name).rglob("*.py")]
    by_hand = [path for path in sources if re.search(r"getattr\(model, [\"']", path.read_text(encoding="utf-8"))]
    assert by_hand == [root / "adapters" / "contract.py"]
