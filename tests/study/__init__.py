"""Tests of ``diagplan.study``."""
