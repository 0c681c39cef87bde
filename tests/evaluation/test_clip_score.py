"""The CLIP score, on a tiny random CLIP."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from diagplan.evaluation.clip_score import load_clip  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from tests.support.clip_folder import write_clip  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


def test_scores_are_the_library_s_own_cosines(folder: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 20, 24, 3)).astype(np.uint8)
    texts = ["a cat", "a text that is longer than the model reads", "dog"]
    clip = load_clip(folder)
    scores = clip.scores(pictures, texts, batch=2)
    model = transformers.CLIPModel.from_pretrained(folder).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)
    kind = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    rules = kind.from_pretrained(folder)
    for number, text in enumerate(texts):
        seen = rules(pictures[number], return_tensors="pt")["pixel_values"]
        read = words(text, truncation=True, max_length=12, return_tensors="pt")
        with torch.no_grad():
            out = model(input_ids=read["input_ids"], attention_mask=read["attention_mask"], pixel_values=seen)
        scale = model.logit_scale.exp().item()
        assert scores[number] == pytest.approx(max(0.0, 100 * out.logits_per_image.item() / scale), abs=1e-3)
    assert scores.max() > 0
    assert clip.scores(pictures, texts, batch=3) == pytest.approx(scores, abs=1e-4)


def test_other_pictures_are_refused(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"expected pictures uint8 \[B, height, width, 3\] and a text for each"):
        load_clip(folder).scores(np.zeros((2, 8, 8, 3), np.uint8), ["a"])


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "preprocessor_config.json"])
def test_what_is_missing_is_named(name: str, folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "clip")
    (tmp_path / "clip" / name).unlink()
    with pytest.raises(DocumentError, match=rf"weights needed: .*{name}.*Fetch the whole folder\."):
        load_clip(tmp_path / "clip")


def test_another_model_and_damaged_weights(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "clip")
    (tmp_path / "clip" / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(DocumentError, match=r"expected a CLIP in .*got files that cannot be read"):
        load_clip(tmp_path / "clip")
    for config in (json.dumps({"model_type": "llama"}), "[]", "{"):
        (tmp_path / "clip" / "config.json").write_text(config)
        with pytest.raises(DocumentError, match="expected model_type clip in"):
            load_clip(tmp_path / "clip")
