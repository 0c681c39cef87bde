"""Loading models, estimating their memory, exporting them; and the world model that comes with the package."""

__all__: list[str] = []
