"""Tests of ``diagplan.training``."""
