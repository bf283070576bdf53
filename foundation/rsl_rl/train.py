"""Train a teacher, distil a student or fine-tune it: the same as ``foundation train``."""

from foundation.cli.main import run
from foundation.cli.train import main

__all__ = ["main"]

if __name__ == "__main__":
    run("train")
