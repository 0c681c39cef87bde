"""Tests of ``diagplan.cli``."""
