"""What a training command says while it runs."""

import sys


def say(line: str) -> None:
    """Write one line to standard output at once, so that a log file can be followed."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
