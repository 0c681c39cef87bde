"""Chains of prompts of different length, of positions as data, of embeddings, and guided for some steps."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from diagplan import Diagonal, Layout, MismatchError, NextToken, Sample, chain_layouts, compile_chain  # noqa: E402
from diagplan.backends.chained import replay_chain  # noqa: E402
from diagplan.backends.reference import reference_chain  # noqa: E402
from diagplan.backends.sampling import Greedy  # noqa: E402
from diagplan.planner.chain import Chain  # noqa: E402
from diagplan.planner.coordinates import Coordinates  # noqa: E402
from tests.support.families import MODELS  # noqa: E402
from tests.support.hash_model import HashModel  # noqa: E402

FIRST, SECOND = Layout(frames=1, rows=2, cols=3, lead=6), Layout(frames=1, rows=3, cols=3, lead=1, between_rows=1)
PADS = (0, 2, 5)


def chain_of_lead(lead: int, schedule: Any) -> Chain:
    first = Layout(frames=1, rows=2, cols=3, lead=lead)
    return compile_chain(chain_layouts([first, SECOND, FIRST], [2, 0]), schedule)


def ids_of(chain: Chain, batch: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 40, (batch, len(chain.given_slots())))


@pytest.mark.parametrize("schedule", [NextToken(), Diagonal(k=1)], ids=repr)
@pytest.mark.parametrize("static", [False, True])
def test_a_padded_sample_is_what_it_is_alone(schedule: Any, static: bool) -> None:
    """In every plan: padding of the first one lies in the cache that the later ones find."""
    model = MODELS["mc-ar"](torch.float64)
    chain = chain_of_lead(6, schedule)
    ids = ids_of(chain, 3)
    options: dict[str, Any] = {"sampler": Sample(temperature=1.5), "seed": 3, "chunk": 4, "static": static}
    together = replay_chain(chain, model, ids, batch=3, pad=PADS, **options)
    for number, pad in enumerate(PADS):
        alone = replay_chain(
            chain_of_lead(6 - pad, schedule), model, ids[number : number + 1, pad:], samples=[number], **options
        )
        for tokens, own in zip(together.tokens, alone.tokens, strict=True):
            np.testing.assert_array_equal(tokens[number], own[0])
    unpadded = replay_chain(chain, model, ids, batch=3, **options)
    assert all((a[2] != b[2]).any() for a, b in zip(together.tokens, unpadded.tokens, strict=True))


class _Placed(HashModel):
    """Positions are rows of a table, which are all hashed."""

    def __init__(self) -> None:
        self.asked: list[tuple[Layout, ...]] = []

    def coordinates(self, *layouts: Layout) -> Any:
        self.asked.append(layouts)
        table = np.random.default_rng(9).integers(0, 99, (400, 3))  # a position keeps its row in every plan
        return table[: layouts[-1].positions]

    def forward(self, ids: Any, position: Any, *rest: Any) -> Any:
        assert position.shape[-1] == 3
        return super().forward(ids, (position * torch.tensor([1, 100, 10000])).sum(-1), *rest)


@pytest.mark.parametrize("schedule", [NextToken(), Diagonal(k=1)], ids=repr)
def test_coordinates_are_asked_for_with_the_layouts_so_far(schedule: Any) -> None:
    chain, model = chain_of_lead(3, schedule), _Placed()
    ids = ids_of(chain, 1)
    done = replay_chain(chain, model, ids)
    layouts = [plan.layout for plan in chain.plans]
    assert set(model.asked) == {tuple(layouts[: number + 1]) for number in range(3)}
    expected = reference_chain(chain, model, torch.from_numpy(ids), Greedy(), [0], [0]).numpy()
    for plan, tokens in zip(chain.plans, done.tokens, strict=True):
        np.testing.assert_array_equal(tokens, expected[:, plan.layout.cell_slots()])
    slots = replay_chain(chain, HashModel(), ids)
    assert (done.tokens[0] != slots.tokens[0]).any()


def test_the_table_of_grid_coordinates_serves_a_chain() -> None:
    """What was fed by a plan before lies where the later plan's table has it too, or the cache would not be its own."""
    layouts = chain_layouts([FIRST, SECOND, FIRST], [2, 1])
    table = Coordinates(("base", "base+row", "base+col"))
    before = np.zeros((0, 3), dtype=np.int64)
    for number in range(3):
        now = table(*layouts[: number + 1])
        assert len(now) == layouts[number].positions
        np.testing.assert_array_equal(now[: len(before)], before)
        before = now


class _Moving(_Placed):
    def coordinates(self, *layouts: Layout) -> Any:
        return super().coordinates(*layouts) + (np.arange(layouts[-1].positions)[:, None] > 2) * len(layouts)


def test_positions_that_move_as_the_sequence_grows_are_refused_unless_fed_again() -> None:
    layouts = chain_layouts([FIRST, SECOND], 2)
    chain, fresh = (compile_chain(layouts, NextToken(), refeed=refeed) for refeed in (False, True))
    ids = ids_of(chain, 1)
    with pytest.raises(MismatchError, match="expected kept positions to lie where they lay, got others for"):
        replay_chain(chain, _Moving(), ids)
    expected = reference_chain(fresh, _Moving(), torch.from_numpy(ids), Greedy(), [0], [0]).numpy()
    tokens = replay_chain(fresh, _Moving(), ids).tokens
    np.testing.assert_array_equal(tokens[1], expected[:, layouts[1].cell_slots()])


class _Embedded(HashModel):
    """An embedding is one number, which stands for an id."""

    lead_width = 1

    def forward(
        self, ids: Any, position: Any, slot: Any, mask: Any, cache: Any, rows: Any = None, lead: Any = None
    ) -> Any:
        if lead is not None:
            own = lead[:, :, 0].long().gather(1, (-1 - ids).clamp(min=0))
            ids = torch.where(ids < 0, own, ids)
        return super().forward(ids, position, slot, mask, cache, rows)


@pytest.mark.parametrize("refeed", [False, True])
def test_embeddings_stand_for_given_ids_in_every_plan(refeed: bool) -> None:
    layouts = chain_layouts([FIRST, SECOND], 2)
    chain, model = compile_chain(layouts, Diagonal(k=1), refeed=refeed), _Embedded()
    ids = ids_of(chain, 2)
    expected = replay_chain(chain, model, ids, batch=2).tokens
    lead = torch.from_numpy(ids[:, [0, 3, 7]]).float()[:, :, None]  # of the prompt, and between the grids
    named = ids.copy()
    named[:, [0, 3, 7]] = [-1, -2, -3]
    got = replay_chain(chain, model, named, batch=2, lead=lead).tokens
    for own, other in zip(got, expected, strict=True):
        np.testing.assert_array_equal(own, other)
    with pytest.raises(MismatchError, match="expected given ids from 0 to 250, got -3 to"):
        replay_chain(chain, model, named, batch=2)
    with pytest.raises(MismatchError, match="expected given ids from -2 to 250, got -3 to"):
        replay_chain(chain, model, named, batch=2, lead=lead[:, :2])


def test_guided_steps_count_in_each_plan() -> None:
    """No step is guided: the conditional logits stand alone; the first one is: only what follows from it differs."""
    model = MODELS["mc-ar"](torch.float64)
    chain = compile_chain(chain_layouts([FIRST, SECOND], 1), NextToken())
    ids = ids_of(chain, 2)
    alone = replay_chain(chain, model, ids[:1]).tokens
    none = replay_chain(chain, model, ids, guidance=9.0, guided_steps=(0, 0)).tokens
    late = replay_chain(chain, model, ids, guidance=9.0, guided_steps=(6, None)).tokens
    for own, other in zip(none, alone, strict=True):
        np.testing.assert_array_equal(own, other)
    np.testing.assert_array_equal(late[0], alone[0])  # the first plan has six steps
    np.testing.assert_array_equal(late[1].ravel()[:6], alone[1].ravel()[:6])
    assert (late[1] != alone[1]).any()
