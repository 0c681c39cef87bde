"""``python -m diagplan`` is the command line."""

from diagplan.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
