"""Fly a policy: the same as ``foundation play``."""

from foundation.cli.main import run
from foundation.cli.play import main

__all__ = ["main"]

if __name__ == "__main__":
    run("play")
