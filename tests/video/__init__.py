"""Tests of ``diagplan.video``."""
