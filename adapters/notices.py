"""What a model says of itself that is no error: a warning of one category, which people can filter."""

__all__ = ["ModelWarning"]


class ModelWarning(UserWarning):
    """A model that loads, and may do what its user does not expect; the command line prints it in one line."""
