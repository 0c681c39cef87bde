"""Everything that a GPU has to show, in one command and within a time: ``python -m bench.gpu -o DIR``."""
