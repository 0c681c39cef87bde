"""Tests of ``diagplan.evaluation``."""
