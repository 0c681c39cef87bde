"""Tests of ``diagplan.models``."""
