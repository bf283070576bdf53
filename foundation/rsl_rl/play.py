"""Fly a policy: the same as ``foundation play``."""

from foundation.cli.play import main

if __name__ == "__main__":
    main()
