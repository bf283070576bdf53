"""Compare a teacher and a student: the same as ``foundation evaluate``."""

from collections.abc import Sequence

from foundation.cli.main import run


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command, with the words of ``sys.argv`` if none are given."""
    run("evaluate", argv)


if __name__ == "__main__":
    main()
