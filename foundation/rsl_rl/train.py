"""Train a teacher, distil a student or fine-tune it: the same as ``foundation train``."""

from collections.abc import Sequence

from foundation.cli.main import run


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command, with the words of ``sys.argv`` if none are given."""
    run("train", argv)


if __name__ == "__main__":
    main()
