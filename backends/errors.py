"""What can go wrong while a plan is replayed."""

from diagplan.planner.errors import DiagplanError

__all__ = ["CapacityError", "MismatchError", "NumericError"]


class MismatchError(DiagplanError):
    """Plan, model and given ids do not fit together, or a checkpoint belongs to another run."""


class NumericError(DiagplanError):
    """The model gave logits that are not finite."""


class CapacityError(DiagplanError):
    """The device has too little memory for this model, plan and batch."""
