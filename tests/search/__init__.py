"""Long searches for input that is accepted and wrong, crashes, hangs, or takes too much memory; ``python -m tests.search``."""
