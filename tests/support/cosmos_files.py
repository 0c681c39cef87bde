"""Stand-ins for what Cosmos takes from others: a TorchScript pair with the release's interface, and a T5.

The decoder paints every code in plain colours, the encoder reads them off: the true networks are NVIDIA's.
"""

import warnings
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402


class Encoder(nn.Module):
    """(indices, codes, loss) of pixels [B, 3, 1 + 8 (t - 1), 16 h, 16 w], as the release's encoder returns them."""

    def __init__(self, wrong: str = "") -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones((), dtype=torch.bfloat16))
        self.levels = torch.tensor([8, 8, 8, 5, 5, 5])
        self.wrong = wrong

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        assert pixels.dtype == torch.bfloat16
        # Causal: a latent frame reads the last of its frames only. Two colours a square: six channels.
        b, _, _, height, width = pixels.shape
        squares = pixels[:, :, ::8].float().view(b, 3, -1, height // 16, 16, width // 16, 2, 8)
        seen = squares.mean(dim=[4, 7]).permute(0, 5, 1, 2, 3, 4).reshape(b, 6, -1, height // 16, width // 16)
        half_width = (self.levels // 2).view(1, 6, 1, 1, 1)
        # The quantiser of FSQ behind its own inverse: z such that the bounded value is what was seen.
        limit = ((self.levels - 1) * 1.001 / 2).view(1, 6, 1, 1, 1)
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0).view(1, 6, 1, 1, 1)
        shift = torch.atanh(offset / limit)
        z = torch.atanh(((seen * half_width + offset) / limit).clamp(-0.9999, 0.9999)) - shift
        bounded = torch.tanh(z + shift) * limit - offset
        codes = (bounded.round() / half_width).to(torch.bfloat16) * self.gain
        basis = torch.tensor([1, 8, 64, 512, 2560, 12800]).view(1, 6, 1, 1, 1)
        indices = ((codes.float() * half_width).round() + half_width).long() * basis
        found = indices.sum(dim=1).to(torch.int32)
        if self.wrong == "indices":
            found = found + 1
        if self.wrong == "shape":
            found = found[:, 1:]
        return found, codes, torch.zeros(1)


class Decoder(nn.Module):
    """Pixels in [-1, 1] of indices [B, t, h, w]."""

    def __init__(self, wrong: str = "") -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones((), dtype=torch.bfloat16))
        self.levels = torch.tensor([8, 8, 8, 5, 5, 5])
        self.wrong = wrong

    def forward(self, indices: Tensor) -> Tensor:
        b, t, h, w = indices.shape
        basis = torch.tensor([1, 8, 64, 512, 2560, 12800])
        half_width = self.levels // 2
        digits = indices.long()[..., None] // basis % self.levels
        codes = (((digits - half_width) / half_width).to(torch.bfloat16) * self.gain).view(b, t, h, w, 2, 3)
        colours = codes.permute(0, 5, 1, 2, 3, 4)[:, :, :, None, :, None, :, :, None]  # [b, 3, t, 1, h, 1, w, 2, 1]
        squares = colours.expand(b, 3, t, 8, h, 16, w, 2, 8).reshape(b, 3, 8 * t, 16 * h, 16 * w)
        pixels: Tensor = squares[:, :, 7:]  # the first latent frame is one frame, the others are eight
        if self.wrong == "nan":
            pixels = pixels * float("nan")
        if self.wrong == "shape":
            pixels = pixels[:, :, 1:]
        return pixels


def save(module: Any, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scripted: Any = torch.jit.script(module)
        scripted.save(str(path))


def write_t5(folder: Path) -> Path:
    """A folder as google-t5/t5-11b has it, with 24 channels and a vocabulary of a few pieces."""
    transformers = pytest.importorskip("transformers")
    tokenizers: Any = pytest.importorskip("tokenizers")
    transformers.utils.logging.disable_progress_bar()
    letters = [(letter, -3.0) for letter in "abcdefghijklmnopqrstuvwxyz"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), ("▁a", -1.0), ("▁robot", -1.0), *letters]
    inner = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=2))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    inner.post_processor = tokenizers.processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=len(pieces), d_model=24, d_kv=8, d_ff=32, num_layers=2, num_heads=3, tie_word_embeddings=True
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder
