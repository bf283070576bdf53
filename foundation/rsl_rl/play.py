"""Fly a policy: the same as ``foundation play``."""

from collections.abc import Sequence

from foundation.cli.main import run


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command, with the words of ``sys.argv`` if none are given."""
    run("play", argv)


if __name__ == "__main__":
    main()
