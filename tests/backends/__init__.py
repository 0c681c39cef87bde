"""Tests of ``diagplan.backends``."""
