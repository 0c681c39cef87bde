"""An exported image tokenizer: the codes and pictures of the network it was made from, for frames of one size."""

import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from diagplan.adapters.image_tokenizer import ImageTokenizer  # noqa: E402
from diagplan.backends.onnx_export import export_tokenizer  # noqa: E402
from diagplan.backends.onnx_tokenizer import DECODER, ENCODER, load_onnx_tokenizer  # noqa: E402
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from diagplan.training.tokenizer import TokenizerRecipe  # noqa: E402

RECIPE = TokenizerRecipe(codes=8, channels=(4, 8, 8), latent=4)
FRAMES = np.random.default_rng(0).integers(0, 256, (18, 16, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tokenizer() -> ImageTokenizer:
    torch.manual_seed(0)
    return ImageTokenizer(RECIPE.model())


@pytest.fixture(scope="module")
def folder(tokenizer: ImageTokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tokenizer")
    rows, cols = (size // tokenizer.factor for size in FRAMES.shape[1:3])
    export_tokenizer(tokenizer, place / ENCODER, place / DECODER, rows=rows, cols=cols)
    return place


@pytest.mark.parametrize("frames", [1, 2, 18])
def test_it_is_the_networks(frames: int, tokenizer: ImageTokenizer, folder: Path) -> None:
    exported = load_onnx_tokenizer(folder, threads=1)
    assert (exported.codes, exported.factor) == (tokenizer.codes, tokenizer.factor)
    tokens = tokenizer.encode(FRAMES[:frames])
    np.testing.assert_array_equal(exported.encode(FRAMES[:frames]), tokens)
    pictures = [one.decode(tokens).astype(np.int64) for one in (exported, tokenizer)]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1  # a value between two levels


def test_frames_of_another_size(tokenizer: ImageTokenizer, folder: Path) -> None:
    exported = load_onnx_tokenizer(folder, threads=1)
    rows, cols = exported.rows, exported.cols
    words = (
        rf"expected frames of {rows} x {cols} tokens, for which this tokenizer was exported, got {2 * rows} x {cols}"
    )
    with pytest.raises(SpecError, match=words):
        exported.encode(np.repeat(FRAMES, 2, axis=1))
    with pytest.raises(SpecError, match=words):
        exported.decode(np.repeat(tokenizer.encode(FRAMES[:1]), 2, axis=1))


@pytest.mark.slow
def test_halves_of_two_tokenizers(folder: Path, tmp_path: Path) -> None:
    twice = Path(shutil.copytree(folder, tmp_path / "twice"))
    shutil.copyfile(folder / ENCODER, twice / DECODER)
    shutil.copyfile(folder / f"{ENCODER}.data", twice / f"{DECODER}.data")
    with pytest.raises(DocumentError):
        load_onnx_tokenizer(twice)
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    torch.manual_seed(0)
    larger = ImageTokenizer(TokenizerRecipe(codes=16, channels=(4, 8, 8), latent=4).model())
    export_tokenizer(larger, other / ENCODER, tmp_path / "unused.onnx", rows=4, cols=8)
    with pytest.raises(DocumentError, match="expected the two halves of one tokenizer in"):
        load_onnx_tokenizer(other)
