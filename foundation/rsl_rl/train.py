"""Train a teacher, distil a student or fine-tune it: the same as ``foundation train``."""

from foundation.cli.train import main

if __name__ == "__main__":
    main()
