"""Where a model computes and in which dtype, checked before anything is read. torch is loaded when a check is made."""

from typing import TYPE_CHECKING, Literal, get_args

from diagplan.planner.errors import SpecError
from diagplan.planner.extras import missing_packages
from diagplan.planner.shown import shown

if TYPE_CHECKING:
    import torch

__all__ = ["DTypeName", "Quantize", "require_device", "require_dtype", "require_torch"]

#: Of weights, cache and activations.
DTypeName = Literal["float32", "bfloat16", "float16"]
#: How weights may be quantised on load.
Quantize = Literal["int8"]


def require_torch() -> None:
    """Raise ``MissingExtraError`` unless torch can be imported."""
    try:
        import torch  # noqa: F401
    except ImportError:
        raise missing_packages("replay", ["torch"]) from None


def require_dtype(dtype: str) -> None:
    """Raise ``SpecError`` unless ``dtype`` is a ``DTypeName``."""
    if dtype not in get_args(DTypeName):
        raise SpecError(f"expected dtype to be one of {', '.join(get_args(DTypeName))}, got dtype={shown(dtype)}.")


def require_device(device: str) -> "torch.device":
    """Say at once that a device is none of this machine's; torch's own name of it.

    Raises:
        SpecError: torch cannot use it.
        MissingExtraError: torch is not installed.
    """
    require_torch()
    import torch

    if not isinstance(device, str | torch.device):
        raise SpecError(f"expected device as text, got device={shown(device)}. Give 'cpu' or 'cuda'.")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0][:200].rstrip(".")
        raise SpecError(
            f"expected a device of this machine, got device={shown(device)} ({reason}). Try 'cpu'."
        ) from None
    return torch.device(device)
