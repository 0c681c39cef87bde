"""Every weight counts, whatever its dtype; none is held."""

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan.adapters.fingerprint import Fingerprinted, checksum  # noqa: E402


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int8])
def test_every_element_counts(dtype: Any) -> None:
    tensor = torch.arange(12).to(dtype).reshape(3, 4)
    for place in range(12):
        other = tensor.clone()
        other.view(-1)[place] += 1
        assert checksum(other) != checksum(tensor)
    assert checksum(tensor.t().contiguous().t()) == checksum(tensor)  # how it lies in memory does not
    assert checksum(torch.zeros(0, dtype=dtype)) == 0


def test_a_digest_is_of_what_was_taken() -> None:
    weights = {"a": torch.ones(2, 3), "b": torch.zeros(4)}

    def digest(held: dict[str, Any], *about: object) -> str:
        taken = Fingerprinted(held)
        assert [name for name in taken if taken[name] is held[name]] == list(held)
        return taken.digest(*about)

    assert digest(weights) == digest(dict(reversed(weights.items())))
    others = (
        {"a": weights["a"], "c": weights["b"]},
        {**weights, "b": torch.zeros(2, 2)},
        {**weights, "b": torch.ones(4)},
    )
    assert len({digest(weights), digest(weights, "int8"), *map(digest, others)}) == 5
    assert len(Fingerprinted(weights)) == 2
