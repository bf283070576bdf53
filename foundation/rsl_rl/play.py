"""Fly a policy: the same as ``foundation play``."""

from foundation.cli.main import run


def main() -> None:
    """Run the command with the words of ``sys.argv``."""
    run("play")


if __name__ == "__main__":
    main()
