"""The folder of a world model: what comes out of training loads, here and in transformers."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

torch = pytest.importorskip("torch")
for needed in ("av", "diffusers", "matplotlib"):
    pytest.importorskip(needed)

from diagplan.adapters.image_tokenizer import load_image_tokenizer  # noqa: E402
from diagplan.adapters.mc_ar_files import load_mc_ar, read_mc_ar_config  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from diagplan.schemas.world import WorldDocument, read_world_document  # noqa: E402
from diagplan.training.llama import TrainedMcAr  # noqa: E402
from diagplan.training.tokenizer import save_image_tokenizer  # noqa: E402
from diagplan.training.world_folder import action_words, write_world  # noqa: E402
from tests.support.scrolling import CODES, COLS, CONFIG, ROWS, TOKENIZER, WORDS  # noqa: E402


def document(rope: str) -> WorldDocument:
    return WorldDocument(
        version=1, name="tiny", game="crafter", rows=ROWS, cols=COLS, context_frames=3, fps=6, actions=WORDS
    )


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an untrained tokenizer, with a log."""
    folder = tmp_path_factory.mktemp("tokenizer")
    save_image_tokenizer(TOKENIZER.model(), folder)
    (folder / "log.csv").write_text("step,loss\n30,0.1\n")
    return folder


@pytest.mark.parametrize("rope", ["1d", "3d"])
def test_a_world_loads_back(rope: Literal["1d", "3d"], tokenizer: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, rope=rope, rope_theta=5000.0, rms_norm_eps=2e-5)
    model = TrainedMcAr(config, seed=2)
    folder = tmp_path / "new" / "world"
    arguments: dict[str, Any] = {"config": config, "tokenizer": tokenizer, "document": document(rope)}
    write_world(folder, weights=model.weights(), records=[tokenizer / "log.csv"], **arguments)
    assert read_mc_ar_config(folder / "config.json") == config
    assert read_world_document(folder / "world.json") == document(rope)
    assert (folder / "log.csv").read_bytes() == (tokenizer / "log.csv").read_bytes()
    assert load_image_tokenizer(folder / "tokenizer").codes == CODES
    assert sorted(path.name for path in (folder / "tokenizer").iterdir()) == [
        "config.json", "diffusion_pytorch_model.safetensors",
    ]  # fmt: skip
    loaded = load_mc_ar(folder / "model.safetensors", config=folder / "config.json")
    assert loaded.config == config
    torch.testing.assert_close(
        loaded.embedding, model.weights()["model.embed_tokens.weight"].detach().half().float(), rtol=0, atol=0
    )
    ids = torch.from_numpy(np.random.default_rng(0).integers(0, CODES + 5, (2, 40)))
    at = torch.arange(40)
    ours = loaded.forward(ids, at, at, torch.ones(40, 40, dtype=torch.bool).tril(), loaded.new_cache(2, 40))
    transformers = pytest.importorskip("transformers")
    transformers.utils.logging.disable_progress_bar()
    if rope == "3d":  # transformers would compute 1D positions: it must not take the folder for a Llama
        with pytest.raises(ValueError, match=r"model_type|Unrecognized model"):
            transformers.AutoConfig.from_pretrained(folder)
        return
    theirs, about = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert type(theirs).__name__ == "LlamaForCausalLM"
    assert not any(about[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    with torch.no_grad():
        torch.testing.assert_close(ours, theirs(ids).logits, rtol=1e-4, atol=1e-4)


def test_a_world_is_whole_or_has_no_document(tokenizer: Path, tmp_path: Path) -> None:
    model = TrainedMcAr(CONFIG)
    arguments: dict[str, Any] = {"config": CONFIG, "tokenizer": tokenizer, "document": document("3d")}
    write_world(tmp_path, weights=model.weights(), **arguments)
    wild = {name: weight * 1e30 for name, weight in model.weights().items()}
    with pytest.raises(SpecError, match="lower learning rate"):
        write_world(tmp_path / "wild", weights=wild, **arguments)
    assert not (tmp_path / "wild").exists()
    with pytest.raises(DocumentError, match=r"nothing\.csv"):
        write_world(tmp_path, weights=model.weights(), records=[tmp_path / "nothing.csv"], **arguments)
    assert not (tmp_path / "world.json").exists()
    with pytest.raises(DocumentError, match="expected the weights of an image tokenizer"):
        write_world(tmp_path, weights=model.weights(), **(arguments | {"tokenizer": tmp_path / "nowhere"}))


def test_words() -> None:
    words = action_words(10, ["turn_left", "do", "turn_right", "move_up"])
    assert (words.begin, words.end) == (10, 11)
    assert words.ids == {"turn_left": 12, "do": 13, "turn_right": 14, "move_up": 15}
    assert words.opposites == {"turn_left": "turn_right", "turn_right": "turn_left"}
