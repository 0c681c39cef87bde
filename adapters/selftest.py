"""A self-test on load: does the model's attention obey its mask? Kernels that silently ignore masks exist."""

import torch

from diagplan.adapters.contract import Model
from diagplan.planner.errors import DiagplanError

__all__ = ["require_masks_obeyed"]


@torch.inference_mode()
def require_masks_obeyed(model: Model) -> None:
    """Run two tiny passes that differ in one mask bit.

    Raises:
        DiagplanError: hiding a visible slot changes nothing, or a hidden one still tells.
    """
    length = min(4, model.positions, model.vocab_size)
    if length < 3:
        return
    ids = torch.arange(length, device=model.device)[None]
    slots = torch.arange(length, device=model.device)
    mask = torch.ones((length, length), dtype=torch.bool, device=model.device).tril()

    def last_logits(tokens: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        return model.forward(tokens, slots, slots, seen, model.new_cache(1, 64), slots[-1:]).float()

    hidden = mask.clone()
    hidden[-1, 1] = False
    whole, without = last_logits(ids, mask), last_logits(ids, hidden)
    if not bool(torch.isfinite(whole).all()):
        raise DiagplanError(
            f"expected finite logits, got NaN or infinite ones from this {model.family} model in {model.dtype}. "
            "Its weights are broken, or too large for the dtype. Try float32, or another file."
        )
    # The middle token is hidden from everyone after it: another token there must not tell.
    alone = mask.clone()
    alone[2:, 1] = False
    other = ids.clone()
    other[0, 1] = length - 1 if length > 3 else 0
    tells = not torch.equal(last_logits(ids, alone), last_logits(other, alone))
    if torch.equal(whole, without) or tells:
        raise DiagplanError(
            f"expected attention to obey its mask, got a {model.family} model on {model.device} ({model.dtype}) that "
            "ignores it. Its results would be wrong. Use another device or dtype, or another PyTorch build."
        )
