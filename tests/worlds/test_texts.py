"""The text that leads a Video2World model, and what is asked of others."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("av")

from diagplan.planner.errors import SpecError  # noqa: E402
from diagplan.worlds.texts import read_text, require_text  # noqa: E402
from tests.support.cosmos_files import write_t5  # noqa: E402
from tests.support.cosmos_world import cosmos_world, write_cosmos_world  # noqa: E402


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cosmos_world(tmp_path_factory.mktemp("cosmos"))


def test_one_of_features_and_text(files: Path) -> None:
    base, text = cosmos_world(files, lazy=True), cosmos_world(files, "text", lazy=True)
    led, encoder = text.with_text(np.load(files / "text.npy")), Path("t5")
    for world, given, words in (
        (text, (None, None), "expected a text for cosmos, a Video2World model, got none"),
        (text, ("a fox", None), "expected --text and --text-encoder together"),
        (text, (None, encoder), "expected --text and --text-encoder together"),
        (led, ("a fox", encoder), "expected --context, or --text and --text-encoder, got both"),
        (base, ("a fox", encoder), "expected --text with a Video2World model, got it with cosmos"),
    ):
        with pytest.raises(SpecError, match=words):
            require_text(world, *given)
    require_text(base, None, None)
    require_text(led, None, None)
    require_text(text, "a fox", encoder)


def test_a_text_becomes_features(files: Path, tmp_path: Path) -> None:
    world = read_text(cosmos_world(files, "text", lazy=True), "a robot", write_t5(tmp_path / "t5"))
    features = world.source.options.context
    assert features.shape[-1] == 24
    assert features.dtype == torch.float32
    assert not world.reads_text
