"""WHAM's record: loading through it, its own way of sampling, files that pickle classes of their own."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from diagplan import LoadOptions, Sample  # noqa: E402
from diagplan.adapters.wham import random_weights  # noqa: E402
from diagplan.adapters.wham_family import FAMILY  # noqa: E402
from diagplan.planner.errors import SpecError  # noqa: E402
from tests.support.checkpoints import write_torch  # noqa: E402
from tests.support.wham import CONFIG  # noqa: E402


def test_load_and_open_agree(tmp_path: Path) -> None:
    path = write_torch(random_weights(CONFIG), tmp_path / "w.ckpt")
    options = LoadOptions(config=CONFIG)
    model = FAMILY.load(path, options)
    assert FAMILY.open is not None
    opened = FAMILY.open(path, options)
    assert (opened.config, opened.vocab_size) == (CONFIG, model.vocab_size)


def test_its_release_samples_its_own_way() -> None:
    assert FAMILY.sampler(None, None, None) == Sample(temperature=0.9, crossing="drop")
    assert FAMILY.sampler(0.0, None, 1.0) == Sample(temperature=0.1, crossing="drop")
    coolest = FAMILY.sampler(None, None, 0.0)
    assert isinstance(coolest, Sample)
    assert coolest.top_p is not None
    assert 0 < coolest.top_p < 1e-200
    with pytest.raises(SpecError, match="expected 0 <= top_p <= 1, got top_p=1"):
        FAMILY.sampler(None, None, 1.1)
    with pytest.raises(SpecError, match=r"expected temperature >= 0, got temperature=-1\. 0 is greedy"):
        FAMILY.sampler(-1, None, None)
    hot: Any = "hot"
    for arguments in ((hot, None, None), (None, None, hot)):
        with pytest.raises(SpecError, match=r"expected (temperature|top_p) to be a number, got .*='hot'\. Give one"):
            FAMILY.sampler(*arguments)
