"""The example adapter: it keeps to the contract that it explains."""

import pytest

pytest.importorskip("torch")

from diagplan.adapters.contract import Model
from diagplan.backends.selftest import require_masks_obeyed
from diagplan.examples.image_model import END_OF_LINE, IMAGE_IDS, PROMPT_IDS, ImageModel


def test_it_keeps_to_the_contract() -> None:
    model: Model = ImageModel.random(positions=20)
    require_masks_obeyed(model)


def test_ids_are_told_apart() -> None:
    assert ImageModel.vocab_size == IMAGE_IDS + 1 + PROMPT_IDS
    assert all(rule.high <= END_OF_LINE for rule in ImageModel.vocabulary)


def test_a_fingerprint_covers_all_weights() -> None:
    one, other = ImageModel.random(positions=5), ImageModel.random(positions=5)
    assert one.fingerprint() == other.fingerprint()
    other.weights["out"][0, 0] += 1
    assert one.fingerprint() != other.fingerprint()
