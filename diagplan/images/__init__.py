"""From a prompt to a picture: what each family's release hands to its model, and what becomes of the tokens."""

__all__: list[str] = []
