"""Compare a teacher and a student: the same as ``foundation evaluate``."""

from foundation.cli.evaluate import main

if __name__ == "__main__":
    main()
