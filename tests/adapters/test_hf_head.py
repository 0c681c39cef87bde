"""A head's rows of a picture's ids alone, where nothing else takes part in it."""

from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.hf_head import among_all, is_plain, picture_head  # noqa: E402


@pytest.mark.parametrize("bias", [True, False])
def test_logits_of_a_pictures_ids_are_the_heads_and_others_are_zero(bias: bool) -> None:
    head = torch.nn.Linear(8, 20, bias=bias)
    stream = torch.randn(2, 3, 8)
    got = picture_head(head, (5, 12), 20)(stream)
    torch.testing.assert_close(got[..., 5:12], head(stream)[..., 5:12])
    assert not got[..., :5].any()
    assert not got[..., 12:].any()
    assert got.shape == (2, 3, 20)


def test_no_row_of_another_id_is_read() -> None:
    head = torch.nn.Linear(8, 20, bias=False)
    narrow, stream = picture_head(head, (5, 12), 20), torch.randn(1, 1, 8)
    want = narrow(stream)
    head.weight.data[:5], head.weight.data[12:] = float("nan"), float("nan")
    assert torch.equal(narrow(stream), want)


def test_a_head_of_the_pictures_ids_alone_stays() -> None:
    head = torch.nn.Linear(8, 20)
    assert picture_head(head, (0, 20), 20) is head


def hooked() -> Any:
    head = torch.nn.Linear(8, 20)
    head.register_forward_hook(lambda *_: None)
    return head


def brought() -> Any:
    head = torch.nn.Linear(8, 20)
    head._hf_hook = SimpleNamespace()
    return head


@pytest.mark.parametrize(
    "head",
    [hooked(), brought(), torch.nn.Linear(8, 20, device="meta"), torch.nn.Sequential(torch.nn.Linear(8, 20)), len],
)
def test_what_else_there_is_stays_as_it_is(head: Any) -> None:
    assert not is_plain(head)
    assert picture_head(head, (5, 12), 20) is head


def test_zeros_stand_around() -> None:
    assert among_all(torch.ones(1, 1, 2), (1, 3), 4).tolist() == [[[0, 1, 1, 0]]]
