"""Train a teacher, distil a student or fine-tune it: the same as ``foundation train``."""

from foundation.cli.main import run


def main() -> None:
    """Run the command with the words of ``sys.argv``."""
    run("train")


if __name__ == "__main__":
    main()
