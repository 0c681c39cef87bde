"""Moved: ``diagplan.models.exporting``."""

from diagplan.moved import moved

__all__: list[str] = []

__getattr__ = moved(__name__, "diagplan.models.exporting")
