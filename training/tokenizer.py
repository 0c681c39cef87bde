"""Train an image tokenizer, diffusers' ``VQModel``, on recorded clips.

First as a plain autoencoder; then the codebook is laid through its latents, farthest point first, and training goes on
through the quantizer. In both parts the same tiles are shown in two arrangements, and their latents pulled together: a
code must mean a tile, not its surroundings, or the world model would have to predict noise.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from diagplan.adapters.image_tokenizer import ImageTokenizer, vq_class
from diagplan.evaluation.pictures import psnr
from diagplan.planner.atomic import write_atomically
from diagplan.planner.errors import SpecError
from diagplan.training.runs import Run
from diagplan.training.tiles import TileBank, join, load_frames

__all__ = ["TokenizerRecipe", "save_image_tokenizer", "train_tokenizer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerRecipe:
    """Everything that decides the tokenizer that comes out, apart from the clips.

    Attributes:
        codes: size of the codebook.
        channels: of each resolution; the compression is 2 ** (len - 1).
        latent: width of a latent and of a code.
        steps, batch, learning_rate, seed: of the training; a batch is half crops of frames, half mosaics twice.
        warm_up: share of the steps before the codebook is laid.
        frames_per_clip: how many frames of each clip are used.
    """

    codes: int = 256
    channels: tuple[int, ...] = (16, 32, 32, 64, 64)
    latent: int = 16
    steps: int = 2000
    batch: int = 24
    learning_rate: float = 2e-3
    seed: int = 0
    warm_up: float = 0.3
    frames_per_clip: int = 8
    rows: int = 5
    cols: int = 6

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 3 or self.codes < 2 or self.learning_rate <= 0 or not 0 < self.warm_up < 1:
            raise SpecError(f"expected positive steps, batch >= 3, codes >= 2 and 0 < warm_up < 1, got {asdict(self)}.")

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
            norm_num_groups=8,
            mid_block_add_attention=False,
        )


def train_tokenizer(
    recipe: TokenizerRecipe,
    clips: Sequence[Path],
    validation: Sequence[Path],
    folder: str | Path,
    *,
    device: str = "cpu",
    checkpoint_every: int = 200,
    on_step: Callable[[int, Mapping[str, float]], None] | None = None,
) -> ImageTokenizer:
    """Train, and save ``folder/config.json`` and ``folder/diffusion_pytorch_model.safetensors``.

    A run that was stopped goes on from its last checkpoint.

    Raises:
        SpecError: frames too small for the recipe; DocumentError: clips or folder that cannot be used.
    """
    run = Run(folder, asdict(recipe) | {"clips": len(clips)})
    state = run.resume()
    torch.manual_seed(recipe.seed)
    model = recipe.model().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99), weight_decay=0.0)
    frames = load_frames(clips, recipe.frames_per_clip)
    side = 2 ** (len(recipe.channels) - 1)
    if frames.shape[1] % side or frames.shape[2] % side or frames.shape[1] < recipe.rows * side:
        raise SpecError(f"expected frames of whole tiles of {side} pixels, got {frames.shape[1:3]}.")
    bank = TileBank(frames, side)
    held_out = load_frames(validation, 4)[:64]
    start, before, laid = 0, 0.0, False
    if state is not None:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        start, before, laid = state["step"], state["seconds"], state["laid"]
    began = time.monotonic()
    warm = int(recipe.steps * recipe.warm_up)
    model.train()
    for step in range(start, recipe.steps):
        if not laid and step >= warm:
            lay_codebook(model, bank, recipe)
            laid = True
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(1, (step + 1) / 100, 0.05 + 1.0 * (1 - step / recipe.steps))
        loss, parts = _loss(model, *_batch(bank, recipe, step, model), quantized=laid)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if on_step is not None:
            on_step(step + 1, parts)
        if (step + 1) % checkpoint_every == 0 or step + 1 == recipe.steps:
            seconds = before + time.monotonic() - began
            model.eval()
            tokenizer = ImageTokenizer(model)
            quality = psnr(held_out, tokenizer.decode(tokenizer.encode(held_out))) if laid else float("nan")
            model.train().requires_grad_(True)
            run.log(step=step + 1, seconds=seconds, **parts, **({"validation_psnr": quality} if laid else {}))
            run.save({
                "model": model.state_dict(), "optimizer": optimizer.state_dict(),
                "step": step + 1, "seconds": seconds, "laid": laid,
            })  # fmt: skip
    model.eval()
    save_image_tokenizer(model, folder)
    return ImageTokenizer(model)


def _batch(bank: TileBank, recipe: TokenizerRecipe, step: int, model: Any) -> tuple[Tensor, Tensor]:
    """Pictures [B, 3, height, width], and where the tiles of the first mosaics lie in the second ones."""
    random = np.random.default_rng((recipe.seed, step))
    third = recipe.batch // 3
    rows, cols, cells = recipe.rows, recipe.cols, recipe.rows * recipe.cols
    tiles = bank.tiles(random, third * cells)
    where = random.permutation(third * cells)
    grid = (third, rows, cols, *tiles.shape[1:])
    crops = bank.crops(random, recipe.batch - 2 * third, rows, cols)
    pictures = np.concatenate([crops, join(tiles.reshape(grid)), join(tiles[where].reshape(grid))])
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).to(model.device).float() / 127.5 - 1
    return pixels, torch.from_numpy(where).to(model.device)


def _loss(model: Any, pixels: Tensor, where: Tensor, *, quantized: bool) -> tuple[Tensor, dict[str, float]]:
    latents = model.encode(pixels).latents  # [B, C, rows, cols]
    flat = latents.permute(0, 2, 3, 1)
    count = len(where) // (flat.shape[1] * flat.shape[2])
    first = flat[-2 * count : -count].reshape(-1, flat.shape[-1])
    second = flat[-count:].reshape(-1, flat.shape[-1])
    apart = F.mse_loss(second, first[where]) / flat.detach().var(dim=(0, 1, 2)).mean().clamp(min=1e-4)
    through, commitment = latents, latents.new_zeros(())
    if quantized:
        ids = torch.cdist(flat.reshape(-1, flat.shape[-1]), model.quantize.embedding.weight).argmin(1)
        codes = model.quantize.embedding(ids).view(flat.shape)
        commitment = F.mse_loss(codes, flat.detach()) + 0.25 * F.mse_loss(flat, codes.detach())
        through = (flat + (codes - flat).detach()).permute(0, 3, 1, 2)
    made = model.decode(through, force_not_quantize=True).sample
    error = F.mse_loss(made, pixels)
    rough = F.l1_loss(made, pixels)
    loss = error + 0.1 * rough + 0.1 * apart + commitment
    return loss, {"loss": float(error), "apart": float(apart)}


@torch.no_grad()
def lay_codebook(model: Any, bank: TileBank, recipe: TokenizerRecipe) -> None:
    """Codes at latents of tiles, farthest point first, until every latent is near one or the codes are used up.

    Codes that are not needed are put out of reach: two codes for one tile would make tokens a matter of chance.
    """
    random = np.random.default_rng((recipe.seed, 1 << 40))
    latents: list[Tensor] = []
    for _ in range(32):
        pixels = torch.from_numpy(bank.mosaics(random, 16, recipe.rows, recipe.cols)).permute(0, 3, 1, 2)
        made = model.encode(pixels.to(model.device).float() / 127.5 - 1).latents
        latents.append(made.permute(0, 2, 3, 1).reshape(-1, made.shape[1]))
    points = torch.cat(latents)
    spread = (points - points.mean(0)).pow(2).sum(1).mean().sqrt()
    chosen = [0]
    distance = (points - points[0]).pow(2).sum(1)
    for _ in range(recipe.codes - 1):
        far = int(distance.argmax())
        if float(distance[far]) < (0.1 * float(spread)) ** 2:
            break
        chosen.append(far)
        distance = torch.minimum(distance, (points - points[far]).pow(2).sum(1))
    centres = points[chosen].clone()
    for _ in range(5):  # k-means from there
        nearest = torch.cdist(points, centres).argmin(1)
        for code in range(len(centres)):
            mine = points[nearest == code]
            if len(mine):
                centres[code] = mine.mean(0)
    book = model.quantize.embedding.weight
    book.fill_(100 * float(points.abs().max()))
    book[: len(centres)] = centres


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
