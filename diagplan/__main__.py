"""The command ``diagplan``, and ``python -m diagplan``: Ctrl-C means the same from here on as when all is loaded."""

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line. Ctrl-C while it loads ends the process by the signal; a command says what it has left."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background jobs are deaf to it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from diagplan.cli import main as command_line

    command_line()


if __name__ == "__main__":
    main()
