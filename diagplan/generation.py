"""Moved: ``diagplan.worlds.generation``."""

from diagplan.moved import moved

__all__: list[str] = []

__getattr__ = moved(__name__, "diagplan.worlds.generation")
