"""Moved: ``diagplan.study.demonstration``."""

from diagplan.moved import moved

__all__: list[str] = []

__getattr__ = moved(__name__, "diagplan.study.demonstration")
