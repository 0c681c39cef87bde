"""The sizes of WHAM: where they are found, and the bytes of a rank's part."""

from types import SimpleNamespace

import pytest

from diagplan.adapters.wham_config import CONFIGS, WhamConfig


def test_one_class_under_both_names() -> None:
    pytest.importorskip("torch")
    from diagplan.adapters import wham

    assert (wham.WhamConfig, wham.CONFIGS) == (WhamConfig, CONFIGS)


@pytest.mark.parametrize("packed", [False, True])
def test_bytes_of_a_ranks_part(packed: bool) -> None:
    pytest.importorskip("torch")
    from diagplan.adapters.parallel_parts import wham_part

    config = CONFIGS["wham-200m"]
    parts = [wham_part(config, SimpleNamespace(rank=rank, world=2)) for rank in range(2)]
    whole = config.weight_bytes(2, packed=packed)
    common = 2 * 1024 * (config.positions + 1 + 1 + 2 * 16)  # places, last norm, biases behind a sum
    own = [config.weight_bytes(2, packed=packed, cuts=part.cuts) for part in parts]
    assert sum(own) == whole + common
