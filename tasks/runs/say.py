"""Printing that a training survives."""

from __future__ import annotations

import os
import sys

__all__ = ["say"]


def say(text: str) -> None:
    """Print a line; where nobody listens any more, go on in silence.

    A pipe whose reader has gone, or a disk that is full, is no reason to lose a training.

    Args:
        text: The line.
    """
    try:
        print(text, flush=True)
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)
