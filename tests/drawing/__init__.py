"""Tests of ``diagplan.drawing``."""
