"""The image tokenizer: frames to tokens and back, files of our own and of the release, one clear error for the rest."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from diagplan.adapters.image_tokenizer import (  # noqa: E402
    ImageTokenizer,
    empty_vq,
    load_image_tokenizer,
    tokenizer_files,
    vq_class,
)
from diagplan.planner.errors import DocumentError, MissingExtraError, SpecError  # noqa: E402
from diagplan.training.tokenizer import TokenizerRecipe, save_image_tokenizer  # noqa: E402
from tests.support.budget import within_budget  # noqa: E402
from tests.support.checkpoints import write_safetensors, write_torch  # noqa: E402

RECIPE = TokenizerRecipe(codes=8, channels=(4, 8, 8), latent=4)
FRAMES = np.random.default_rng(0).integers(0, 256, (18, 8, 12, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def tokenizer() -> ImageTokenizer:
    torch.manual_seed(0)
    return ImageTokenizer(RECIPE.model())


@pytest.fixture
def folder(tokenizer: ImageTokenizer, tmp_path: Path) -> Path:
    save_image_tokenizer(tokenizer.model, tmp_path, dtype=torch.float32)
    return tmp_path


def test_shapes_and_ranges(tokenizer: ImageTokenizer) -> None:
    assert (tokenizer.factor, tokenizer.codes, RECIPE.side) == (4, 8, 4)
    tokens = tokenizer.encode(FRAMES)  # more frames than go through the network at a time
    assert tokens.dtype == np.int64
    assert tokens.shape == (18, 2, 3)
    assert 0 <= tokens.min() <= tokens.max() < 8
    made = tokenizer.decode(tokens)
    assert made.dtype == np.uint8
    assert made.shape == FRAMES.shape
    np.testing.assert_array_equal(tokenizer.encode(FRAMES[16:]), tokens[16:])
    np.testing.assert_array_equal(tokenizer.decode(tokens[:1].astype(np.int16)), made[:1])


def test_tokens_are_the_nearest_codes(tokenizer: ImageTokenizer) -> None:
    with torch.no_grad():
        latents = tokenizer.model.encode(tokenizer.pixels(torch.from_numpy(FRAMES))).latents.permute(0, 2, 3, 1)
        book = tokenizer.model.quantize.embedding.weight
        nearest = (latents[..., None, :] - book).pow(2).sum(-1).argmin(-1)
    np.testing.assert_array_equal(tokenizer.encode(FRAMES), nearest.numpy())


def test_pixels_are_between_minus_one_and_one(tokenizer: ImageTokenizer) -> None:
    ends = np.stack([np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 255, np.uint8)])
    pixels = tokenizer.pixels(torch.from_numpy(ends))
    assert pixels.shape == (2, 3, 4, 4)
    assert (pixels[0] == -1).all()
    assert (pixels[1] == 1).all()


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (FRAMES.astype(np.float32), r"expected frames uint8 \[T, height, width, 3\], got float32"),
        (FRAMES[0], r"got uint8 \(8, 12, 3\)"),
        (FRAMES[..., :2], r"\(18, 8, 12, 2\)"),
        (FRAMES[:0], "at least one frame"),
        (FRAMES[:, :7], "multiples of 4 pixels, got 7 x 12"),
        (FRAMES[:, :, :10], "got 8 x 10"),
    ],
)
def test_frames_that_are_none(tokenizer: ImageTokenizer, frames: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        tokenizer.encode(frames)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (np.zeros((1, 2, 3)), "of integers, got float64"),
        (np.zeros((2, 3), int), r"expected tokens \[T, rows, cols\]"),
        (np.zeros((0, 2, 3), int), "at least one frame"),
        (np.full((1, 2, 3), 8), "expected tokens from 0 to 7, got 8 to 8"),
        (np.full((1, 2, 3), -1), "got -1 to -1"),
    ],
)
def test_tokens_that_are_none(tokenizer: ImageTokenizer, tokens: Any, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        tokenizer.decode(tokens)


def weights(tokenizer: ImageTokenizer, prefix: str = "") -> dict[str, Any]:
    return {prefix + name: tensor.clone() for name, tensor in tokenizer.model.state_dict().items()}


def test_a_model_without_weights_takes_no_room() -> None:
    model = empty_vq(block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D",) * 2,
                     up_block_types=("UpDecoderBlock2D",) * 2, num_vq_embeddings=1 << 40)  # fmt: skip
    assert {weight.device.type for weight in model.state_dict().values()} == {"meta"}
    assert model.quantize.embedding.weight.shape[0] == 1 << 40


@pytest.mark.parametrize(
    "form", ["safetensors", "float16", "vae.ckpt, plain", "vae.ckpt, state_dict", "vae.ckpt, with prefix and loss"]
)
def test_every_form_of_file_is_read(form: str, tokenizer: ImageTokenizer, folder: Path) -> None:
    file = folder / "diffusion_pytorch_model.safetensors"
    if form == "float16":
        write_safetensors({name: tensor.half() for name, tensor in weights(tokenizer).items()}, file)
    elif form != "safetensors":
        file.unlink()
        more = {"loss.discriminator.weight": torch.ones(3)} if "loss" in form else {}
        prefix = "model." if "prefix" in form else ""
        holder = "state_dict" if "state_dict" in form else None
        write_torch(weights(tokenizer, prefix) | more, folder / "vae.ckpt", holder=holder)
    loaded = load_image_tokenizer(folder)
    assert loaded.model.dtype == torch.float32
    assert not any(weight.requires_grad for weight in loaded.model.parameters())
    if form == "float16":
        for name, tensor in weights(tokenizer).items():
            torch.testing.assert_close(loaded.model.state_dict()[name], tensor.half().float(), rtol=0, atol=0)
    else:
        np.testing.assert_array_equal(loaded.encode(FRAMES), tokenizer.encode(FRAMES))
        np.testing.assert_array_equal(loaded.decode(loaded.encode(FRAMES)), tokenizer.decode(tokenizer.encode(FRAMES)))


def test_diffusers_reads_the_folder(tokenizer: ImageTokenizer, folder: Path) -> None:
    from diffusers import VQModel

    load: Any = VQModel.from_pretrained
    theirs = ImageTokenizer(load(folder, local_files_only=True, low_cpu_mem_usage=False))
    np.testing.assert_array_equal(theirs.encode(FRAMES), tokenizer.encode(FRAMES))


def change(folder: Path, **keys: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"scaling": 2}, "expected the config of a diffusers VQModel, got .*config.json with scaling"),
        ({"_class_name": "AutoencoderKL"}, "with the class 'AutoencoderKL'"),
        ({"block_out_channels": "wide"}, "expected the config of a diffusers VQModel"),
        ({"block_out_channels": []}, "expected the config of a diffusers VQModel"),
        ({"norm_num_groups": 0}, "expected the config of a diffusers VQModel"),
        ({"down_block_types": ["Nothing"] * 3}, "expected the config of a diffusers VQModel"),
        ({"num_vq_embeddings": 16}, "quantize.embedding.weight"),
        ({"block_out_channels": [4, 8, 16]}, "diffusion_pytorch_model.safetensors"),
    ],
)
def test_another_config(folder: Path, keys: dict[str, Any], words: str) -> None:
    change(folder, **keys)
    with pytest.raises(DocumentError, match=words) as caught:
        load_image_tokenizer(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "which is not JSON"),
        ("[" * 100_000, "which is not JSON"),
        ("[]", "expected a JSON object"),
        (None, "cannot read"),
    ],
)
def test_a_broken_config(folder: Path, text: str | None, words: str) -> None:
    if text is None:
        (folder / "config.json").unlink()
    else:
        (folder / "config.json").write_text(text)
    with pytest.raises(DocumentError, match=words):
        load_image_tokenizer(folder)


def test_weights_that_are_missing_or_broken(tokenizer: ImageTokenizer, folder: Path) -> None:
    file = folder / "diffusion_pytorch_model.safetensors"
    assert tokenizer_files(folder) == (folder / "config.json", file)
    some = weights(tokenizer)
    name = next(iter(some))
    del some[name]
    write_safetensors(some, file)
    with pytest.raises(DocumentError, match=name):
        load_image_tokenizer(folder)
    file.write_bytes(b"\0" * 40)
    with pytest.raises(DocumentError, match=file.name):
        load_image_tokenizer(folder)
    file.unlink()
    with pytest.raises(DocumentError, match=r"expected the weights of an image tokenizer \(.*vae\.ckpt\) in"):
        load_image_tokenizer(folder)
    with pytest.raises(DocumentError, match="expected the weights"):
        load_image_tokenizer(folder / "nowhere")


def test_without_diffusers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    vq_class.cache_clear()
    with pytest.raises(MissingExtraError, match=r"diagplan\[video\]"):
        load_image_tokenizer(folder)


@pytest.mark.parametrize(
    ("sizes", "shown"),
    [
        ({"layers_per_block": 10**9}, "1000000000"),
        ({"block_out_channels": [64] * 100_000}, "100000"),
        ({"latent_channels": 1 << 60}, str(1 << 60)),
        ({"sample_size": "DIGITS"}, "a number of 13288 bits"),
        ({"layers_per_block": float("nan")}, "nan"),
    ],
    ids=["layers", "blocks", "channels", "digits", "nan"],
)
def test_image_tokenizers_of_no_size(sizes: dict[str, Any], shown: str, tmp_path: Path) -> None:
    vq_class()  # imported outside the budget
    (tmp_path / "config.json").write_text(json.dumps(sizes).replace('"DIGITS"', "9" * 4000))
    (tmp_path / "vae.safetensors").write_bytes(b"")
    with pytest.raises(DocumentError) as caught, within_budget(memory=4 << 30):
        load_image_tokenizer(tmp_path)
    assert f"with {shown}." in str(caught.value)
