"""Long searches for input that is accepted and wrong, crashes, hangs or is costly; ``python -m tests.search``."""
