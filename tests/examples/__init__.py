"""Tests of ``diagplan.examples``."""
