"""Train an image tokenizer, diffusers' ``VQModel``, on recorded clips.

The *guided* part of the steps: every tile of the clips is sorted by its looks (``TileCodes``); the decoder learns to
draw code i's kind of tile, the encoder to send such a tile to code i whatever lies around it. What a code means is then
a matter of the tile alone, which keeps tokens predictable. The rest of the steps is ordinary VQ training from there
(nearest code, straight-through gradient, commitment), for games whose pictures are not made of tiles.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from diagplan.adapters.image_tokenizer import ImageTokenizer, vq_class
from diagplan.evaluation.pictures import psnr
from diagplan.planner.errors import SpecError
from diagplan.schemas.atomic import write_atomically
from diagplan.training.recipes import require_numbers
from diagplan.training.runs import Run
from diagplan.training.sequences import clips_key
from diagplan.training.tiles import TileBank, TileCodes, load_frames

__all__ = ["TokenizerRecipe", "save_image_tokenizer", "train_tokenizer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerRecipe:
    """Everything that decides the tokenizer that comes out, apart from the clips.

    Attributes:
        codes: size of the codebook.
        channels: of each resolution; the compression is 2 ** (len - 1).
        latent: width of a latent and of a code.
        steps, batch, learning_rate, seed: of the training; half of a batch is crops of frames, half mosaics.
        rows, cols: tiles of one picture of the batch.
        guided: share of the steps in which tiles are sent to the code of their looks.
        whole_steps: steps after those, guided too if ``guided`` is 1, on whole frames (3 of 4 pictures, the fourth a
            mosaic) at a quarter of the learning rate: group norms see other statistics there than in small crops.
        frames_per_clip: how many frames of each clip are used.
    """

    codes: int = 256
    channels: tuple[int, ...] = (8, 16, 32, 64, 64)
    latent: int = 16
    steps: int = 4000
    whole_steps: int = 300
    batch: int = 16
    learning_rate: float = 2e-3
    seed: int = 0
    rows: int = 4
    cols: int = 5
    guided: float = 1.0
    frames_per_clip: int = 8

    def __post_init__(self) -> None:
        require_numbers(self, steps=1, whole_steps=0, batch=2, codes=2, seed=0)
        if not 0 < self.guided <= 1:
            raise SpecError(f"expected 0 < guided <= 1, got guided={self.guided}.")

    @property
    def all_steps(self) -> int:
        """Steps of the whole training."""
        return self.steps + self.whole_steps

    def rate(self, step: int) -> float:
        """The learning rate of one step: a short warm-up, then down to nearly nothing, in each part."""
        if step < self.steps:
            return self.learning_rate * min((step + 1) / 50, 1.02 - step / self.steps)
        done = (step - self.steps) / self.whole_steps
        return self.learning_rate / 4 * min((step - self.steps + 1) / 50, 1.02 - done)

    @property
    def side(self) -> int:
        """Pixels a side of one tile."""
        return int(2 ** (len(self.channels) - 1))

    def model(self) -> Any:
        """A fresh network."""
        return vq_class()(
            block_out_channels=list(self.channels),
            down_block_types=["DownEncoderBlock2D"] * len(self.channels),
            up_block_types=["UpDecoderBlock2D"] * len(self.channels),
            layers_per_block=1,
            latent_channels=self.latent,
            vq_embed_dim=self.latent,
            num_vq_embeddings=self.codes,
            norm_num_groups=4,
            mid_block_add_attention=False,
        )


def train_tokenizer(
    recipe: TokenizerRecipe,
    clips: Sequence[Path],
    validation: Sequence[Path],
    folder: str | Path,
    *,
    device: str = "cpu",
    checkpoint_every: int = 100,
    on_step: Callable[[int, Mapping[str, float]], None] | None = None,
) -> ImageTokenizer:
    """Train, and save ``folder/config.json`` and ``folder/diffusion_pytorch_model.safetensors``.

    A run that was stopped goes on from its last checkpoint.

    Raises:
        SpecError: frames too small for the recipe; DocumentError: clips or folder that cannot be used.
    """
    run = Run(folder, asdict(recipe) | {"clips": clips_key(clips)})
    frames, held_out = load_frames(clips, recipe.frames_per_clip), load_frames(validation, 4)[:48]
    if frames.shape[1] % recipe.side or frames.shape[2] % recipe.side:
        raise SpecError(f"expected frames of whole tiles of {recipe.side} pixels, got {frames.shape[1:3]}.")
    bank = TileBank(frames, recipe.side)
    if bank.rows < recipe.rows or bank.cols < recipe.cols:
        raise SpecError(
            f"expected frames of at least {recipe.rows} x {recipe.cols} tiles, got {bank.rows} x {bank.cols}. "
            "Record larger ones."
        )
    looks = TileCodes(bank, recipe.codes, seed=recipe.seed)
    torch.manual_seed(recipe.seed)
    model = recipe.model().to(device, memory_format=torch.channels_last)
    with torch.no_grad():
        model.quantize.embedding.weight.normal_()
        model.quantize.embedding.weight[len(looks.centres) :] *= 100  # unused codes out of reach
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
    start = run.resume(model, optimizer)
    for step in range(start, recipe.all_steps):
        model.train().requires_grad_(True)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        pictures = _batch(bank, recipe, step)
        guided = recipe.guided == 1 or step < recipe.guided * recipe.steps
        guide = looks.assign(pictures, recipe.side) if guided else None
        loss, figures = _loss(model, pictures, guide)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if on_step is not None:
            on_step(step + 1, figures)
        if (step + 1) % checkpoint_every == 0 or step + 1 == recipe.all_steps:
            tokenizer = ImageTokenizer(model.eval())
            tokens = tokenizer.encode(held_out)
            run.log(
                step + 1, **figures, validation_psnr=psnr(held_out, tokenizer.decode(tokens)),
                validation_same_code=float(np.mean(tokens == looks.assign(held_out, recipe.side))),
            )  # fmt: skip
            run.save(model, optimizer, step + 1)
    save_image_tokenizer(model.eval(), folder)
    return ImageTokenizer(model)


def _batch(bank: TileBank, recipe: TokenizerRecipe, step: int) -> NDArray[np.uint8]:
    """The pictures of one step, a function of the seed and the step alone: [B, height, width, 3]."""
    random = np.random.default_rng((recipe.seed, step))
    if step >= recipe.steps:
        whole = bank.crops(random, 3, bank.rows, bank.cols)
        return np.concatenate([whole, bank.mosaics(random, 1, bank.rows, bank.cols)])
    half = recipe.batch // 2
    crops = bank.crops(random, recipe.batch - half, recipe.rows, recipe.cols)
    return np.concatenate([crops, bank.mosaics(random, half, recipe.rows, recipe.cols)])


def _loss(model: Any, pictures: NDArray[np.uint8], guide: NDArray[np.int64] | None) -> tuple[Tensor, dict[str, float]]:
    device = model.quantize.embedding.weight.device
    pixels = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    latents = model.encode(pixels).latents.permute(0, 2, 3, 1)  # [B, rows, cols, C]
    book = model.quantize.embedding.weight
    distance = torch.cdist(latents.reshape(-1, latents.shape[-1]), book).square()
    if guide is None:
        ids = distance.argmin(1)
        codes = book[ids].view(latents.shape)
        encoder_loss = F.mse_loss(codes, latents.detach()) + 0.25 * F.mse_loss(latents, codes.detach())
        through = latents + (codes - latents).detach()
    else:
        ids = torch.from_numpy(guide).to(device).flatten()
        through = book[ids].view(latents.shape)
        encoder_loss = 0.2 * F.cross_entropy(-distance, ids) + 0.1 * F.mse_loss(latents, through.detach())
    decoded = model.decode(through.permute(0, 3, 1, 2), force_not_quantize=True).sample
    error = F.mse_loss(decoded, pixels)
    right = float((distance.argmin(1) == ids).float().mean())
    return error + 0.1 * F.l1_loss(decoded, pixels) + encoder_loss, {"loss": float(error.detach()), "same_code": right}


def save_image_tokenizer(model: Any, folder: str | Path, *, dtype: torch.dtype = torch.float16) -> None:
    """Write config.json and the weights as diffusers reads them.

    Raises:
        DocumentError: a file cannot be written.
    """
    from safetensors.torch import save

    place = Path(folder)
    config = {key: value for key, value in dict(model.config).items() if not key.startswith("_")}
    text = json.dumps({"_class_name": "VQModel", **config}, indent=1, sort_keys=True)
    write_atomically(place / "config.json", (text + "\n").encode())
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in model.state_dict().items()}
    write_atomically(place / "diffusion_pytorch_model.safetensors", save(tensors, metadata={"format": "pt"}))
