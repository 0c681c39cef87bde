"""Cosmos' video tokenizer: the codes of FSQ, and clips through a TorchScript pair with the release's interface."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from diagplan.adapters.cosmos_tokenizer import (  # noqa: E402
    CODES,
    CosmosTokenizer,
    fsq_codes,
    fsq_indices,
    load_cosmos_tokenizer,
)
from diagplan.planner.errors import DocumentError, SpecError  # noqa: E402
from tests.support.cosmos_files import Decoder, Encoder, save  # noqa: E402

SMALL = (3, 4, 5)
RELEASE = (5, 40, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("DV8x16x16")
    save(Encoder(), place / "encoder.jit")
    save(Decoder(), place / "decoder.jit")
    return place


@pytest.fixture(scope="module")
def small(folder: Path) -> CosmosTokenizer:
    return load_cosmos_tokenizer(folder, latent_shape=SMALL)


def some_tokens(shape: tuple[int, ...], seed: int = 0) -> Any:
    return np.random.default_rng(seed).integers(0, CODES, shape)


# FSQ


def test_all_64000_codes_there_and_back() -> None:
    indices = torch.arange(CODES)
    codes = fsq_codes(indices)
    assert fsq_indices(codes).equal(indices)
    assert fsq_indices(codes.to(torch.bfloat16)).equal(indices)
    assert len(torch.unique(codes, dim=0)) == CODES == 64_000
    values = [torch.unique(codes[:, channel]).tolist() for channel in range(6)]
    assert values[:3] == [[-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75]] * 3
    assert values[3:] == [[-1, -0.5, 0, 0.5, 1]] * 3
    assert fsq_codes(torch.tensor(1)).tolist() == [-0.75, -1, -1, -1, -1, -1]  # the first channel is the fastest


@given(st.integers(0, CODES - 1))
def test_digits_are_of_mixed_radix(index: int) -> None:
    want, rest = [], index
    for level in (8, 8, 8, 5, 5, 5):
        rest, digit = divmod(rest, level)
        want.append((digit - level // 2) / (level // 2))
    assert fsq_codes(torch.tensor(index)).tolist() == want


# Clips


def test_the_releases_clip_there_and_back(folder: Path) -> None:
    """All 64,000 codes through pixels and files: five clips of 5 x 40 x 64 tokens hold each of them once."""
    tokenizer = load_cosmos_tokenizer(folder)
    assert tokenizer.clip == (33, 640, 1024)
    tokens = np.arange(math.prod(RELEASE)).reshape(RELEASE)
    frames = tokenizer.decode(tokens)
    assert frames.dtype == np.uint8
    assert frames.shape == (33, 640, 1024, 3)
    again = tokenizer.encode(frames)
    assert again.dtype == np.int64
    np.testing.assert_array_equal(again, tokens)


@pytest.mark.slow
@pytest.mark.parametrize("clip", range(5))
def test_every_code_through_the_releases_clip(folder: Path, clip: int) -> None:
    tokenizer = load_cosmos_tokenizer(folder)
    tokens = np.arange(CODES)[clip * 12_800 :][:12_800].reshape(RELEASE)
    np.testing.assert_array_equal(tokenizer.encode(tokenizer.decode(tokens)), tokens)


def test_every_code_through_small_clips(small: CosmosTokenizer) -> None:
    size = math.prod(SMALL)
    for first in range(0, CODES, 97 * size):
        tokens = (first + 97 * np.arange(size).reshape(SMALL)) % CODES
        np.testing.assert_array_equal(small.encode(small.decode(tokens)), tokens)


def test_pixels_end_at_minus_one_and_one(small: CosmosTokenizer) -> None:
    assert small.decode(np.zeros(SMALL, np.int64)).max() == 0
    white = fsq_indices(torch.tensor([0.75, 0.75, 0.75, 1, 1, 1]))
    frames = small.decode(np.full(SMALL, int(white), np.uint16))
    assert set(np.unique(frames)) == {223, 255}  # round(255 (0.75 / 2 + 0.5)), and white
    assert small._pixels(np.array([[[[0, 255, 51]]]], np.uint8)).flatten().tolist() == [
        -1,
        1,
        pytest.approx(-0.6, abs=1e-2),
    ]


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (9, 2)])
def test_prompts_are_filled_up_with_the_last_frame(frames: int, latents: int, folder: Path) -> None:
    seen: list[Any] = []
    tokenizer = load_cosmos_tokenizer(folder, latent_shape=SMALL)
    inner = tokenizer.encoder

    class Watched(nn.Module):
        def forward(self, pixels: Tensor) -> Any:
            seen.append(pixels)
            return inner(pixels)

    clip = tokenizer.decode(some_tokens(SMALL))
    want = tokenizer.encode(clip)[:latents]
    tokenizer.encoder = Watched()
    got = tokenizer.encode_prompt(clip[:frames])
    np.testing.assert_array_equal(got, want)  # the networks are causal in time: the filler changes nothing
    (pixels,) = seen
    assert pixels.shape == (1, 3, 17, 64, 80)
    assert (pixels[:, :, frames:] == pixels[:, :, frames - 1 : frames]).all()


FRAMES = np.zeros((17, 64, 80, 3), np.uint8)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (FRAMES[:16], "expected frames uint8 [17, 64, 80, 3], got uint8 [16, 64, 80, 3]. diagplan.video.frames.fit"),
        (FRAMES[:, :60], "got uint8 [17, 60, 80, 3]"),
        (FRAMES[..., :2], "got uint8 [17, 64, 80, 2]"),
        (FRAMES.astype(np.float32), "got float32"),
        (FRAMES[0], "got uint8 [64, 80, 3]"),
    ],
)
def test_clips_that_are_none(small: CosmosTokenizer, frames: Any, words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        small.encode(frames)


@pytest.mark.parametrize("count", [0, 2, 8, 17])
def test_other_prompts(small: CosmosTokenizer, count: int) -> None:
    with pytest.raises(SpecError, match="expected 1 or 9 frames to begin with"):
        small.encode_prompt(FRAMES[:count])
    with pytest.raises(SpecError, match="expected frames uint8"):
        small.encode_prompt(FRAMES[:9, :, :16])


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        (np.zeros(SMALL), "expected integer tokens [3, 4, 5], got float64"),
        (np.zeros((3, 5, 4), int), "got int64 [3, 5, 4]"),
        (np.full(SMALL, CODES), "expected tokens from 0 to 63999, got 64000 to 64000"),
        (np.full(SMALL, -1), "got -1 to -1"),
    ],
)
def test_tokens_that_are_none(small: CosmosTokenizer, tokens: Any, words: str) -> None:
    with pytest.raises(SpecError, match=re.escape(words)):
        small.decode(tokens)


# Files


def test_files_that_are_missing_or_broken(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        DocumentError, match=r"got no file .*encoder\.jit\. NVIDIA publishes .*Tokenize1-DV8x16x16-720p"
    ):
        load_cosmos_tokenizer(tmp_path)
    (tmp_path / "encoder.jit").write_bytes((folder / "encoder.jit").read_bytes())
    with pytest.raises(DocumentError, match=r"got no file .*decoder\.jit"):
        load_cosmos_tokenizer(tmp_path)
    whole = (folder / "decoder.jit").read_bytes()
    for data in (b"", b"PK\x03\x04", whole[: len(whole) // 2], b"\0" * 500):
        (tmp_path / "decoder.jit").write_bytes(data)
        with pytest.raises(DocumentError, match="expected a TorchScript file, got") as caught:
            load_cosmos_tokenizer(tmp_path)
        assert "\n" not in str(caught.value)
    torch.save({"w": torch.zeros(2)}, tmp_path / "decoder.jit")
    with pytest.raises(DocumentError, match="expected a TorchScript file, got"):
        load_cosmos_tokenizer(tmp_path)
    with pytest.raises(SpecError, match="expected latent_shape"):
        load_cosmos_tokenizer(folder, latent_shape=(5, 0, 64))


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        (Encoder("indices"), "the indices of its codes, levels [8, 8, 8, 5, 5, 5]; got others"),
        (Encoder("shape"), "integers [1, 3, 4, 5] and codes [1, 6, 3, 4, 5]; got torch.int32 [1, 2, 4, 5]"),
        (Decoder(), "to take torch.bfloat16 [1, 3, 17, 64, 80]; got an error"),
        (nn.Identity(), "indices and codes; got Tensor"),
    ],
    ids=["indices", "shape", "decoder", "identity"],
)
def test_encoders_of_another_kind(encoder: Any, words: str) -> None:
    tokenizer = CosmosTokenizer(encoder, Decoder(), latent_shape=SMALL)
    with pytest.raises(DocumentError, match=re.escape(words)):
        tokenizer.encode(FRAMES)


@pytest.mark.parametrize(
    ("decoder", "words"),
    [
        (Decoder("shape"), "pixels [1, 3, 17, 64, 80]; got [1, 3, 16, 64, 80]"),
        (Decoder("nan"), "finite pixels; got NaN"),
        (Encoder(), "to take torch.int32 [1, 3, 4, 5]; got an error"),
    ],
    ids=["shape", "nan", "encoder"],
)
def test_decoders_of_another_kind(decoder: Any, words: str) -> None:
    tokenizer = CosmosTokenizer(Encoder(), decoder, latent_shape=SMALL)
    with pytest.raises(DocumentError, match=re.escape(words)):
        tokenizer.decode(some_tokens(SMALL))
