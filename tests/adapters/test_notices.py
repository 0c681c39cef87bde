"""What models say of themselves when they are loaded."""

from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
save_file = pytest.importorskip("safetensors.torch").save_file

from diagplan.adapters.mc_ar import random_weights  # noqa: E402
from diagplan.adapters.mc_ar_files import load_mc_ar  # noqa: E402
from diagplan.adapters.notices import ModelWarning  # noqa: E402
from tests.support.mc_ar import GOLDEN, write_json  # noqa: E402


@pytest.mark.parametrize("change", [{"image_vocab": None}, {"image_vocab": None, "action_tokens": 0}, {}])
def test_a_model_that_may_choose_actions_says_so(change: dict[str, Any], tmp_path: Path) -> None:
    """Where nothing says which ids are image ids, an image slot may take any; without actions there are no others."""
    config = replace(GOLDEN, **change)
    save_file(random_weights(config), tmp_path / "model.safetensors")
    write_json(tmp_path, {key: value for key, value in asdict(config).items() if value is not None})
    warns = change == {"image_vocab": None}
    vocabulary = f"All {config.vocab_size} ids count as image ids, so an image slot may yield an action's"
    for given in (None, config):
        with pytest.warns(ModelWarning, match=vocabulary) if warns else nullcontext():
            model = load_mc_ar(tmp_path / "model.safetensors", config=given)
        high = config.vocab_size if "image_vocab" in change else config.image_vocab
        assert [(rule.low, rule.high) for rule in model.vocabulary] == [(0, high)]
