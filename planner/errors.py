"""Every error a user can cause. Each message reads: expected A, got name=value. The rule. The remedy."""

__all__ = ["DiagplanError", "DocumentError", "InvalidPlanError", "MissingExtraError", "RanksError", "SpecError"]


class DiagplanError(ValueError):
    """Base of the errors that diagplan raises for bad input; the command line prints it in one line."""


class SpecError(DiagplanError):
    """A layout, schedule, policy or option that does not describe a plan."""


class DocumentError(DiagplanError):
    """A file or a text that is not a readable document, or that cannot be written."""


class InvalidPlanError(DiagplanError):
    """A plan that the checker refuses where a verified one is required."""


class MissingExtraError(DiagplanError):
    """An optional library is not installed; the message names the extra that brings it."""


class RanksError(DiagplanError):
    """Processes that share one model, of which one no longer answers or has other tokens."""
