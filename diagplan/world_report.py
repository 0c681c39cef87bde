"""Moved: ``diagplan.study.world_report``."""

from diagplan.moved import moved

__all__: list[str] = []

__getattr__ = moved(__name__, "diagplan.study.world_report")
