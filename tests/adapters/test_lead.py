"""Embeddings in the place of ids: each of its own row, and ids as they are."""

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.lead import embedded  # noqa: E402

TABLE = torch.arange(8.0).view(4, 2)
LEAD = torch.tensor([[[10.0, 11.0], [12.0, 13.0]], [[20.0, 21.0], [22.0, 23.0]]])


def test_an_id_below_zero_is_an_embedding_of_its_row() -> None:
    fed = embedded(torch.tensor([[3, -1, -2], [-2, 0, -1]]), LEAD, TABLE.__getitem__)
    assert fed.tolist() == [[[6, 7], [10, 11], [12, 13]], [[22, 23], [0, 1], [20, 21]]]


def test_without_embeddings_all_ids_are_ids() -> None:
    ids = torch.tensor([[3, 0]])
    assert embedded(ids, None, TABLE.__getitem__).tolist() == [[[6, 7], [0, 1]]]
