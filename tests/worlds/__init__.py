"""Tests of ``diagplan/worlds/``."""
