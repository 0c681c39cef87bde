"""The tests; README.md says which tier needs what."""
