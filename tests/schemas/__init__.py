"""Tests of ``diagplan.schemas``."""
