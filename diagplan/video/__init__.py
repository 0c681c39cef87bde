"""Video files in and out (PyAV), frames cut to a model's size, and sheets of frames to look at."""

__all__: list[str] = []
