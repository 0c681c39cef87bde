"""A self-test on load: does the model's attention obey its mask? Kernels that silently ignore masks exist."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diagplan.adapters.contract import Model
from diagplan.backends.runtime import runtime_of
from diagplan.planner.errors import DiagplanError

__all__ = ["require_masks_obeyed"]


def require_masks_obeyed(model: Model) -> None:
    """Run a few tiny passes that differ in one mask bit or one token.

    Raises:
        DiagplanError: hiding a visible slot changes nothing, or a hidden one still tells.
    """
    length = min(4, model.positions, model.vocab_size)
    if length < 3:
        return
    runtime = runtime_of(model)
    slots = np.arange(length)
    at, last = runtime.put(slots), runtime.put(slots[-1:])
    causal = np.tril(np.ones((length, length), dtype=np.bool_))

    def last_logits(ids: NDArray[np.int64], seen: NDArray[np.bool_]) -> NDArray[Any]:
        with runtime.inference():
            logits = model.forward(runtime.put(ids[None]), at, at, runtime.put(seen), model.new_cache(1, length), last)
            return runtime.numpy(runtime.float32(logits))

    hidden = causal.copy()
    hidden[-1, 1] = False
    whole, without = last_logits(slots, causal), last_logits(slots, hidden)
    if not np.isfinite(whole).all():
        raise DiagplanError(
            f"expected finite logits, got NaN or infinite ones from this {model.family} model in {model.dtype}. "
            "Its weights are broken, or too large for the dtype. Try float32, or another file."
        )
    # The middle token is hidden from everyone after it: another token there must not tell.
    alone = causal.copy()
    alone[2:, 1] = False
    other = slots.copy()
    other[1] = length - 1 if length > 3 else 0
    tells = not np.array_equal(last_logits(slots, alone), last_logits(other, alone))
    if np.array_equal(whole, without) or tells:
        raise DiagplanError(
            f"expected attention to obey its mask, got a {model.family} model on {model.device} ({model.dtype}) that "
            "ignores it. Its results would be wrong. Use another device or dtype, or another build of the runtime."
        )
