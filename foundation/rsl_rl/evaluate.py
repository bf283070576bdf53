"""Compare a teacher and a student: the same as ``foundation evaluate``."""

from foundation.cli.main import run


def main() -> None:
    """Run the command with the words of ``sys.argv``."""
    run("evaluate")


if __name__ == "__main__":
    main()
