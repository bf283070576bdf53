"""Compare a teacher and a student: the same as ``foundation evaluate``."""

from foundation.cli.evaluate import main
from foundation.cli.main import run

__all__ = ["main"]

if __name__ == "__main__":
    run("evaluate")
